"""Electrostatic energy and potential of a periodic charge density, without its average."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fermisea import units
from fermisea.physics.fields import FourierGrid


def _coulomb(grid: FourierGrid, part: slice) -> Tensor:
    """Returns 4 pi e^2 / G^2 for a block of coefficients, 0 for G = 0."""
    squared = grid.squares(part)
    return 4 * math.pi * units.COULOMB / squared.masked_fill(squared.detach() == 0, torch.inf)


def hartree_energy(density: Tensor, grid: FourierGrid) -> Tensor:
    """Returns E_H = (Omega/2) sum_{G != 0} 4 pi e^2 |n_G|^2 / G^2, 0-d, eV.

    Args:
        density: (nx, ny, nz), 1/Angstrom^3.
        grid: grid of the density.
    """
    coefficients = grid.transform(density).div_(grid.size)
    columns = torch.zeros(coefficients.shape[2], dtype=torch.float64, device=density.device)
    for part in grid.blocks():
        values = coefficients[part].to(torch.complex128)
        columns = columns + torch.sum(_coulomb(grid, part) * (values.real**2 + values.imag**2), dim=(0, 1))
    return grid.total(grid.volume / 2 * grid.both_halves(columns))


def hartree_potential(density: Tensor, grid: FourierGrid) -> Tensor:
    """Returns v_H on the grid, (nx, ny, nz), eV, with zero average.

    Args:
        density: (nx, ny, nz), 1/Angstrom^3.
        grid: grid of the density.
    """
    coefficients = grid.transform(density)
    response = torch.empty_like(coefficients)
    for part in grid.blocks():
        response[part] = _coulomb(grid, part) * coefficients[part]
    return grid.field(response)
