"""Fields on coarser grids, and the smallest grid whose products of two wavefunctions are exact on a coarser grid."""

from __future__ import annotations

import torch
from torch import Tensor

from fermisea.errors import InputError
from fermisea.grid import good_fft_size

Shape = tuple[int, int, int]


def check_coarser(shape: Shape, engine: Shape) -> None:
    """Raises InputError if a grid of the LDOS has more points along an axis than the grid of the engine."""
    if any(size > present for size, present in zip(shape, engine, strict=True)):
        raise InputError(f"LDOS grid: got {shape}, expected at most the grid of the engine, {engine}")


def resample(field: Tensor, shape: Shape) -> Tensor:
    """Returns real fields (..., nx, ny, nz) on a coarser grid of ``shape`` by omitting Fourier coefficients.

    Raises:
        InputError: for a finer grid.
    """
    check_coarser(shape, (field.shape[-3], field.shape[-2], field.shape[-1]))
    for axis, size in zip((-3, -2, -1), shape, strict=True):
        if size != field.shape[axis]:
            spectrum = torch.fft.rfft(field, dim=axis, norm="forward").narrow(axis, 0, _kept(size) + 1)
            field = torch.fft.irfft(spectrum, n=size, dim=axis, norm="forward")
    return field


def transform_shape(box: Shape, shape: Shape, engine: Shape) -> Shape:
    """Returns the grid on which the densities of wavefunctions are computed before they are resampled to ``shape``.

    A wavefunction with Fourier indices in a range of ``box`` integers has a density with indices up to ``box`` - 1. On
    n points an index q appears at q - n, too. The indices up to K, which the coarser grid keeps, are exact if
    n - (``box`` - 1) > K. More points change nothing.

    Args:
        box: number of Fourier indices of the wavefunctions along each axis.
        shape: grid of the LDOS.
        engine: grid of the DFT code, which limits the result.
    """
    x, y, z = (
        present if size == present else min(present, good_fft_size(max(width + _kept(size), size + 1)))
        for width, size, present in zip(box, shape, engine, strict=True)
    )
    return x, y, z


def _kept(size: int) -> int:
    """Returns the highest Fourier index that a coarser grid of ``size`` points keeps."""
    return (size - 1) // 2
