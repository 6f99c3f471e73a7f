"""The DOS and the densities of a predicted LDOS from passes over a grid, without the LDOS.

The network is linear in its last hidden layer h, d(r) = W h(r) + b. So the DOS is W sum_r h(r) + b N_r times the volume
of a point, exactly, and for integration weights w of one tau_e the density is (W^T w) . h(r) + b . w.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fermisea.grid import EnergyGrid, RealSpaceGrid
from fermisea.networks.ensemble import Ensemble, Network
from fermisea.physics.density_of_states import DensityOfStates, IntegrationName
from fermisea.prediction.density_basis import DensityBasis, Norm, levels_around
from fermisea.prediction.hidden import Part, Sweep, Thinning
from fermisea.utilities.arrays import FloatArray

_COARSER = 4
"""How much coarser, along each axis, the grid is that guesses the Fermi levels."""

_FEWEST = 8
"""Points along an axis of that grid, at least, if there are so many."""

_SAMPLE = 2048
"""Points at which densities are compared."""

_SMALLEST = {torch.float32: 1e-9, torch.float64: 1e-14}
"""Relative size of the smallest field of a basis, for networks of these types."""

_WORST = {torch.float32: 1e-7, torch.float64: 1e-12}
"""Largest relative error of a density made from a basis."""


class Readout:
    """The last layer of a network: from sums of h to a DOS, from integration weights to vectors that act on h."""

    def __init__(
        self, network: Network, energies: EnergyGrid, broadening: float, integration: IntegrationName = "sharpened"
    ) -> None:
        """Takes the weights, in float64.

        Args:
            network: from descriptors to the LDOS.
            energies: of the LDOS.
            broadening: standard deviation that the LDOS carries, eV.
            integration: of :class:`fermisea.DensityOfStates`.
        """
        self._take(*network.readout())
        self.network = network
        self.kind = network.dtype
        self._energies, self._broadening = energies.energies, broadening
        self._integration: IntegrationName = integration

    def of_members(self) -> list[Self]:
        """Returns the readout of each member of an ensemble, from the joint hidden layer."""
        assert isinstance(self.network, Ensemble)  # noqa: S101  # the caller knows
        found = []
        for matrix, bias in self.network.member_readouts():
            found.append(copy(self))
            found[-1]._take(matrix, bias)  # noqa: SLF001  # a copy of this
        return found

    def _take(self, matrix: Tensor, bias: Tensor) -> None:
        self.matrix, self.bias = matrix.cpu(), bias.cpu()

    def density_of_states(self, total: Tensor, points: int, volume: float) -> DensityOfStates:
        """Returns the DOS of a cell of ``volume`` (Angstrom^3) from the sum of h, (width,), over its points."""
        values = (self.matrix @ total.cpu() + self.bias * points) * (volume / points)
        return DensityOfStates(self._energies, values.numpy(), self._broadening, self._integration)

    def vectors(self, weights: Sequence[FloatArray]) -> Tensor:
        """Returns v = (W^T w, b . w), (width + 1, n), for n integration weights; the density is v . (h(r), 1)."""
        columns = torch.from_numpy(np.stack(weights, axis=1))
        return torch.cat([self.matrix.T @ columns, (self.bias @ columns)[None]])


class LdosPass(Protocol):
    """What a prediction needs of an LDOS on a grid."""

    dos: DensityOfStates

    def densities(self, weights: Sequence[FloatArray]) -> list[FloatArray]:
        """Returns the density of each of these integration weights, (nx, ny, nz), 1/Angstrom^3."""


class KeptPass:
    """Keeps h of every point."""

    def __init__(self, sweep: Sweep, readout: Readout, grid: RealSpaceGrid) -> None:
        """Makes the pass."""
        self._readout, self._grid = readout, grid
        self._parts = list(sweep.over(grid))
        self._total = torch.stack([part.total for part in self._parts]).sum(0)
        self.dos = readout.density_of_states(self._total, grid.size, grid.volume)

    def read_by(self, readout: Readout) -> Self:
        """Returns the same pass with another readout of the same hidden layer."""
        other = copy(self)
        other._readout = readout  # noqa: SLF001  # a copy of this
        other.dos = readout.density_of_states(self._total, self._grid.size, self._grid.volume)
        return other

    def densities(self, weights: Sequence[FloatArray]) -> list[FloatArray]:
        """Returns the density of each of these integration weights, (nx, ny, nz), 1/Angstrom^3."""
        vectors = self._readout.vectors(weights)
        own = _occupied(vectors[:-1])
        matrix, constants = vectors[:-1][own].T, vectors[-1][:, None]
        fields = np.empty((len(weights), *self._grid.shape))
        for part in self._parts:
            _write(fields, part, matrix @ part.values[:, own].double().cpu().T + constants)
        return list(fields)


class StreamedPass:
    """Keeps a few fields from which the densities near guessed Fermi levels follow; makes a second pass if they do not.

    Attributes:
        dos: of all points.
        passes: over the grid, so far.
    """

    def __init__(self, sweep: Sweep, readout: Readout, grid: RealSpaceGrid, basis: DensityBasis) -> None:
        """Makes the pass."""
        self._sweep, self._readout, self._grid, self._basis = sweep, readout, grid, basis
        self.passes = 1
        self._fields, total = self._project(basis.vectors, np.float32 if readout.kind == torch.float32 else np.float64)
        self.dos = readout.density_of_states(total, grid.size, grid.volume)

    def densities(self, weights: Sequence[FloatArray]) -> list[FloatArray]:
        """Returns the density of each of these integration weights, (nx, ny, nz), 1/Angstrom^3; to be called once."""
        fields, self._fields = self._fields, np.empty((0, *self._grid.shape))
        vectors = self._readout.vectors(weights)
        made = [self._basis.take_apart(vector) for vector in vectors.T]
        if max(error for _, error in made) > _WORST[self._readout.kind]:
            self.passes += 1
            self._sweep.expect(self._grid.size)
            del fields
            return list(self._project(vectors, np.float64)[0])
        densities = []
        for coefficients, _ in made:
            density = np.zeros(self._grid.shape)
            for coefficient, field in zip(coefficients.tolist(), fields, strict=True):
                for i, plane in enumerate(field):  # no large temporaries
                    density[i] += coefficient * plane
            densities.append(density)
        return densities

    def _project(self, vectors: Tensor, dtype: npt.DTypeLike) -> tuple[npt.NDArray[np.floating], Tensor]:
        fields = np.empty((vectors.shape[1], *self._grid.shape), dtype=dtype)
        total = torch.zeros(len(vectors) - 1, dtype=torch.float64)
        for part in self._sweep.over(self._grid, vectors[:-1].T):
            _write(fields, part, part.values.cpu() + vectors[-1].to(part.values.dtype)[:, None])
            total += part.total.cpu()
        return fields, total


@dataclass(frozen=True)
class Guess:
    """What a coarse grid tells.

    Attributes:
        dos: of the coarse grid.
        coarser: of every second of its points along each axis with an even number of them; None if there is no such.
        norm: of fields, on some of its points.
    """

    dos: DensityOfStates
    coarser: DensityOfStates | None
    norm: Norm

    @classmethod
    def on(cls, sweep: Sweep, readout: Readout, grid: RealSpaceGrid) -> Guess:
        """Makes a pass over a grid."""
        a, b, c = (2 if n % 2 == 0 else 1 for n in grid.shape)
        steps = (a, b, c)
        total, fewer = (torch.zeros(readout.matrix.shape[1], dtype=torch.float64) for _ in range(2))
        sample = []
        for part in sweep.over(grid, thinning=Thinning(steps, max(1, grid.size // _SAMPLE))):
            total += part.total.cpu()
            fewer += part.thinned.cpu()
            rows = part.values.double().cpu()
            sample.append(torch.cat([rows, torch.ones((len(rows), 1), dtype=torch.float64)], dim=1))
        points = grid.size // int(np.prod(steps))
        return cls(
            readout.density_of_states(total, grid.size, grid.volume),
            readout.density_of_states(fewer, points, grid.volume) if points < grid.size else None,
            Norm(torch.cat(sample)),
        )

    def basis(self, readout: Readout, electrons: float, electron_temperatures: Iterable[float]) -> DensityBasis:
        """Returns the fields that hold the densities at these tau_e (K), the Fermi levels being near those guessed."""
        vectors = []
        for temperature in electron_temperatures:
            level = self.dos.fermi_level(electrons, temperature)
            other = level if self.coarser is None else self.coarser.fermi_level(electrons, temperature)
            levels = levels_around(level, 2 * abs(level - other) + 1e-3)
            vectors += [self.dos.weights(mu, temperature).electrons for mu in levels]
        return DensityBasis.spanning(readout.vectors(vectors), self.norm, _SMALLEST[readout.kind])


def guessing_grid(grid: RealSpaceGrid) -> RealSpaceGrid:
    """Returns a grid coarser than ``grid``, with even numbers of points; not coarser than a few points."""
    n, m, k = (min(size, max(_FEWEST, 2 * -(-size // (2 * _COARSER)))) for size in grid.shape)
    return RealSpaceGrid(grid.cell, (n, m, k))


def _occupied(vectors: Tensor) -> slice:
    """Returns the part of a joint hidden layer on which vectors, (width, n), act: that of one member, or all of it."""
    places = vectors.any(dim=1).nonzero()
    return slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0)


def _write(fields: npt.NDArray[np.floating], part: Part, values: Tensor) -> None:
    """Writes the values of a box, (fields, points) in C order, into ``fields``, (fields, nx, ny, nz)."""
    i, j, k = part.box
    target = fields[:, i, j, k]
    target[...] = values.reshape(target.shape).numpy()
