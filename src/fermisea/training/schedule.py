"""Learning rates over the course of a training."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fermisea.training.config import TrainingConfig

_START, _END = 0.1, 1e-3
"""First and last learning rate over the highest one."""


def learning_rate(config: TrainingConfig, progress: float, judged: Sequence[float] = ()) -> float:
    """Returns the learning rate when a fraction ``progress`` (0 to 1) of all updates is done.

    It rises linearly from a tenth of the highest rate over the share ``warm_up`` of the updates. Then ``"cosine"``
    falls to a thousandth (with the rise, the cycle of Smith and Topin, arXiv 1708.07120; the fall is that of Loshchilov
    and Hutter, arXiv 1608.03983), ``"constant"`` stays, and ``"plateau"`` falls by ``plateau_factor`` whenever
    ``plateau_patience`` epochs have gone by without a better loss.

    Args:
        config: of the training.
        progress: finished share of all updates.
        judged: the loss after each finished epoch, for ``"plateau"``.
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
    """Returns how often ``patience`` losses in a row were not better than the best before them."""
    best, waited, count = math.inf, 0, 0
    for loss in judged:
        best, waited = (loss, 0) if loss < best else (best, waited + 1)
        if waited == patience:
            count, waited = count + 1, 0
    return count
