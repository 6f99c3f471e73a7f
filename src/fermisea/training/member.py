"""One network in training: its optimiser, averaged weights and best state.

All weights of a network are stored in one contiguous tensor, and so are their gradients and their averages. Operations
on all weights are then single operations, and processes sum a single tensor.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from fermisea.networks.mlp import Mlp
from fermisea.training.config import TrainingConfig

_ALIGNED = 16
"""Alignment of each weight matrix, in numbers, for vector registers."""


class Member:
    """A network in training, alone or in an ensemble.

    Attributes:
        network: network updated by the optimiser.
        best_loss: lowest loss passed to ``keep_if_better``.
        best_epoch: epoch of the lowest loss; 0 before the first.
        sums: gradients of all weights in one tensor, with the corresponding loss as the last entry.
    """

    def __init__(self, network: Mlp, config: TrainingConfig) -> None:
        """Creates the optimiser, AdamW (Loshchilov and Hutter, arXiv 1711.05101)."""
        self.network = network
        self.best_loss, self.best_epoch = math.inf, 0
        self._clip, self._decay = config.gradient_clip, config.averaging
        self._average: Tensor | None = None
        self._averaged = network
        if self._decay > 0:
            self._averaged = copy.deepcopy(network).requires_grad_(requires_grad=False)
            self._average = _joined(self._averaged)
        self._weights = nn.Parameter(_joined(network))
        self._updates = torch.zeros((), dtype=torch.int64)
        self._best = self._judged_weights().clone()
        self._optimiser = torch.optim.AdamW(
            [self._weights], lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.sums = self._weights.new_zeros(self._weights.numel() + 1)
        self._weights.grad = self.sums[:-1]
        self._gradients = _parts(self.sums[:-1], network)

    @property
    def judged(self) -> Mlp:
        """Network that is validated and kept: with averaged weights, if there are any."""
        return self._averaged

    def differentiate(self, loss: Tensor | None) -> None:
        """Writes a loss and its gradients to ``sums``; zero without a loss."""
        if loss is None:
            self.sums.zero_()
            return
        found = torch.autograd.grad(loss, list(self.network.parameters()))
        for part, gradient in zip(self._gradients, found, strict=True):
            part.copy_(gradient)
        self.sums[-1] = loss.detach()

    def update(self, learning_rate: float) -> None:
        """Updates the weights with their gradients."""
        if self._clip is not None:
            torch.nn.utils.clip_grad_norm_(self._weights, self._clip)
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate
        self._optimiser.step()
        if self._average is not None:  # the decay rises with the number of updates, up to ``decay``
            done = int(self._updates)
            kept = 0.0 if done == 0 else min(self._decay, (1 + done) / (10 + done))
            self._average.lerp_(self._weights.detach(), 1 - kept)
        self._updates += 1

    def keep_if_better(self, loss: float, epoch: int) -> None:
        """Keeps the current weights as the best ones if their loss is the lowest so far."""
        if loss < self.best_loss:
            self._best.copy_(self._judged_weights())
            self.best_loss, self.best_epoch = loss, epoch

    def restore_best(self) -> None:
        """Sets the network to the best weights, as separate tensors again, at the end of the training."""
        for weight, part in zip(self.network.parameters(), _parts(self._best, self.network), strict=True):
            weight.data = part.clone()

    def tensors(self) -> dict[str, Tensor]:
        """Returns the state by name, without best loss and epoch."""
        found = {"weights": self._weights.detach(), "best": self._best, "updates": self._updates}
        if self._average is not None:
            found["average"] = self._average
        state = self._optimiser.state_dict()["state"].get(0, {})
        return found | {f"optimiser.{name}": value.detach() for name, value in state.items()}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Restores the state returned by ``tensors``.

        Raises:
            KeyError, RuntimeError: for an incompatible state.
        """
        places = {"weights": self._weights.detach(), "best": self._best, "updates": self._updates}
        if self._average is not None:
            places["average"] = self._average
        for name, place in places.items():
            if tensors[name].shape != place.shape:
                raise RuntimeError(f"{name} of another network")
            place.copy_(tensors[name])
        state = {
            name.removeprefix("optimiser."): value.clone()
            for name, value in tensors.items()
            if name.startswith("optimiser.")
        }
        groups = self._optimiser.state_dict()["param_groups"]
        self._optimiser.load_state_dict({"state": {0: state} if state else {}, "param_groups": groups})

    def _judged_weights(self) -> Tensor:
        return self._weights.detach() if self._average is None else self._average


def _joined(network: Mlp) -> Tensor:
    """Moves the weights of a network into one contiguous tensor, which is returned."""
    length = sum(_room(weight) for weight in network.parameters())
    whole = torch.zeros(length, dtype=network.dtype, device=network.device)
    for weight, part in zip(network.parameters(), _parts(whole, network), strict=True):
        part.copy_(weight.detach())
        weight.data = part
    return whole


def _parts(whole: Tensor, network: Mlp) -> list[Tensor]:
    """Returns views of the weights of a network in a tensor like the result of ``_joined``, in their shapes."""
    found, place = [], 0
    for weight in network.parameters():
        found.append(whole[place : place + weight.numel()].view_as(weight))
        place += _room(weight)
    return found


def _room(weight: Tensor) -> int:
    return -(-weight.numel() // _ALIGNED) * _ALIGNED
