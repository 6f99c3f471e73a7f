"""``make demo``: aluminium, from molecular dynamics to free energies at new electronic temperatures.

A model is trained on DFT of a few structures at one electronic temperature tau_ref. It then predicts a structure from a
new ionic temperature at other electronic temperatures, and is compared with self-consistent DFT. After an interruption
the same command resumes.
"""

from __future__ import annotations

from fermisea.demo.run import run_demo
from fermisea.demo.settings import DemoSettings

__all__ = ["DemoSettings", "run_demo"]
