"""Periodic fields on a grid: reciprocal vectors and gradients by Fourier transform, differentiable in the cell."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def reciprocal_cell(cell: Tensor) -> Tensor:
    """Returns the reciprocal lattice vectors as rows with the factor 2 pi, (3, 3), 1/Angstrom."""
    return 2 * math.pi * torch.linalg.inv(cell).T


def reciprocal_vectors(cell: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Returns G for every Fourier coefficient of a grid, in the order of an FFT.

    Args:
        cell: lattice vectors as rows, (3, 3), Angstrom.
        shape: grid points along each vector.

    Returns:
        (nx, ny, nz, 3), 1/Angstrom.
    """
    axes = [torch.fft.fftfreq(n, 1.0 / n, dtype=torch.float64, device=cell.device) for n in shape]
    miller = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    return miller @ reciprocal_cell(cell)


def without_nyquist(shape: tuple[int, int, int], device: torch.device) -> Tensor:
    """Returns a mask, (nx, ny, nz), that is 0 where an even grid cannot tell G from -G, else 1."""
    mask = torch.ones(shape, dtype=torch.float64, device=device)
    for axis, n in enumerate(shape):
        if n % 2 == 0:
            mask.select(axis, n // 2).zero_()
    return mask


def gradient(field: Tensor, cell: Tensor) -> Tensor:
    """Returns the gradient of a real field (nx, ny, nz) as (nx, ny, nz, 3), per Angstrom."""
    shape = (field.shape[0], field.shape[1], field.shape[2])
    half = slice(shape[2] // 2 + 1)  # of a real field, the other half of the coefficients follows from this one
    coefficients = torch.fft.rfftn(field) * without_nyquist(shape, field.device)[:, :, half]
    vectors = reciprocal_vectors(cell, shape)[:, :, half]
    components = [torch.fft.irfftn(1j * vectors[..., axis] * coefficients, s=shape) for axis in range(3)]
    return torch.stack(components, dim=-1)


def volume(cell: Tensor) -> Tensor:
    """Returns the positive cell volume, Angstrom^3."""
    return torch.linalg.det(cell).abs()
