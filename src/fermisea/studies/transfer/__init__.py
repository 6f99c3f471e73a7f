"""Temperature transfer of aluminium: the accuracy of models at temperatures outside their training data."""

from __future__ import annotations

from fermisea.studies.transfer.costs import costs
from fermisea.studies.transfer.run import run_transfer
from fermisea.studies.transfer.settings import PRESETS, TransferSettings

__all__ = ["PRESETS", "TransferSettings", "costs", "run_transfer"]
