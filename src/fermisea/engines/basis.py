"""Plane waves at one k-point and their transform to the real-space grid.

A wavefunction is a row of coefficients c_G of exp(i (k+G) r) / sqrt(Omega), |k+G|^2 hbar^2/2m <= cutoff.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fermisea import units
from fermisea.errors import InputError
from fermisea.grid import RealSpaceGrid


@dataclass(frozen=True)
class PlaneWaves:
    """The plane-wave sphere of one k-point.

    The sphere is stored in a small box, shifted such that the lowest index along each axis is zero. The shift
    multiplies a wavefunction in real space by a phase factor, which does not affect density and local potential, and
    lets every one-dimensional transform skip empty lines (the FFT pads at the end of an axis without extra cost).

    Attributes:
        fraction: k in units of the reciprocal vectors, (3,).
        indices: Miller indices of G, (npw, 3), int64.
        flat: position of each G in the flattened box, (npw,).
        box: size of the box, three integers.
        shape: real-space grid, three integers.
    """

    fraction: Tensor
    indices: Tensor
    flat: Tensor
    box: tuple[int, int, int]
    shape: tuple[int, int, int]

    @classmethod
    def of(
        cls,
        fraction: npt.NDArray[np.float64],
        indices: npt.NDArray[np.int64],
        shape: tuple[int, int, int],
        device: torch.device,
    ) -> Self:
        """Returns the plane waves of a k-point with the Miller indices ``indices``, (npw, 3)."""
        low = indices.min(axis=0)
        box = indices.max(axis=0) - low + 1
        flat = np.ravel_multi_index(tuple((indices - low).T), tuple(box))
        return cls(
            fraction=torch.as_tensor(fraction, dtype=torch.float64, device=device),
            indices=torch.as_tensor(indices, device=device),
            flat=torch.as_tensor(flat, device=device),
            box=(int(box[0]), int(box[1]), int(box[2])),
            shape=shape,
        )

    def __len__(self) -> int:
        """Number of plane waves."""
        return self.indices.shape[0]

    def vectors(self, reciprocal: Tensor) -> Tensor:
        """Returns Cartesian k+G, (npw, 3), 1/Angstrom; differentiable in the reciprocal vectors, (3, 3)."""
        return (self.fraction + self.indices) @ reciprocal

    def to_grid(self, coefficients: Tensor) -> Tensor:
        """Returns sum_G c_G exp(i G r), up to a phase factor, (bands, nx, ny, nz), for coefficients (bands, npw)."""
        bands = coefficients.shape[0]
        box = coefficients.new_zeros((bands, self.box[0] * self.box[1] * self.box[2]))
        box[:, self.flat] = coefficients
        field = box.view(bands, *self.box)
        for axis in (3, 2, 1):
            field = torch.fft.ifft(field, n=self.shape[axis - 1], dim=axis, norm="forward")
        return field

    def from_grid(self, field: Tensor) -> Tensor:
        """Returns the coefficients (bands, npw) of a field (bands, nx, ny, nz); inverse of :meth:`to_grid`."""
        for axis in (1, 2, 3):
            field = torch.fft.fft(field, dim=axis, norm="forward").narrow(axis, 0, self.box[axis - 1])
        return field.reshape(field.shape[0], -1)[:, self.flat]

    def batches(self, bands: int, device: torch.device) -> list[slice]:
        """Returns slices of bands to transform together: single bands on a CPU, to fit its cache; many on a GPU."""
        size = 1 if device.type == "cpu" else max(1, int(2**26 // np.prod(self.shape)))
        return [slice(start, min(start + size, bands)) for start in range(0, bands, size)]


def plane_waves(
    grid: RealSpaceGrid, fraction: npt.NDArray[np.float64], cutoff: float, device: torch.device
) -> PlaneWaves:
    """Returns the plane waves of one k-point with kinetic energy up to ``cutoff`` (eV).

    Raises:
        InputError: if there are none.
    """
    momentum = np.sqrt(cutoff / units.KINETIC)
    reach = [int(momentum * length / (2 * np.pi)) + 2 for length in np.linalg.norm(grid.lattice, axis=1)]
    axes = [np.arange(-r, r + 1) for r in reach]
    indices = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    kinetic = units.KINETIC * np.sum(((fraction + indices) @ grid.reciprocal) ** 2, axis=1)
    indices = indices[kinetic <= cutoff]
    if len(indices) == 0:
        raise InputError(
            f"cutoff: got {cutoff} eV, below which this cell has no plane wave at some k-point; raise the cutoff"
        )
    return PlaneWaves.of(fraction, indices, grid.shape, device)
