"""The embedded finite-temperature plane-wave DFT engine."""

from __future__ import annotations

from fermisea.engines.ldos import LdosOptions
from fermisea.engines.planewave.engine import PlaneWave, ThermalState
from fermisea.engines.planewave.scf import ScfOptions, ScfStep

__all__ = ["LdosOptions", "PlaneWave", "ScfOptions", "ScfStep", "ThermalState"]
