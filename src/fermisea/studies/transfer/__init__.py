"""Temperature transfer of aluminium: how models that learned at some temperatures do at others."""

from __future__ import annotations

from fermisea.studies.transfer.run import run_transfer
from fermisea.studies.transfer.settings import PRESETS, TransferSettings

__all__ = ["PRESETS", "TransferSettings", "run_transfer"]
