"""One network in training: its optimiser, averaged weights and best state."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from fermisea.network import Mlp
from fermisea.training_config import TrainingConfig


class Member:
    """A network that is trained, alone or as one of an ensemble.

    Attributes:
        network: that the optimiser moves.
        best_loss: the lowest loss that ``keep_if_better`` was told.
        best_epoch: of that loss; 0 before the first.
        sums: the gradients of all weights in one piece, and a place for the loss they belong to at the end.
    """

    def __init__(self, network: Mlp, config: TrainingConfig) -> None:
        """Makes the optimiser, AdamW (Loshchilov and Hutter, arXiv 1711.05101)."""
        self.network = network
        self.best_loss, self.best_epoch = math.inf, 0
        self._clip = config.gradient_clip
        self._optimiser = torch.optim.AdamW(
            network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self._averaged = None
        if config.averaging > 0:
            self._averaged = AveragedModel(network, multi_avg_fn=_average(config.averaging))
        self._best = self._copy()
        weights = list(network.parameters())
        self.sums = torch.zeros(
            sum(weight.numel() for weight in weights) + 1, dtype=network.dtype, device=network.device
        )
        parts = self.sums[:-1].split([weight.numel() for weight in weights])
        for weight, part in zip(weights, parts, strict=True):
            weight.grad = part.view_as(weight)

    @property
    def judged(self) -> Mlp:
        """The network with averaged weights if there are any: what is validated and kept."""
        if self._averaged is None:
            return self.network
        module = self._averaged.module
        assert isinstance(module, Mlp)  # noqa: S101  # a copy of the network
        return module

    def clear(self) -> None:
        """Sets loss and gradients to zero."""
        self.sums.zero_()

    def update(self, learning_rate: float) -> None:
        """Moves the weights along their gradients."""
        if self._clip is not None:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self._clip)
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate
        self._optimiser.step()
        if self._averaged is not None:
            self._averaged.update_parameters(self.network)

    def keep_if_better(self, loss: float, epoch: int) -> None:
        """Takes the present weights as the best ones if their loss is below that of the best so far."""
        if loss < self.best_loss:
            self._best, self.best_loss, self.best_epoch = self._copy(), loss, epoch

    def restore_best(self) -> None:
        """Makes the best weights those of the network."""
        self.network.load_state_dict(self._best)

    def tensors(self) -> dict[str, Tensor]:
        """Returns all of its state but the best loss and epoch, by name."""
        found = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        found |= {f"best.{name}": value for name, value in self._best.items()}
        if self._averaged is not None:
            found |= {f"averaged.{name}": value for name, value in self._averaged.state_dict().items()}
        for index, state in self._optimiser.state_dict()["state"].items():
            found |= {f"optimiser.{index}.{name}": value for name, value in state.items()}
        return {name: value.detach() for name, value in found.items()}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Takes the state that ``tensors`` returned.

        Raises:
            KeyError, RuntimeError: for the state of something else.
        """

        def part(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): v for name, v in tensors.items() if name.startswith(prefix)}

        self.network.load_state_dict(part("network."))
        self._best = {name: value.clone() for name, value in part("best.").items()}
        self._copy_fits()
        if self._averaged is not None:
            self._averaged.load_state_dict(part("averaged."))
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in part("optimiser.").items():
            index, quantity = name.split(".")
            state.setdefault(int(index), {})[quantity] = value.clone()
        self._optimiser.load_state_dict({"state": state, "param_groups": self._optimiser.state_dict()["param_groups"]})

    def _copy(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.judged.state_dict().items()}

    def _copy_fits(self) -> None:
        expected = {name: value.shape for name, value in self.network.state_dict().items()}
        if {name: value.shape for name, value in self._best.items()} != expected:
            raise RuntimeError("best weights of another network")


def _average(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Any], None]:
    """Returns an exponential average for torch whose memory grows with the number of updates until it is ``decay``."""

    @torch.no_grad()
    def update(averaged: Sequence[Tensor], present: Sequence[Tensor], count: Any) -> None:
        done = float(count)
        for old, new in zip(averaged, present, strict=True):
            old.lerp_(new, 1 - min(decay, (1 + done) / (10 + done)))

    return update
