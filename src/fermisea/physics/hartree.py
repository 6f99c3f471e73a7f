"""Electrostatic energy and potential of a periodic charge density, without its average."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fermisea import units
from fermisea.physics.fields import half_squares, real_field, slabs, volume


def _coulomb(cell: Tensor, shape: tuple[int, int, int], planes: slice) -> Tensor:
    """Returns 4 pi e^2 / G^2 for some planes of the coefficients of a real FFT, 0 for G = 0."""
    squared = half_squares(cell, shape, planes)
    if planes.start == 0:
        first = torch.zeros_like(squared, dtype=torch.bool)
        first[0, 0, 0] = True
        squared = squared.masked_fill(first, torch.inf)
    return 4 * math.pi * units.COULOMB / squared


def hartree_energy(density: Tensor, cell: Tensor) -> Tensor:
    """Returns E_H = (Omega/2) sum_{G != 0} 4 pi e^2 |n_G|^2 / G^2, 0-d, eV.

    Args:
        density: (nx, ny, nz), 1/Angstrom^3.
        cell: lattice vectors as rows, (3, 3), Angstrom.
    """
    shape = (density.shape[0], density.shape[1], density.shape[2])
    coefficients = torch.fft.rfftn(density, norm="forward")
    columns = torch.zeros(coefficients.shape[2], dtype=torch.float64, device=density.device)
    for planes in slabs(shape):
        part = coefficients[planes]
        part = part.to(torch.complex128)
        columns = columns + torch.sum(_coulomb(cell, shape, planes) * (part.real**2 + part.imag**2), dim=(0, 1))
    # coefficients count twice, for G and -G, except in the first and (for an even grid) the last column
    last = columns[-1] / 2 if shape[2] > 1 and shape[2] % 2 == 0 else 0
    return volume(cell) * (columns.sum() - columns[0] / 2 - last)


def hartree_potential(density: Tensor, cell: Tensor) -> Tensor:
    """Returns v_H on the grid, (nx, ny, nz), eV, with zero average.

    Args:
        density: (nx, ny, nz), 1/Angstrom^3.
        cell: lattice vectors as rows, (3, 3), Angstrom.
    """
    shape = (density.shape[0], density.shape[1], density.shape[2])
    coefficients = torch.fft.rfftn(density)
    response = torch.empty_like(coefficients)
    for planes in slabs(shape):
        response[planes] = _coulomb(cell, shape, planes) * coefficients[planes]
    return real_field(response, shape)
