"""Derivatives of the second-order free energy with respect to its densities and the cell.

With n0 and n_t as in :mod:`fermisea.physics.free_energy`, n_c the core density and q = n0 + n_t, the terms that
depend on the densities are

    F - A - E_ii = E_H[n_t] - E_H[q]/2 + (E_xc[n0 + n_c] + E_xc[n_t + n_c] - int v_xc[n0 + n_c] q) / 2.

Where the functional at tau_e is another one than the functional of the Hamiltonian, whose potential is w_xc, the last
integral becomes int v_xc[n0 + n_c] (n0 - n_t) + 2 int w_xc[n0 + n_c] n_t, and E_xc and v_xc are those at tau_e.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from fermisea.physics.fields import FourierGrid
from fermisea.physics.hartree import hartree_energy, hartree_potential
from fermisea.physics.xc import Functional
from fermisea.physics.xc_response import xc_potential_and_strain, xc_response
from fermisea.utilities.arrays import FloatArray


@dataclass(frozen=True)
class FreeEnergyDerivatives:
    """Functional derivatives of F - A - E_ii: the integral of one times a density change is the change of F, eV.

    Attributes:
        reference_density: derivative with respect to n0, (nx, ny, nz), eV.
        density: derivative with respect to n_t, (nx, ny, nz), eV.
        core_density: derivative with respect to n_c, (nx, ny, nz), eV.
        strain: derivative with respect to a strain of cell and grid, at fixed values on the grid points, (3, 3), eV.
    """

    reference_density: Tensor
    density: Tensor
    core_density: Tensor
    strain: Tensor

    @classmethod
    def of(
        cls,
        *,
        reference_density: FloatArray,
        density: FloatArray,
        core_density: Tensor,
        grid: FourierGrid,
        functional: Functional,
        hot: Functional | None = None,
    ) -> Self:
        """Returns the derivatives for one set of densities, each (nx, ny, nz), 1/Angstrom^3.

        Args:
            reference_density: n0, valence.
            density: n_t, valence.
            core_density: n_c.
            grid: grid of the densities.
            functional: exchange-correlation functional in the Hamiltonian.
            hot: exchange-correlation functional at tau_e; by default the same one.
        """
        first, second = (torch.as_tensor(field, dtype=torch.float64) for field in (reference_density, density))
        both = first + second
        hot = functional if hot is None else hot
        at_reference = _at_reference(first, second, core_density, grid, functional, hot)
        potential, energy_strain = xc_potential_and_strain(second + core_density, grid, hot)
        strain = _hartree_strain(second, grid) - _hartree_strain(both, grid) / 2
        strain += (at_reference.energy_strain + energy_strain - at_reference.slope_strain) / 2
        half = hartree_potential(both, grid).div_(2)
        del both
        by_density = hartree_potential(second, grid).sub_(half)
        by_density.add_(potential, alpha=0.5).sub_(at_reference.subtracted, alpha=0.5)
        by_core = potential.add_(at_reference.potential).sub_(at_reference.response).div_(2)
        by_reference = half.neg_().sub_(at_reference.response, alpha=0.5)
        return cls(reference_density=by_reference, density=by_density, core_density=by_core, strain=strain)


@dataclass(frozen=True)
class _AtReference:
    """Exchange and correlation at n0 + n_c; S is the integral in the definition of F.

    Attributes:
        potential: v_xc, (nx, ny, nz), eV.
        subtracted: derivative of S with respect to n_t, (nx, ny, nz), eV.
        response: derivative of S with respect to the density in the potential, (nx, ny, nz), eV.
        energy_strain: derivative of E_xc with respect to strain at fixed values on the grid points, (3, 3), eV.
        slope_strain: the same derivative of S, (3, 3), eV.
    """

    potential: Tensor
    subtracted: Tensor
    response: Tensor
    energy_strain: Tensor
    slope_strain: Tensor


def _at_reference(
    first: Tensor, second: Tensor, core: Tensor, grid: FourierGrid, functional: Functional, hot: Functional
) -> _AtReference:
    """Returns the terms of n0 (``first``) and n_t (``second``), valence, with a core density."""
    if hot == functional:
        own = xc_response(first + core, grid, functional, first + second)
        return _AtReference(own.potential, own.potential, own.response, own.energy_strain, own.slope_strain)
    cold = xc_response(first + core, grid, functional, second)
    warm = xc_response(first + core, grid, hot, first - second)
    return _AtReference(
        potential=warm.potential,
        subtracted=cold.potential.mul_(2).sub_(warm.potential),
        response=warm.response.add_(cold.response, alpha=2),
        energy_strain=warm.energy_strain,
        slope_strain=warm.slope_strain + 2 * cold.slope_strain,
    )


def _hartree_strain(density: Tensor, grid: FourierGrid) -> Tensor:
    """Returns the derivative of E_H with respect to strain at fixed values on the grid points, (3, 3), eV."""
    with torch.enable_grad():
        strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
        deformed = grid.with_cell(grid.cell @ (torch.eye(3, dtype=torch.float64) + strain))
        (found,) = torch.autograd.grad(hartree_energy(density, deformed), strain)
    return grid.total((found + found.T) / 2)
