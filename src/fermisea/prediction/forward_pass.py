"""Forward pass of a prediction: descriptors and hidden layers over the points of a grid, tile by tile.

Only requested results are stored. The network is linear in its last hidden layer h, so observables need only sums of h
and products of h with a few vectors.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from fermisea.descriptors import Descriptor
from fermisea.grid import RealSpaceGrid, Tile
from fermisea.networks.ensemble import Network
from fermisea.networks.precision import HiddenLayers
from fermisea.prediction.gradient import Cotangent, tile_gradient
from fermisea.prediction.route import Route, evaluator_of
from fermisea.utilities.arrays import FloatArray
from fermisea.utilities.threads import in_order
from fermisea.utilities.torchrun import ALONE, Processes

Progress = Callable[[int, int], None]
"""Callback with the number of finished points and the total number."""

ROWS = 512
"""Number of points in one batch of the network on the CPU: large enough for fast products, small enough for the cache.
On another device, a tile is one batch."""

_VALUES = 2**24
"""Largest number of hidden-layer values stored for one tile."""


@dataclass(frozen=True)
class TileValues:
    """Results of one tile.

    Attributes:
        tile: slices of the grid.
        values: products of the requested rows with h, (rows, points), or h itself, (points, width), for some or all
            points in C order.
        total: sum of h over the tile, (width,), float64.
        thinned: the same sum over the points of a coarser grid.
    """

    tile: Tile
    values: Tensor
    total: Tensor
    thinned: Tensor


@dataclass(frozen=True)
class Thinning:
    """Points of a grid that represent all points.

    Attributes:
        steps: distance, in points along each axis, between the points of a coarser grid.
        every: number of points in a tile per point whose h is returned.
    """

    steps: tuple[int, int, int]
    every: int


class ForwardPass:
    """Passes over grids for one structure and one network, with a count of the points for a progress bar.

    Attributes:
        precision: precision of the hidden layers, as in :class:`fermisea.networks.precision.HiddenLayers`.
        width: length of h.
        dtype: floating-point type of h.
        threads: number of tiles that are computed at the same time.
        processes: processes that share the planes of the grids.
    """

    def __init__(
        self,
        network: Network,
        descriptor: Descriptor,
        atoms: Atoms,
        *,
        chunk: int,
        route: Route,
        precision: str = "float32",
        points: int = 0,
        progress: Progress | None = None,
        processes: Processes = ALONE,
    ) -> None:
        """Prepares the passes by finding the neighbours.

        Args:
            network: network from descriptors to the LDOS, on the device of the computation.
            descriptor: descriptor of the network.
            atoms: structure.
            chunk: largest number of points of a tile.
            route: route of the descriptors, which must be available on the device of the network.
            precision: precision of the hidden layers, one of ``PRECISIONS``.
            points: initial total number of points for the progress callback; further passes add their points.
            progress: callback with the number of finished points and the total number, of this process.
            processes: processes that share the planes of the grids.

        Raises:
            InputError: for an unknown precision, an invalid structure, or a descriptor without the route.
        """
        self._network, self._layers = network, HiddenLayers(network, precision)
        self._chunk, self._atoms = chunk, len(atoms)
        self._progress, self._done, self._total = progress, 0, points // processes.count
        self.processes = processes
        self.precision, self.width, self.dtype = self._layers.precision, self._layers.width, network.dtype
        self._device = network.device
        self._rows = ROWS if self._device.type == "cpu" else chunk
        self.threads = torch.get_num_threads() if route == "compiled" else 1  # tensor operations have their own
        self._evaluator = evaluator_of(descriptor, atoms, network, route, threads=1)

    def over(
        self, grid: RealSpaceGrid, rows: Tensor | None = None, thinning: Thinning = Thinning((1, 1, 1), 1)
    ) -> Iterator[TileValues]:
        """Yields the results of each tile of this process; several threads compute the next tiles in advance.

        Args:
            grid: grid on the cell of the structure.
            rows: vectors multiplied with h in their own type, (rows, width); without them, h itself is returned.
                Members of an ensemble on which no row acts are not evaluated.
            thinning: points for which h itself is returned, and the coarser grid of the second sum.
        """
        layers = self._layers
        if rows is not None:
            layers, rows = layers.acting(rows.to(self._device))
        most = min(self._chunk, max(ROWS, _VALUES // self._network.widths[-1]))
        tiles = self._tiles(grid, most)
        for found in in_order(lambda tile: self._tile(grid, tile, layers, rows, thinning), tiles, self.threads):
            self._count(found.tile)
            yield found

    def rate(self, grid: RealSpaceGrid) -> float:
        """Returns the number of points that one of ``threads`` evaluates in a second, measured on one tile."""
        tile = next(grid.tiles(self._chunk))
        layers, rows = self._layers.acting(torch.ones((1, self.width), dtype=self.dtype, device=self._device))
        seconds = 0.0
        for _ in range(2):  # the first one compiles
            start = time.perf_counter()
            for found in in_order(lambda tile: self._tile(grid, tile, layers, rows, Thinning((1, 1, 1), 1)), [tile], 1):
                found.values.cpu()  # waits for a device that runs ahead
                seconds = time.perf_counter() - start
        return math.prod(part.stop - part.start for part in tile) / seconds

    def gradient(self, grid: RealSpaceGrid, cotangent: Cotangent) -> tuple[FloatArray, FloatArray]:
        """Returns derivatives of the sum over the points of this process of cotangent times h.

        Args:
            grid: grid on the cell of the structure.
            cotangent: factor of h at each point of this process.

        Returns:
            Derivatives with respect to the positions of the atoms, (atoms, 3), and to the lattice vectors at fixed
            fractional coordinates of the points, (3, 3).
        """
        positions, cell = np.zeros((self._atoms, 3)), np.zeros((3, 3))

        def part(tile: Tile) -> tuple[Tile, FloatArray, FloatArray]:
            return tile, *tile_gradient(self._network, self._evaluator, grid, tile, cotangent, rows=self._rows)

        for tile, by_positions, by_cell in in_order(part, self._tiles(grid, self._chunk), self.threads):
            positions += by_positions
            cell += by_cell
            self._count(tile)
        return positions, cell

    def planes(self, grid: RealSpaceGrid) -> slice:
        """Returns the planes of a grid along the first axis that this process has."""
        return self.processes.part(grid.shape[0])

    def _tiles(self, grid: RealSpaceGrid, most: int) -> Iterator[Tile]:
        planes = self.planes(grid)
        self._total = max(self._total, self._done + (planes.stop - planes.start) * math.prod(grid.shape[1:]))
        return grid.tiles(most, planes)

    def _count(self, tile: Tile) -> None:
        self._done += math.prod(s.stop - s.start for s in tile)
        if self._progress is not None:
            self._progress(self._done, self._total)

    @torch.inference_mode()
    def _tile(
        self, grid: RealSpaceGrid, tile: Tile, layers: HiddenLayers, rows: Tensor | None, thinning: Thinning
    ) -> TileValues:
        i, j, k = tile
        start, stop = (i.start, j.start, k.start), (i.stop, j.stop, k.stop)
        descriptors = torch.as_tensor(self._evaluator.box(grid, start, stop))
        return values_of(tile, descriptors, layers, rows, thinning, batch=self._rows)


def values_of(
    tile: Tile, descriptors: Tensor, layers: HiddenLayers, rows: Tensor | None, thinning: Thinning, *, batch: int
) -> TileValues:
    """Returns the results of a tile from its descriptors, on the device of the descriptors.

    Args:
        tile: slices of the grid.
        descriptors: descriptors of the points in C order, (points, inputs), in the type of the network.
        layers: hidden layers of the network, on the same device.
        rows: vectors multiplied with h, as for :meth:`ForwardPass.over`, on the same device.
        thinning: points for which h itself is returned, and the coarser grid of the second sum.
        batch: number of points in one batch of the network.
    """
    points, width, device = len(descriptors), layers.width, descriptors.device
    kept = torch.arange(0, points, thinning.every, device=device)
    shape = (len(kept), width) if rows is None else (len(rows), points)
    values = torch.empty(shape, dtype=descriptors.dtype if rows is None else rows.dtype, device=device)
    total, thinned = torch.zeros((2, width), dtype=torch.float64, device=device)
    coarser = _coarser(tile, thinning.steps).to(device)
    for first in range(0, points, batch):
        part = slice(first, first + batch)
        hidden = layers(descriptors[part])
        total += hidden.sum(0)
        if thinning.steps != (1, 1, 1):
            thinned += hidden[coarser[part]].sum(0)
        if rows is None:
            low, high = (-(-place // thinning.every) for place in (first, first + len(hidden)))
            values[low:high] = hidden[kept[low:high] - first]
        else:
            values[:, part] = rows @ hidden.T.to(rows.dtype)
    return TileValues(tile, values, total, thinned)


def _coarser(tile: Tile, steps: tuple[int, int, int]) -> Tensor:
    """Returns a mask, (points,), of the points of a tile, in C order, on a grid with every ``steps``-th point."""
    a, b, c = (torch.arange(s.start, s.stop) % step == 0 for s, step in zip(tile, steps, strict=True))
    return (a[:, None, None] & b[:, None] & c).reshape(-1)
