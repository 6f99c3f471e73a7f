"""Search for the best configuration of descriptor, network and optimiser, and rankings without training."""

from __future__ import annotations

from fermisea.tuning.space import Choice, Range, SearchSpace

__all__ = ["Choice", "Range", "SearchSpace"]
