"""Hidden layers in a chosen precision, if the processor supports it."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from fermisea.errors import InputError
from fermisea.networks.ensemble import Network
from fermisea.networks.mlp import Mlp, check_choice, hidden_layers

PRECISIONS = ("float32", "bfloat16")
"""Precisions of the hidden layers of a float32 network; a float64 network stays in float64."""


class HiddenLayers:
    """The hidden layers of a network, or of all networks of an ensemble, for batches of points.

    Attributes:
        precision: precision of the layers; float32 if the processor would have to emulate the requested bfloat16.
        width: size of the last hidden layer of all members together.
    """

    def __init__(self, network: Network, precision: str) -> None:
        """Converts the weights.

        Args:
            network: network on any device.
            precision: one of ``PRECISIONS``; ``"float32"`` leaves a network in float64 as it is.

        Raises:
            InputError: for another precision, or bfloat16 for a network in float64.
        """
        check_choice("precision", precision, PRECISIONS)
        if precision == "bfloat16" and network.dtype != torch.float32:
            raise InputError(
                f"precision: got bfloat16, but the network is in {network.dtype}; expected a network in float32"
            )
        self.precision = chosen_precision(precision, network.device)
        self._take([_Converted(member, self.precision) for member in network.members])

    def _take(self, members: Sequence[_Converted]) -> None:
        self._members = list(members)
        self.width = sum(member.width for member in members)

    def __call__(self, descriptors: Tensor) -> Tensor:
        """Returns h, (points, width), in the type of the network, for descriptors, (points, inputs)."""
        if len(self._members) == 1:
            return self._members[0](descriptors)
        return torch.cat([member(descriptors) for member in self._members], dim=1)

    def acting(self, rows: Tensor) -> tuple[HiddenLayers, Tensor]:
        """Returns the layers of the members on which ``rows``, (n, width), act, and the columns of these members."""
        ends = list(itertools.accumulate(member.width for member in self._members))
        blocks = [slice(end - member.width, end) for end, member in zip(ends, self._members, strict=True)]
        used = [k for k, block in enumerate(blocks) if bool(rows[:, block].any())]
        if len(used) in (0, len(blocks)):
            return self, rows
        part = object.__new__(HiddenLayers)
        part.precision = self.precision
        part._take([self._members[k] for k in used])
        return part, torch.cat([rows[:, blocks[k]] for k in used], dim=1)


class _Converted:
    """The hidden layers of one network, with their weights in one precision."""

    def __init__(self, network: Mlp, precision: str) -> None:
        self._kind = torch.bfloat16 if precision == "bfloat16" else network.dtype
        self._network = network
        self._layers = [(w.detach().to(self._kind), b.detach().to(self._kind), name) for w, b, name in network.stages()]
        self.width = network.widths[-1]

    def __call__(self, descriptors: Tensor) -> Tensor:
        network = self._network
        values = ((descriptors - network.input_mean) / network.input_scale).to(self._kind)
        return hidden_layers(values, self._layers).to(network.dtype)


def chosen_precision(precision: str, device: torch.device) -> str:
    """Returns ``precision``, or ``"float32"`` with a warning if the processor could only emulate bfloat16.

    Without instructions for bfloat16 (AVX-512 BF16, AMX or the ARM equivalents) it is ten times slower than float32.

    Args:
        precision: ``"float32"`` or ``"bfloat16"``.
        device: device of the matrix products.
    """
    if precision == "float32" or device.type != "cpu" or _multiplies_bfloat16():
        return precision
    warnings.warn(
        "precision: this processor has no bfloat16 arithmetic and would be ten times slower in bfloat16; using float32",
        stacklevel=3,
    )
    return "float32"


def _multiplies_bfloat16() -> bool:
    capabilities = getattr(torch.cpu, "get_capabilities", None)  # missing in older versions of torch
    if capabilities is None:
        return True
    return any("bf16" in name and present is True for name, present in capabilities().items())
