"""The study behind the shipped model of aluminium: crystals, strained crystals, liquids, defects, other lattices."""

from fermisea.studies.aluminium.run import run_aluminium
from fermisea.studies.aluminium.settings import AluminiumSettings

__all__ = ["AluminiumSettings", "run_aluminium"]
