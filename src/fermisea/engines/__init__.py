"""DFT engines: the embedded plane-wave code."""

from __future__ import annotations

from fermisea.engines.base import Engine
from fermisea.engines.planewave import LdosOptions, PlaneWave, ScfOptions, ScfStep

__all__ = ["Engine", "LdosOptions", "PlaneWave", "ScfOptions", "ScfStep"]
