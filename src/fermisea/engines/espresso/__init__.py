"""Quantum ESPRESSO's pw.x as an engine, and import of finished runs as snapshots."""

from __future__ import annotations

from fermisea.engines.espresso.engine import Espresso
from fermisea.engines.espresso.importing import import_run

__all__ = ["Espresso", "import_run"]
