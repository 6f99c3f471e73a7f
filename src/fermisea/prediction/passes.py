"""The hidden layer of a structure, summed over a grid and stored or streamed for densities.

Fermi levels need the DOS, which needs all points, and densities need the Fermi levels. For small grids h is stored at
every point. For large grids a coarse grid gives estimates of the Fermi levels, and one pass over the full grid is
enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fermisea.grid import RealSpaceGrid
from fermisea.physics.integration import EnergyIntegral
from fermisea.prediction.density_basis import DensityBasis, Norm, levels_around
from fermisea.prediction.forward_pass import ForwardPass, Progress, Thinning, TileValues
from fermisea.prediction.readout import GridSum, Readout
from fermisea.prediction.request import Request
from fermisea.utilities.arrays import FloatArray

_SAMPLE = 2048
"""Number of points at which densities are compared."""

_SMALLEST = {torch.float32: 1e-9, torch.float64: 1e-14}
"""Relative size of the smallest field of a basis, by type of the network."""

_WORST = {torch.float32: 1e-7, torch.float64: 1e-12}
"""Largest relative error of a density expanded in a basis."""


class Layer(Protocol):
    """The hidden layer of a structure on a grid.

    Attributes:
        sum: sum of h over the points.
    """

    @property
    def sum(self) -> GridSum: ...  # noqa: D102

    def fields(self, vectors: Tensor) -> list[FloatArray]:
        """Returns v . (h(r), 1) for each column v of ``vectors``, (width + 1, n): fields of (nx, ny, nz).

        Where processes share the grid, each has nx planes of the whole grid.
        """


@dataclass(frozen=True)
class HiddenSums:
    """Results of the hidden layer of a structure needed by a prediction.

    Attributes:
        dos: sum of h over the grid of the DOS.
        compared: sums over two grids, whose difference is the error of a separate grid for the DOS; None without one.
        layer: hidden layer on the grid of the densities; None without densities.
        volume: volume of the cell, Angstrom^3.
        forward: forward pass that computed them, for further passes.
    """

    dos: GridSum
    compared: tuple[GridSum, GridSum] | None
    layer: Layer | None
    volume: float
    forward: ForwardPass

    def fields(self, vectors: Tensor) -> list[FloatArray] | None:
        """Returns v . (h(r), 1) for each column v of ``vectors``, each (nx, ny, nz); None without densities."""
        return None if self.layer is None else self.layer.fields(vectors)


def hidden_sums(request: Request, readout: Readout, progress: Progress | None = None) -> HiddenSums:
    """Returns the hidden layer of a structure from one pass over its grid, after a pass on a coarser grid if needed.

    Args:
        request: structure, network, grids and temperatures of the prediction.
        readout: last layer of the network.
        progress: callback with the number of finished points and the total number.

    Raises:
        InputError: for a chunk below 1, an unknown precision, or a descriptor without the route.
    """
    forward = ForwardPass(
        request.network,
        request.descriptor,
        request.atoms,
        chunk=request.chunk,
        route=request.route,
        precision=request.precision,
        points=request.points,
        progress=progress,
        processes=request.processes,
    )
    grid, dos_grid = request.grid, request.dos_grid
    if not request.density:
        alone = Guess.on(forward, grid if dos_grid is None else dos_grid)
        compared = None if dos_grid is None or alone.coarser is None else (alone.coarser, alone.sum)
        return HiddenSums(alone.sum, compared, None, grid.volume, forward)
    coarse = request.guessing_grid if dos_grid is None else dos_grid
    guess = None if coarse is None else Guess.on(forward, coarse)
    layer: Layer
    if request.keeps or guess is None:
        parts = list(forward.over(grid))
        total = GridSum(forward.processes.sum(torch.stack([part.total.cpu() for part in parts]).sum(0)), grid.size)
        layer = KeptLayer(parts, forward.planes(grid), grid.shape, total)
    else:
        temperatures = request.density_temperatures
        layer = StreamedLayer(forward, grid, guess.basis(readout, grid.volume, request.electrons, temperatures))
    if dos_grid is None or guess is None:
        return HiddenSums(layer.sum, None, layer, grid.volume, forward)
    return HiddenSums(guess.sum, (guess.sum, layer.sum), layer, grid.volume, forward)


@dataclass(frozen=True, eq=False)
class KeptLayer:
    """A layer that stores h at every point.

    Attributes:
        parts: h of the points of each tile of this process.
        planes: planes of the grid that this process has.
        shape: number of points of the whole grid along each lattice vector.
        sum: sum of h over the points.
    """

    parts: list[TileValues]
    planes: slice
    shape: tuple[int, int, int]
    sum: GridSum

    def fields(self, vectors: Tensor) -> list[FloatArray]:
        """Returns v . (h(r), 1) for each column v of ``vectors``, (width + 1, n)."""
        own = _occupied(vectors[:-1])
        matrix, constants = vectors[:-1][own].T, vectors[-1][:, None]
        shape = (self.planes.stop - self.planes.start, *self.shape[1:])
        fields = [np.empty(shape) for _ in range(vectors.shape[1])]
        for part in self.parts:
            _write(fields, part, self.planes.start, matrix @ part.values[:, own].double().cpu().T + constants)
        return fields


class StreamedLayer:
    """A layer that stores a few fields, in which the densities near estimated Fermi levels are expanded.

    The fields have the precision of the network. The first request overwrites them with its results; vectors outside
    their space, and later requests, need another pass.

    Attributes:
        passes: number of passes over the grid so far.
    """

    def __init__(self, forward: ForwardPass, grid: RealSpaceGrid, basis: DensityBasis) -> None:
        """Performs the pass over the grid."""
        self._forward, self._grid, self._basis = forward, grid, basis
        self.passes = 1
        self._kept: list[npt.NDArray[Any]] | None
        kind = np.float32 if forward.dtype == torch.float32 else np.float64
        self._kept, total = self._project(basis.vectors, forward.dtype, kind)
        self.sum = GridSum(forward.processes.sum(total), grid.size)

    def fields(self, vectors: Tensor) -> list[FloatArray]:
        """Returns v . (h(r), 1) for each column v of ``vectors``, (width + 1, n)."""
        fields, self._kept = self._kept, None
        if fields is None:
            self.passes += 1
            return self._project(vectors, torch.float64, np.float64)[0]
        expansions = [self._basis.expand(vector) for vector in vectors.T]
        if max(error for _, error in expansions) > _WORST[self._forward.dtype]:
            self.passes += 1
            del fields
            return self._project(vectors, self._forward.dtype, np.float64)[0]
        matrix = np.array([coefficients.tolist() for coefficients, _ in expansions])
        while len(fields) < len(matrix):
            fields.append(np.zeros_like(fields[0]))
        for i in range(len(fields[0])):  # plane by plane, in the memory of the basis
            planes = np.tensordot(matrix, [field[i] for field in fields[: matrix.shape[1]]], 1)
            for field, plane in zip(fields, planes, strict=False):
                field[i] = plane
        return fields[: len(matrix)]

    def _project(
        self, vectors: Tensor, dtype: torch.dtype, kind: npt.DTypeLike
    ) -> tuple[list[npt.NDArray[Any]], Tensor]:
        """Returns fields in type ``kind`` from products in type ``dtype``, and the sum of h, in one pass."""
        planes = self._forward.planes(self._grid)
        shape = (planes.stop - planes.start, *self._grid.shape[1:])
        fields = [np.empty(shape, dtype=kind) for _ in range(vectors.shape[1])]
        total: Tensor | float = 0.0
        for part in self._forward.over(self._grid, vectors[:-1].T.to(dtype)):
            _write(fields, part, planes.start, part.values.cpu() + vectors[-1].to(dtype)[:, None])
            total = part.total.cpu() + total
        return fields, torch.as_tensor(total)


@dataclass(frozen=True)
class Guess:
    """Results from a coarse grid.

    Attributes:
        sum: sum of h over the grid.
        coarser: sum over every second point along each axis with an even number of points; None without such an axis.
        norm: norm of fields on some of the points.
        smallest: relative size of the smallest field of a basis.
    """

    sum: GridSum
    coarser: GridSum | None
    norm: Norm
    smallest: float

    @classmethod
    def on(cls, forward: ForwardPass, grid: RealSpaceGrid) -> Guess:
        """Performs a pass over a grid."""
        a, b, c = (2 if n % 2 == 0 else 1 for n in grid.shape)
        steps = (a, b, c)
        total, fewer = sums = torch.zeros((2, forward.width), dtype=torch.float64)
        sample = [torch.empty((0, forward.width + 1), dtype=torch.float64)]
        for part in forward.over(grid, thinning=Thinning(steps, max(1, grid.size // _SAMPLE))):
            total += part.total.cpu()
            fewer += part.thinned.cpu()
            rows = part.values.double().cpu()
            sample.append(torch.cat([rows, torch.ones((len(rows), 1), dtype=torch.float64)], dim=1))
        total, fewer = forward.processes.sum(sums)
        points = grid.size // int(np.prod(steps))
        coarser = GridSum(fewer, points) if points < grid.size else None
        norm = Norm(forward.processes.joined(torch.cat(sample)))
        return cls(GridSum(total, grid.size), coarser, norm, _SMALLEST[forward.dtype])

    def basis(
        self, readout: Readout, volume: float, electrons: float, electron_temperatures: Iterable[float]
    ) -> DensityBasis:
        """Returns the fields in which the densities at each tau_e (K) are expanded, for Fermi levels near the estimate.

        Args:
            readout: last layer of the network.
            volume: volume of the cell, Angstrom^3.
            electrons: number of electrons in the cell.
            electron_temperatures: tau_e, K.
        """
        dos = readout.density_of_states(self.sum, volume)
        coarser = dos if self.coarser is None else readout.density_of_states(self.coarser, volume)
        integrals: list[EnergyIntegral] = []
        for temperature in electron_temperatures:
            level = dos.fermi_level(electrons, temperature)
            other = coarser.fermi_level(electrons, temperature)
            levels = levels_around(level, 2 * abs(level - other) + 1e-3)
            integrals += [dos.weights(mu, temperature).electrons for mu in levels]
        return DensityBasis.spanning(readout.vectors(integrals), self.norm, self.smallest)


def _occupied(vectors: Tensor) -> slice:
    """Returns the part of a joint hidden layer on which vectors, (width, n), act: one member or all members."""
    places = vectors.any(dim=1).nonzero()
    return slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0)


def _write(fields: Sequence[npt.NDArray[Any]], part: TileValues, first: int, values: Tensor) -> None:
    """Writes the values of a tile, (fields, points) in C order, into ``fields``, which begin at the plane ``first``."""
    i, j, k = part.tile
    for field, own in zip(fields, values.numpy(), strict=True):
        target = field[i.start - first : i.stop - first, j, k]
        target[...] = own.reshape(target.shape)
