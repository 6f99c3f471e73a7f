"""``make demo``: aluminium, from molecular dynamics to free energies at electronic temperatures never trained on.

A model learns from DFT of a few structures at one electronic temperature tau_ref. It then predicts a structure from an
ionic temperature it has not seen, at other electronic temperatures, and is compared with self-consistent DFT there.
Interrupted, the same command goes on where it was.
"""

from __future__ import annotations

from fermisea.demo.run import run_demo
from fermisea.demo.settings import DemoSettings

__all__ = ["DemoSettings", "run_demo"]
