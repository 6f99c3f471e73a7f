"""The command line: ``fermisea sample | dft | train | predict | evaluate | convert | info``."""

from __future__ import annotations

from fermisea.cli.app import app, main

__all__ = ["app", "main"]
