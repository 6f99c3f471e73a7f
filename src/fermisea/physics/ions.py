"""Ionic contributions to the energy: valence charges and the partial core density (nonlinear core correction)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fermisea.errors import InputError
from fermisea.physics.fields import reciprocal_vectors, volume, without_nyquist
from fermisea.physics.radial import RadialTable


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
    """Returns sum_a exp(-i G R_a) for every G of the grid, (nx, ny, nz), complex; differentiable.

    Args:
        positions: (n, 3), Angstrom.
        cell: lattice vectors as rows, (3, 3), Angstrom.
        shape: number of grid points along each lattice vector.
    """
    fractions = positions @ torch.linalg.inv(cell)
    factors = []
    for axis, n in enumerate(shape):
        miller = torch.fft.fftfreq(n, 1.0 / n, dtype=positions.dtype, device=positions.device)
        factors.append(torch.exp(-2j * math.pi * fractions[:, axis, None] * miller))
    return torch.einsum("ai,aj,ak->ijk", *factors)


def core_density(
    ions: Mapping[str, Ion],
    symbols: Sequence[str],
    positions: Tensor,
    cell: Tensor,
    shape: tuple[int, int, int],
    momentum: float | None = None,
) -> Tensor:
    """Returns the sum of the partial core densities on the grid.

    n_c(r) = 1/V sum_G exp(i G r) sum_a n_a(|G|) exp(-i G R_a), with n_a the transform of one core. The Nyquist terms
    of even grids are omitted, so the density is real and moves with the atoms. The result is differentiable.

    Args:
        ions: the ion of each element.
        symbols: element of each atom.
        positions: (n, 3), Angstrom.
        cell: lattice vectors as rows, (3, 3), Angstrom.
        shape: number of grid points along each lattice vector.
        momentum: highest |G| of the sum, 1/Angstrom; by default all G of the grid.

    Returns:
        (nx, ny, nz), 1/Angstrom^3; zeros if no ion has a core density.

    Raises:
        InputError: if an element is not among the ions.
    """
    charges(ions, symbols)
    cores = {symbol: ions[symbol].core for symbol in sorted(set(symbols))}
    if all(core is None for core in cores.values()):
        return torch.zeros(shape, dtype=torch.float64, device=cell.device)
    total = torch.zeros(shape, dtype=torch.complex128, device=cell.device)
    lengths = torch.linalg.vector_norm(reciprocal_vectors(cell, shape), dim=-1)
    kept = without_nyquist(shape, cell.device) > 0
    if momentum is not None:
        kept = kept & (lengths.detach() <= momentum)
    for symbol, core in cores.items():
        if core is not None:
            atoms = [i for i, other in enumerate(symbols) if other == symbol]
            form = torch.zeros_like(lengths).masked_scatter(kept, core(lengths[kept]))
            total = total + structure_factor(positions[atoms], cell, shape) * form
    density: Tensor = torch.fft.ifftn(total).real * (math.prod(shape) / volume(cell))
    return density
