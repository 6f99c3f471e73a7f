"""Loop over epochs and batches, whose state can be saved after any update."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fermisea.training.config import TrainingConfig
from fermisea.training.loss import Loss
from fermisea.training.member import Member
from fermisea.training.points import Points
from fermisea.training.schedule import learning_rate
from fermisea.training.state import TrainingState
from fermisea.training.validation import Validation
from fermisea.utilities.torchrun import Processes

_BASIC = ("epoch", "learning_rate", "training_loss", "validation_loss")
"""Entries of an epoch in the history, besides errors in physical units."""


class NotFiniteError(Exception):
    """The loss is not finite; the argument is its value."""


class Loop:
    """A training, performed update by update.

    Attributes:
        members: networks, trained on the same batches.
        epoch: number of finished epochs.
        history: one mapping for each finished epoch.
    """

    def __init__(
        self,
        members: Sequence[Member],
        loss: Loss,
        points: Points,
        validation: Validation | None,
        config: TrainingConfig,
        processes: Processes,
    ) -> None:
        """Creates the loop in the state before the first update.

        Args:
            members: networks with their optimisers.
            loss: loss of a batch.
            points: training points.
            validation: structures that choose the best epoch; without them the last epoch is kept.
            config: configuration of the training.
            processes: processes that share every batch.
        """
        self.members, self.epoch, self.history = list(members), 0, list[dict[str, float]]()
        self._loss, self._points, self._validation, self._config = loss, points, validation, config
        self._processes = processes
        self._generator = torch.Generator().manual_seed(config.seed)
        self._order = self._generator.get_state()  # at the start of the current epoch
        self._batch, self._sum = 0, 0.0  # of the current epoch

    @property
    def ended(self) -> bool:
        """Whether all epochs are done, or no member has improved for ``patience`` epochs."""
        patience, best = self._config.patience, max(member.best_epoch for member in self.members)
        return self.epoch >= self._config.epochs or (patience is not None and self.epoch - best >= patience)

    def run(
        self, tell: Callable[[TrainingState], None], after_update: Callable[[], None], after_epoch: Callable[[], None]
    ) -> None:
        """Trains to the end.

        Args:
            tell: callback after each epoch, for progress.
            after_update: callback after each update, when the state can be saved.
            after_epoch: callback at the end of an epoch.

        Raises:
            NotFiniteError: if the loss is not finite.
        """
        started = time.perf_counter()
        while not self.ended:
            self.run_epoch(after_update)
            state = self.history[-1]
            tell(
                TrainingState(
                    stage="training",
                    step=self.epoch,
                    steps=self._config.epochs,
                    training_loss=state["training_loss"],
                    validation_loss=state.get("validation_loss"),
                    learning_rate=self._rate(),
                    seconds=time.perf_counter() - started,
                    errors={name: value for name, value in state.items() if name not in _BASIC},
                    history=tuple(self.history),
                )
            )
            after_epoch()

    def tensors(self) -> dict[str, Tensor]:
        """Returns the tensors of the state by name."""
        found = {"order": self._order}
        for index, member in enumerate(self.members):
            found |= {f"member.{index}.{name}": value for name, value in member.tensors().items()}
        return found

    def numbers(self) -> dict[str, Any]:
        """Returns the rest of the state as plain data."""
        return {
            "epoch": self.epoch,
            "batch": self._batch,
            "sum": self._sum,
            "history": self.history,
            "best": [[member.best_loss, member.best_epoch] for member in self.members],
        }

    def load(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        """Restores the state returned by ``tensors`` and ``numbers``.

        Raises:
            KeyError, RuntimeError, TypeError, ValueError: for an incompatible state.
        """
        self.epoch, self._batch, self._sum = int(numbers["epoch"]), int(numbers["batch"]), float(numbers["sum"])
        self.history = [dict(record) for record in numbers["history"]]
        self._order = tensors["order"]
        self._generator.set_state(self._order)
        for index, (member, (loss, epoch)) in enumerate(zip(self.members, numbers["best"], strict=True)):
            prefix = f"member.{index}."
            member.load({name.removeprefix(prefix): v for name, v in tensors.items() if name.startswith(prefix)})
            member.best_loss, member.best_epoch = float(loss), int(epoch)

    def run_epoch(self, after_update: Callable[[], None]) -> None:
        """Trains to the end of the current epoch.

        Raises:
            NotFiniteError: if the loss is not finite.
        """
        size, share = self._config.batch_size, self._processes.share
        for descriptors, ldos in self._points.batches(size, self._generator, skip=self._batch, share=share):
            rate, count = self._rate(), min(size, len(self._points) - self._batch * size)
            losses = [self._update(member, descriptors, ldos, count, rate) for member in self.members]
            self._sum += _mean(losses) * count
            self._batch += 1
            after_update()
        self._end_epoch()

    def _update(self, member: Member, descriptors: Tensor, ldos: Tensor, count: int, rate: float) -> float:
        """Updates the weights of a member after a batch of ``count`` points, shared by the processes.

        Returns the loss of the batch.
        """
        own = self._loss(member.network, descriptors, ldos) * (len(ldos) / count) if len(ldos) > 0 else None
        member.differentiate(own)
        self._processes.add(member.sums)
        if not math.isfinite(mean := member.sums[-1].item()):
            raise NotFiniteError(mean)
        member.update(rate)
        return mean

    def _end_epoch(self) -> None:
        rate = self._rate()
        self.epoch += 1
        record = {"epoch": float(self.epoch), "learning_rate": rate, "training_loss": self._sum / len(self._points)}
        judged = [-float(self.epoch)] * len(self.members)
        if self._validation is not None:
            judged = [
                self._loss.mean(member.judged, self._validation.points, self._processes) for member in self.members
            ]
            record["validation_loss"] = _mean(judged)
            errors = [self._validation.errors(member.judged, self._processes) for member in self.members]
            record |= {name: _mean([row[name] for row in errors]) for name in errors[0]}
        self.history.append(record)
        for member, loss in zip(self.members, judged, strict=True):
            member.keep_if_better(loss, self.epoch)
        self._order, self._batch, self._sum = self._generator.get_state(), 0, 0.0

    def _rate(self) -> float:
        batches = math.ceil(len(self._points) / self._config.batch_size)
        progress = (self.epoch * batches + self._batch) / (self._config.epochs * batches)
        judged = [record.get("validation_loss", record["training_loss"]) for record in self.history]
        return learning_rate(self._config, progress, judged)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
