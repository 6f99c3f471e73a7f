"""Ionic contributions to the energy: valence charges and the partial core density (nonlinear core correction)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fermisea.errors import InputError
from fermisea.physics.fields import FourierGrid, recomputed
from fermisea.physics.fourier_sums import Runs, fourier_sums, has_fast_sums, runs_of
from fermisea.physics.radial import RadialTable

_FAST_FROM = 256
"""Number of atoms of an element from which a fast transform takes less time than the sum over its atoms."""


@dataclass(frozen=True, eq=False)
class CoreCharge:
    """Fourier transform of a spherical core density (Louie, Froyen, Cohen, PRB 26, 1738, 1982).

    Attributes:
        step: spacing of the tabulated momenta, 1/Angstrom; the first momentum is zero.
        values: transform of the core density at these momenta, (nq,), electrons.
    """

    step: float
    values: npt.NDArray[np.float64]

    @cached_property
    def table(self) -> RadialTable:
        """Fourier transform as a function of q."""
        return RadialTable(self.step, self.values, "core charge")

    @property
    def electrons(self) -> float:
        """Integral of the core density."""
        return float(self.values[0])

    def __call__(self, momenta: Tensor) -> Tensor:
        """Returns the transform at ``momenta`` (1/Angstrom), electrons, in the same shape; differentiable."""
        return self.table(momenta)[0]


@dataclass(frozen=True)
class Ion:
    """A pseudo-ion.

    Attributes:
        symbol: element.
        valence: charge in units of e.
        core: partial core density, if the pseudopotential has one.
    """

    symbol: str
    valence: float
    core: CoreCharge | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns plain numbers and lists for JSON."""
        core = None if self.core is None else {"step": self.core.step, "values": np.asarray(self.core.values).tolist()}
        return {"symbol": self.symbol, "valence": self.valence, "core": core}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Returns the ion from the result of ``to_dict``."""
        core = data.get("core")
        if core is not None:
            core = CoreCharge(float(core["step"]), np.asarray(core["values"], dtype=np.float64))
        return cls(str(data["symbol"]), float(data["valence"]), core)


def charges(ions: Mapping[str, Ion], symbols: Sequence[str]) -> list[float]:
    """Returns the valence charge of each atom.

    Raises:
        InputError: if an element is not among the ions.
    """
    unknown = sorted(set(symbols) - set(ions))
    if unknown:
        raise InputError(f"elements: got {', '.join(unknown)}, expected only {', '.join(sorted(ions))}")
    return [ions[symbol].valence for symbol in symbols]


def electrons(ions: Mapping[str, Ion], symbols: Sequence[str]) -> float:
    """Returns the number of valence electrons of the neutral cell."""
    return math.fsum(charges(ions, symbols))


def structure_factor(positions: Tensor, cell: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Returns sum_a exp(-i G R_a) for every G of a grid, (nx, ny, nz), complex; differentiable.

    From 256 atoms, the sum is a fast transform (:mod:`fermisea.physics.fourier_sums`), with an error of
    1e-12 relative to its norm.

    Args:
        positions: (n, 3), Angstrom.
        cell: lattice vectors as rows, (3, 3), Angstrom.
        shape: number of grid points along each lattice vector.
    """
    return _structure_factor(positions, cell, runs_of(shape))


def _structure_factor(positions: Tensor, cell: Tensor, runs: Runs) -> Tensor:
    fractions = positions @ torch.linalg.inv(cell)
    if len(positions) >= _FAST_FROM and has_fast_sums(positions):
        return fourier_sums(fractions, torch.ones_like(fractions[:, 0]), runs)
    phases = (fractions[:, axis, None] * run.indices.to(positions) for axis, run in enumerate(runs))
    return torch.einsum("ai,aj,ak->ijk", *(torch.exp(-2j * math.pi * phase) for phase in phases))


def core_density(
    ions: Mapping[str, Ion],
    symbols: Sequence[str],
    positions: Tensor,
    grid: FourierGrid,
    momentum: float | None = None,
) -> Tensor:
    """Returns the sum of the partial core densities on the grid.

    n_c(r) = 1/V sum_G exp(i G r) sum_a n_a(|G|) exp(-i G R_a), with n_a the transform of one core. The Nyquist terms
    of even grids are omitted, so the density is real and moves with the atoms. The result is differentiable.

    Args:
        ions: the ion of each element.
        symbols: element of each atom.
        positions: (n, 3), Angstrom.
        grid: grid of the density.
        momentum: highest |G| of the sum, 1/Angstrom; by default all G of the grid.

    Returns:
        (nx, ny, nz), 1/Angstrom^3; zeros if no ion has a core density.

    Raises:
        InputError: if an element is not among the ions.
    """
    coefficients = _core_coefficients(ions, symbols, positions, grid, momentum)
    if coefficients is None:  # a single number in memory
        return torch.zeros((), dtype=torch.float64, device=grid.cell.device).expand(grid.own_shape)
    return grid.field(coefficients) / grid.voxel


def core_overlap(
    ions: Mapping[str, Ion], symbols: Sequence[str], positions: Tensor, grid: FourierGrid, potential: Tensor
) -> Tensor:
    """Returns the sum over the points of a potential times the core densities, 0-d, eV/Angstrom^3; differentiable.

    It is computed from coefficients, without the core density on the grid. Where the grid is shared, it is the part
    of this process.

    Args:
        ions: the ion of each element.
        symbols: element of each atom.
        positions: (n, 3), Angstrom.
        grid: grid of the potential.
        potential: (nx, ny, nz), eV.
    """
    coefficients = _core_coefficients(ions, symbols, positions, grid, None)
    if coefficients is None:
        return torch.zeros((), dtype=torch.float64)
    other = grid.transform(potential)
    columns = (other.real * coefficients.real + other.imag * coefficients.imag).sum(dim=(0, 1))
    return grid.both_halves(columns) / grid.volume


def _core_coefficients(
    ions: Mapping[str, Ion], symbols: Sequence[str], positions: Tensor, grid: FourierGrid, momentum: float | None
) -> Tensor | None:
    """Returns sum_a n_a(|G|) exp(-i G R_a) for the coefficients of the grid; None if no ion has a core density."""
    charges(ions, symbols)  # refuses unknown elements
    cores = {symbol: core for symbol in sorted(set(symbols)) if (core := ions[symbol].core) is not None}
    if not cores:
        return None
    elements = np.asarray(symbols)
    places = (positions[torch.from_numpy(elements == symbol)] for symbol in cores)
    factors = [grid.ordered(_structure_factor(own, grid.cell, grid.runs)) for own in places]

    def block(cell: Tensor, part: slice, *factors: Tensor) -> Tensor:
        vectors, kept = grid.with_cell(cell).vectors(part)
        lengths = torch.linalg.vector_norm(vectors, dim=-1)
        if momentum is not None:
            kept = kept & (lengths.detach() <= momentum)
        inside = lengths[kept]
        total = torch.zeros_like(factors[0])
        for core, factor in zip(cores.values(), factors, strict=True):
            total = total + factor * torch.zeros_like(lengths).masked_scatter(kept, core(inside))
        return total

    parts = list(grid.blocks())
    evaluate = block if len(parts) == 1 else partial(recomputed, block)
    return torch.cat([evaluate(grid.cell, part, *(factor[part] for factor in factors)) for part in parts])
