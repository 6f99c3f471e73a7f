"""The command line: ``fermisea sample | dft | train | predict | evaluate | convert | info``."""

from __future__ import annotations

from fermisea.cli.entry import main

__all__ = ["main"]
