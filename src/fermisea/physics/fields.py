"""Periodic fields on a grid: reciprocal vectors and Fourier gradients, differentiable with respect to the cell."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import scipy.fft
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

_SLAB = 2**17
"""Number of coefficients in a block."""


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


def half_squares(cell: Tensor, shape: tuple[int, int, int], planes: slice) -> Tensor:
    """Returns |G|^2 for some planes of the coefficients of a real FFT, (planes, ny, nz // 2 + 1), 1/Angstrom^2.

    For an index whose sign is ambiguous on an even grid, the terms that change sign are omitted.
    """
    axes = _half_axes(shape, cell.device)
    metric = reciprocal_cell(cell) @ reciprocal_cell(cell).T
    a, b, c = (torch.where(2 * m.abs() == n, 0.0, m) for m, n in zip(axes, shape, strict=True))
    plane = metric[0, 0] * axes[0][planes] ** 2 + metric[1, 1] * axes[1] ** 2 + 2 * metric[0, 1] * a[planes] * b
    return plane + 2 * (metric[0, 2] * a[planes] + metric[1, 2] * b) * c + metric[2, 2] * axes[2] ** 2


def half_vectors(cell: Tensor, shape: tuple[int, int, int], planes: slice) -> tuple[Tensor, Tensor]:
    """Returns G for some planes of the coefficients of a real FFT, and where no index is ambiguous in its sign.

    Returns:
        (planes, ny, nz // 2 + 1, 3), 1/Angstrom, and (planes, ny, nz // 2 + 1), bool, False where G and -G are the same
        point of an even grid.
    """
    a, b, c = _half_axes(shape, cell.device)
    axes = torch.broadcast_tensors(a[planes], b, c)
    kept = torch.stack([2 * m.abs() != n for m, n in zip(axes, shape, strict=True)]).all(dim=0)
    return torch.stack(axes, dim=-1) @ reciprocal_cell(cell), kept


def slabs(shape: tuple[int, int, int]) -> Iterator[slice]:
    """Yields blocks of planes of the coefficients of a real FFT, which limits the memory of derived arrays."""
    step = max(1, _SLAB // (shape[1] * (shape[2] // 2 + 1)))
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))


def gradient_coefficients(field: Tensor) -> Tensor:
    """Returns the real-FFT coefficients that enter a gradient, (nx, ny, nz // 2 + 1); the others are zero."""
    coefficients = torch.fft.rfftn(field)
    for axis, n in enumerate(field.shape):
        if n % 2 == 0:
            coefficients.select(axis, n // 2).zero_()
    return coefficients


def derivative(coefficients: Tensor, cell: Tensor, shape: tuple[int, int, int], axis: int) -> Tensor:
    """Returns one Cartesian component of a gradient, (nx, ny, nz), per Angstrom, from ``gradient_coefficients``."""
    return real_field(differentiated(coefficients, cell, shape, axis), shape)


def real_field(coefficients: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Returns the inverse of a real FFT, (nx, ny, nz); may overwrite ``coefficients`` if they are not differentiable.

    SciPy's transform works in place, torch's makes two copies.
    """
    if coefficients.requires_grad or coefficients.device.type != "cpu":
        return torch.fft.irfftn(coefficients, s=shape)
    threads = torch.get_num_threads()
    return torch.from_numpy(scipy.fft.irfftn(coefficients.numpy(), s=shape, workers=threads, overwrite_x=True))


def differentiated(coefficients: Tensor, cell: Tensor, shape: tuple[int, int, int], axis: int) -> Tensor:
    """Returns the coefficients of a real FFT, (nx, ny, nz // 2 + 1), times i and a Cartesian component of G."""
    a, b, c = _half_axes(shape, cell.device)
    vectors = reciprocal_cell(cell)
    result = torch.empty_like(coefficients)
    for planes in slabs(shape):
        component = vectors[0, axis] * a[planes] + vectors[1, axis] * b + vectors[2, axis] * c
        part = coefficients[planes]
        result[planes] = torch.complex(-component * part.imag, component * part.real)
    return result


def gradient(field: Tensor, cell: Tensor) -> Tensor:
    """Returns the gradient of a real field (nx, ny, nz) as (nx, ny, nz, 3), per Angstrom."""
    shape = (field.shape[0], field.shape[1], field.shape[2])
    coefficients = gradient_coefficients(field)
    return torch.stack([derivative(coefficients, cell, shape, axis) for axis in range(3)], dim=-1)


def _half_axes(shape: tuple[int, int, int], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the Miller indices of a real FFT along each axis, ready to be broadcast."""
    n, m, k = shape
    a = torch.fft.fftfreq(n, 1.0 / n, dtype=torch.float64, device=device)[:, None, None]
    b = torch.fft.fftfreq(m, 1.0 / m, dtype=torch.float64, device=device)[None, :, None]
    c = torch.arange(k // 2 + 1, dtype=torch.float64, device=device)[None, None, :]
    return a, b, c


def recomputed(block: Callable[..., Tensor], *arguments: Any) -> Tensor:
    """Returns ``block(*arguments)`` without storing intermediate results for the backward pass."""
    if not any(isinstance(argument, Tensor) and argument.requires_grad for argument in arguments):
        return block(*arguments)
    result: Tensor = checkpoint(block, *arguments, use_reentrant=False, preserve_rng_state=False)
    return result


def volume(cell: Tensor) -> Tensor:
    """Returns the positive cell volume, Angstrom^3."""
    return torch.linalg.det(cell).abs()
