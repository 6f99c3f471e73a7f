"""Progress reports of a training run, and exceptions for its early end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fermisea.errors import ConvergenceError
from fermisea.model.model import Model
from fermisea.utilities.signals import Stopped


class DivergenceError(ConvergenceError):
    """The loss of a training run became infinite or NaN.

    Attributes:
        model: model after the last complete epoch, or None if there was none.
        history: one mapping for each finished epoch.
    """

    def __init__(self, message: str, history: list[dict[str, float]], model: Model | None) -> None:
        super().__init__(message, history)
        self.model = model


class TrainingInterruptedError(Stopped):
    """A training was stopped (Ctrl-C, SIGTERM) with a checkpoint from which it can be resumed."""


@dataclass(frozen=True)
class TrainingState:
    """State of a training run for a progress callback.

    Attributes:
        stage: ``"descriptors"`` (one step per snapshot), ``"training"`` (one step per epoch) or ``"forces"`` (one step
            per snapshot) for the potential.
        step: number of finished steps.
        steps: total number of steps.
        training_loss: mean square error of the normalised LDOS and density over the epoch.
        validation_loss: the same for the validation structures, if there are any.
        learning_rate: learning rate of the next update.
        seconds: time since the start of the stage, s.
        errors: errors of the validation structures in physical units, named as in ``Validation.errors``.
        history: one mapping for each finished epoch, including epochs before an interruption.
        reference_electron_temperature: tau_ref of the trained network, K; None for data with a single tau_ref.
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
    reference_electron_temperature: float | None = None
