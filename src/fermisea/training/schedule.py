"""Learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fermisea.training.config import TrainingConfig

_START, _END = 0.1, 1e-3
"""First and last learning rate, relative to the highest one."""


def learning_rate(config: TrainingConfig, progress: float, judged: Sequence[float] = ()) -> float:
    """Returns the learning rate after a fraction ``progress`` (0 to 1) of all updates.

    The rate rises linearly from a tenth of the highest rate over the fraction ``warm_up`` of the updates. Then
    ``"cosine"`` decreases it to a thousandth (Loshchilov and Hutter, arXiv 1608.03983; together with the rise, the
    cycle of Smith and Topin, arXiv 1708.07120), ``"constant"`` keeps it, and ``"plateau"`` multiplies it by
    ``plateau_factor`` after ``plateau_patience`` epochs without a lower loss.

    Args:
        config: training configuration.
        progress: finished fraction of all updates.
        judged: loss after each finished epoch, for ``"plateau"``.
    """
    if progress < config.warm_up:
        return config.learning_rate * (_START + (1 - _START) * progress / config.warm_up)
    if config.schedule == "cosine":
        phase = (progress - config.warm_up) / (1 - config.warm_up)
        return config.learning_rate * (_END + (1 - _END) * (1 + math.cos(math.pi * phase)) / 2)
    if config.schedule == "plateau":
        return config.learning_rate * config.plateau_factor ** _plateaus(judged, config.plateau_patience)
    return config.learning_rate


def _plateaus(judged: Sequence[float], patience: int) -> int:
    """Returns the number of times that ``patience`` consecutive losses were not below the best earlier loss."""
    best, waited, count = math.inf, 0, 0
    for loss in judged:
        best, waited = (loss, 0) if loss < best else (best, waited + 1)
        if waited == patience:
            count, waited = count + 1, 0
    return count
