"""The embedded finite-temperature plane-wave DFT engine."""

from __future__ import annotations

from fermisea.engines.planewave.engine import PlaneWave, ThermalState
from fermisea.engines.planewave.scf import ScfOptions

__all__ = ["PlaneWave", "ScfOptions", "ThermalState"]
