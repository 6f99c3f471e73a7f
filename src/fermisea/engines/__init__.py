"""DFT engines: the embedded plane-wave code, and Quantum ESPRESSO."""

from __future__ import annotations

from fermisea.engines.base import Engine
from fermisea.engines.espresso import Espresso, import_run
from fermisea.engines.ldos import LdosOptions
from fermisea.engines.planewave import PlaneWave, ScfOptions
from fermisea.engines.scf_step import ScfStep

__all__ = ["Engine", "Espresso", "LdosOptions", "PlaneWave", "ScfOptions", "ScfStep", "import_run"]
