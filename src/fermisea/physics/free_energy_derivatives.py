"""Derivatives of the second-order free energy with respect to its densities and the cell.

With n0 and n_t as in :mod:`fermisea.physics.free_energy`, n_c the core density and q = n0 + n_t, the terms that
depend on the densities are

    F - A - E_ii = E_H[n_t] - E_H[q]/2 + (E_xc[n0 + n_c] + E_xc[n_t + n_c] - int v_xc[n0 + n_c] q) / 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

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
        cell: Tensor,
        functional: Functional,
    ) -> Self:
        """Returns the derivatives for one set of densities, each (nx, ny, nz), 1/Angstrom^3.

        Args:
            reference_density: n0, valence.
            density: n_t, valence.
            core_density: n_c.
            cell: lattice vectors as rows, (3, 3), Angstrom.
            functional: exchange-correlation functional.
        """
        first, second = (torch.as_tensor(field, dtype=torch.float64) for field in (reference_density, density))
        both = first + second
        at_reference = xc_response(first + core_density, cell, functional, both)
        potential, energy_strain = xc_potential_and_strain(second + core_density, cell, functional)
        strain = _hartree_strain(second, cell) - _hartree_strain(both, cell) / 2
        strain += (at_reference.energy_strain + energy_strain - at_reference.slope_strain) / 2
        half = hartree_potential(both, cell).div_(2)
        del both
        by_density = hartree_potential(second, cell).sub_(half)
        by_density.add_(potential, alpha=0.5).sub_(at_reference.potential, alpha=0.5)
        by_core = potential.add_(at_reference.potential).sub_(at_reference.response).div_(2)
        by_reference = half.neg_().sub_(at_reference.response, alpha=0.5)
        return cls(reference_density=by_reference, density=by_density, core_density=by_core, strain=strain)


def _hartree_strain(density: Tensor, cell: Tensor) -> Tensor:
    """Returns the derivative of E_H with respect to strain at fixed values on the grid points, (3, 3), eV."""
    with torch.enable_grad():
        strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
        energy = hartree_energy(density, cell @ (torch.eye(3, dtype=torch.float64) + strain))
        (found,) = torch.autograd.grad(energy, strain)
    return (found + found.T) / 2
