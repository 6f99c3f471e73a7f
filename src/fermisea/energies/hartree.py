"""Electrostatic energy and potential of a periodic charge density, without its average."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fermisea import units
from fermisea.energies.fields import half_squares, volume


def _coulomb(cell: Tensor, density: Tensor) -> Tensor:
    """Returns 4 pi e^2 / G^2 for the coefficients of a real FFT, 0 for G = 0."""
    squared = half_squares(cell, (density.shape[0], density.shape[1], density.shape[2]))
    first = torch.zeros_like(squared, dtype=torch.bool)
    first[0, 0, 0] = True
    return 4 * math.pi * units.COULOMB / squared.masked_fill(first, torch.inf)


def hartree_energy(density: Tensor, cell: Tensor) -> Tensor:
    """Returns E_H = (Omega/2) sum_{G != 0} 4 pi e^2 |n_G|^2 / G^2, 0-d, eV.

    Args:
        density: (nx, ny, nz), 1/Angstrom^3.
        cell: lattice vectors as rows, (3, 3), Angstrom.
    """
    coefficients = torch.fft.rfftn(density, norm="forward")
    planes = torch.sum(_coulomb(cell, density) * (coefficients.real**2 + coefficients.imag**2), dim=(0, 1))
    # each coefficient stands for itself and the one of -G, but for those of the first and, if even, the last plane
    size = density.shape[2]
    return volume(cell) * (planes.sum() - planes[0] / 2 - (planes[-1] / 2 if size > 1 and size % 2 == 0 else 0))


def hartree_potential(density: Tensor, cell: Tensor) -> Tensor:
    """Returns v_H on the grid, (nx, ny, nz), eV, with zero average.

    Args:
        density: (nx, ny, nz), 1/Angstrom^3.
        cell: lattice vectors as rows, (3, 3), Angstrom.
    """
    coefficients = torch.fft.rfftn(density, norm="forward")
    return torch.fft.irfftn(_coulomb(cell, density) * coefficients, s=density.shape, norm="forward")
