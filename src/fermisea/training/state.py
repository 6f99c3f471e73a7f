"""What training tells while it runs, and how it ends before its time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fermisea.errors import ConvergenceError
from fermisea.model.model import Model


class DivergenceError(ConvergenceError):
    """Training met a loss that is not a number.

    Attributes:
        model: the model after the last whole epoch, or None if there was none.
        history: one mapping for each finished epoch.
    """

    def __init__(self, message: str, history: list[dict[str, float]], model: Model | None) -> None:
        super().__init__(message, history)
        self.model = model


class TrainingInterruptedError(KeyboardInterrupt):
    """Training was asked to stop (Ctrl-C, SIGTERM) and left a checkpoint from which it goes on."""


@dataclass(frozen=True)
class TrainingState:
    """What a progress callback is told.

    Attributes:
        stage: ``"descriptors"`` (one step per snapshot) or ``"training"`` (one step per epoch).
        step: finished steps.
        steps: steps in all.
        training_loss: mean square error of the normalised LDOS and density over the epoch.
        validation_loss: the same for the validation structures, if there are any.
        learning_rate: of the next update.
        seconds: since the stage began.
        errors: of the observables of the validation structures in physical units, as ``Validation.errors`` names them.
        history: one mapping for each finished epoch, those before an interruption too.
    """

    stage: str
    step: int
    steps: int
    training_loss: float = math.nan
    validation_loss: float | None = None
    learning_rate: float = math.nan
    seconds: float = 0.0
    errors: Mapping[str, float] = field(default_factory=dict)
    history: Sequence[Mapping[str, float]] = ()
