"""The study of one aluminium model for crystals, strained crystals, liquids, defects and other lattices."""

from fermisea.studies.aluminium.costs import costs
from fermisea.studies.aluminium.run import run_aluminium
from fermisea.studies.aluminium.settings import AluminiumSettings

__all__ = ["AluminiumSettings", "costs", "run_aluminium"]
