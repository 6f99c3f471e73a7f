"""Electrostatic energy and potential of a periodic charge density, without its average."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fermisea import units
from fermisea.energies.fields import reciprocal_vectors, volume


def _coulomb(cell: Tensor, density: Tensor) -> Tensor:
    shape = (density.shape[0], density.shape[1], density.shape[2])
    squared = torch.sum(reciprocal_vectors(cell, shape) ** 2, dim=-1)
    zero = torch.zeros_like(squared, dtype=torch.bool)
    zero[0, 0, 0] = True
    return 4 * math.pi * units.COULOMB / squared.masked_fill(zero, torch.inf)


def hartree_energy(density: Tensor, cell: Tensor) -> Tensor:
    """Returns E_H = (Omega/2) sum_{G != 0} 4 pi e^2 |n_G|^2 / G^2, 0-d, eV.

    Args:
        density: (nx, ny, nz), 1/Angstrom^3.
        cell: lattice vectors as rows, (3, 3), Angstrom.
    """
    coefficients = torch.fft.fftn(density, norm="forward")
    return volume(cell) / 2 * torch.sum(_coulomb(cell, density) * torch.abs(coefficients) ** 2)


def hartree_potential(density: Tensor, cell: Tensor) -> Tensor:
    """Returns v_H on the grid, (nx, ny, nz), eV, with zero average.

    Args:
        density: (nx, ny, nz), 1/Angstrom^3.
        cell: lattice vectors as rows, (3, 3), Angstrom.
    """
    coefficients = torch.fft.fftn(density, norm="forward")
    return torch.fft.ifftn(_coulomb(cell, density) * coefficients, norm="forward").real
