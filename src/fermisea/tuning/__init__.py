"""Search for a configuration of descriptor, network and optimiser, and rankings that need no training."""

from __future__ import annotations

from fermisea.tuning.space import Choice, Range, SearchSpace

__all__ = ["Choice", "Range", "SearchSpace"]
