"""Descriptor and hidden layers of a network over the points of a grid, in boxes that fit a processor's cache.

Nothing of a point is kept but what is asked for: the network is linear in its last hidden layer h, so sums of h and its
products with a few columns are all that observables need.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from ase import Atoms
from torch import Tensor

from fermisea.descriptors import Descriptor, Evaluator
from fermisea.errors import InputError
from fermisea.grid import RealSpaceGrid
from fermisea.networks.ensemble import Network
from fermisea.networks.mlp import FUNCTIONS, Mlp, check_choice
from fermisea.networks.precision import chosen_precision
from fermisea.prediction.tiling import Box, boxes
from fermisea.utilities.threads import in_order

if TYPE_CHECKING:
    from fermisea.descriptors.torch_route import TorchEvaluator

Progress = Callable[[int, int], None]

PRECISIONS = ("float32", "bfloat16")
"""Of the hidden layers of a network in float32; one in float64 stays so."""

ROWS = 512
"""Points that pass through the network together: large enough for fast products, small enough for the cache."""

_VALUES = 2**24
"""Most numbers of a hidden layer that are kept for one box."""


@dataclass(frozen=True)
class Part:
    """What a box gives.

    Attributes:
        box: slices of the grid.
        values: products of the rows asked for with h, (rows, points), or h itself, (points, width), of some points or
            of all; points in C order.
        total: sum of h over the box, (width,), float64.
        thinned: the same over the points of a coarser grid.
    """

    box: Box
    values: Tensor
    total: Tensor
    thinned: Tensor


@dataclass(frozen=True)
class Thinning:
    """Which points of a grid stand for it.

    Attributes:
        steps: every how many points along each axis belong to a coarser grid.
        every: how many points of a box there are for one whose h is given.
    """

    steps: tuple[int, int, int]
    every: int


class HiddenLayers:
    """The hidden layers of a network or of all networks of an ensemble, for batches of points.

    Attributes:
        precision: float32 where the bfloat16 asked for would have to be imitated by the processor.
    """

    def __init__(self, network: Network, precision: str) -> None:
        """Converts the weights.

        Args:
            network: on any device.
            precision: one of ``PRECISIONS``; a network in float64 takes no notice of ``"float32"``.

        Raises:
            InputError: for another precision, or bfloat16 asked of a network in float64.
        """
        check_choice("precision", precision, PRECISIONS)
        if precision == "bfloat16" and network.dtype != torch.float32:
            raise InputError(f"precision: got bfloat16, but the network is in {network.dtype}; expected one in float32")
        self.precision = chosen_precision(precision, network.device)
        self._stacks = [_Stack(member, self.precision) for member in network.members]

    def __call__(self, descriptors: Tensor) -> Tensor:
        """Returns h, (points, width), in the type of the network, of descriptors, (points, inputs)."""
        if len(self._stacks) == 1:
            return self._stacks[0](descriptors)
        return torch.cat([stack(descriptors) for stack in self._stacks], dim=1)


class _Stack:
    """The hidden layers of one network."""

    def __init__(self, network: Mlp, precision: str) -> None:
        self._kind = torch.bfloat16 if precision == "bfloat16" else network.dtype
        self._network = network
        self._layers = [
            (
                layer.get_parameter("weight").detach().to(self._kind),
                layer.get_parameter("bias").detach().to(self._kind),
                name,
            )
            for layer, name in zip(network.layers[:-1], network.activations, strict=True)
        ]

    def __call__(self, descriptors: Tensor) -> Tensor:
        network = self._network
        values = ((descriptors - network.input_mean) / network.input_scale).to(self._kind)
        for weight, bias, name in self._layers:
            values = _activate(name, torch.nn.functional.linear(values, weight, bias))
        return values.to(network.dtype)


class Sweep:
    """Passes over grids with one structure and one network; counts the points for a progress display."""

    def __init__(
        self,
        network: Network,
        descriptor: Descriptor,
        atoms: Atoms,
        *,
        chunk: int,
        precision: str = "float32",
        progress: Progress | None = None,
    ) -> None:
        """Finds the neighbours, nothing more.

        Args:
            network: from descriptors to the LDOS, on the device that is to do the work.
            descriptor: of the network.
            atoms: the structure.
            chunk: most points of a box.
            precision: one of ``PRECISIONS``.
            progress: is told points done and points in all.

        Raises:
            InputError: for a chunk below 1, an unknown precision, or a structure that cannot be used.
        """
        if chunk < 1:
            raise InputError(f"chunk: got {chunk}, expected a positive number of grid points")
        self._network, self._layers = network, HiddenLayers(network, precision)
        self._chunk = chunk
        self._progress, self._done, self._total = progress, 0, 0
        dtype: Literal["float32", "float64"] = "float64" if network.dtype == torch.float64 else "float32"
        self._device = network.device
        self._evaluator: Evaluator | TorchEvaluator
        if self._device.type == "cpu":
            self._threads = torch.get_num_threads()
            self._evaluator = descriptor.evaluator(atoms, dtype, threads=1)
        else:
            from fermisea.descriptors.torch_route import TorchEvaluator  # noqa: PLC0415  # its import takes a second

            self._threads = 1
            self._evaluator = TorchEvaluator(descriptor, atoms, dtype, self._device)

    @property
    def precision(self) -> str:
        """That of :class:`HiddenLayers`."""
        return self._layers.precision

    def expect(self, points: int) -> None:
        """Adds points to those that the progress display counts in all."""
        self._total += points

    def count(self, points: int) -> None:
        """Tells the progress display that so many more are done."""
        self._done += points
        if self._progress is not None:
            self._progress(min(self._done, self._total), self._total)

    def over(
        self, grid: RealSpaceGrid, rows: Tensor | None = None, thinning: Thinning = Thinning((1, 1, 1), 1)
    ) -> Iterator[Part]:
        """Yields what each box of a grid gives; several threads work on the boxes that come next.

        Args:
            grid: spans the cell of the structure.
            rows: (rows, width), multiplied with h; without them, h itself is given.
            thinning: for which points h itself is given, and which coarser grid is summed over too.
        """
        most = min(self._chunk, max(ROWS, _VALUES // self._network.widths[-1]))
        if rows is not None:
            rows = rows.to(self._device, self._network.dtype)
        for part in in_order(lambda box: self._part(grid, box, rows, thinning), boxes(grid.shape, most), self._threads):
            self.count(math.prod(s.stop - s.start for s in part.box))
            yield part

    @torch.inference_mode()
    def _part(self, grid: RealSpaceGrid, box: Box, rows: Tensor | None, thinning: Thinning) -> Part:
        i, j, k = box
        start, stop = (i.start, j.start, k.start), (i.stop, j.stop, k.stop)
        descriptors = torch.as_tensor(self._evaluator.box(grid, start, stop))
        points, width = len(descriptors), self._network.widths[-1]
        kept = torch.arange(0, points, thinning.every, device=self._device)
        shape = (len(kept), width) if rows is None else (len(rows), points)
        values = torch.empty(shape, dtype=self._network.dtype, device=self._device)
        total, thinned = torch.zeros((2, width), dtype=torch.float64, device=self._device)
        coarser = _coarser(box, thinning.steps).to(self._device)
        for first in range(0, points, ROWS):
            batch = slice(first, first + ROWS)
            hidden = self._layers(descriptors[batch])
            total += hidden.sum(0)
            if thinning.steps != (1, 1, 1):
                thinned += hidden[coarser[batch]].sum(0)
            if rows is None:
                low, high = (-(-place // thinning.every) for place in (first, first + len(hidden)))
                values[low:high] = hidden[kept[low:high] - first]
            else:
                values[:, batch] = rows @ hidden.T
        return Part(box, values, total, thinned)


def _coarser(box: Box, steps: tuple[int, int, int]) -> Tensor:
    """Returns which points of a box, in C order, belong to a grid with every ``steps``-th point, (points,)."""
    a, b, c = (torch.arange(s.start, s.stop) % step == 0 for s, step in zip(box, steps, strict=True))
    return (a[:, None, None] & b[:, None] & c).reshape(-1)


def _activate(name: str, values: Tensor) -> Tensor:
    """Returns the activation of ``values``, which may be overwritten."""
    functional = torch.nn.functional
    match name:
        case "silu":
            return functional.silu(values, inplace=True)
        case "relu":
            return functional.relu(values, inplace=True)
        case "leaky_relu":
            return functional.leaky_relu(values, inplace=True)
        case "tanh":
            return values.tanh_()
        case _:
            return FUNCTIONS[name](values)
