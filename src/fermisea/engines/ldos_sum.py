"""The local density of states of a converged Hamiltonian on an energy grid, broadened by a Gaussian."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fermisea.engines.basis import PlaneWaves
from fermisea.engines.ldos_memory import Blocks, reached
from fermisea.engines.resampling import check_coarser, resample, transform_shape
from fermisea.grid import EnergyGrid, RealSpaceGrid
from fermisea.physics.broadening import gaussian
from fermisea.utilities.arrays import FloatArray
from fermisea.utilities.threads import Workers

_CHUNK = 2**22
"""Number of LDOS values converted to single precision at once."""


@dataclass(frozen=True, eq=False)
class KPointBands:
    """Bands of one k-point.

    Attributes:
        weight: weight of the k-point; all weights sum to one.
        eigenvalues: (bands,), eV, ascending.
        read: function that returns the plane waves and the orthonormal coefficients, (bands, plane waves), of the bands
            between two indices; several threads call it at the same time.
    """

    weight: float
    eigenvalues: FloatArray
    read: Callable[[int, int], tuple[PlaneWaves, Tensor]]


@dataclass(frozen=True, eq=False)
class _Block:
    """Bands ``first`` to ``stop`` of a k-point, which contribute to the energies ``low`` to ``high``."""

    bands: KPointBands
    first: int
    stop: int
    low: int
    high: int


def local_density_of_states(
    kpoints: Sequence[KPointBands],
    grid: RealSpaceGrid,
    energies: EnergyGrid,
    broadening: float,
    shape: tuple[int, int, int],
    pool: Workers,
    blocks: Blocks | None = None,
) -> npt.NDArray[np.float32]:
    """Returns sum_k w_k sum_n 2 |psi_nk(r)|^2 g(eps - eps_nk), (nx, ny, nz, energies), 1/(eV Angstrom^3).

    The contribution of each block of bands is computed in single precision, in which the LDOS is stored, on the
    smallest grid that gives the Fourier coefficients of ``shape`` exactly.

    Args:
        kpoints: bands of each k-point, up to energies above the window.
        grid: real-space grid of the DFT code.
        energies: the energy grid.
        broadening: standard deviation of the Gaussian g, eV.
        shape: grid points of the LDOS; Fourier coefficients beyond a coarser grid are omitted.
        pool: thread pool for the blocks.
        blocks: blocks of bands; None for large ones.

    Raises:
        InputError: for a grid of the LDOS that is finer than the grid of the DFT code.
    """
    check_coarser(shape, grid.shape)
    blocks = blocks or Blocks()
    axis = torch.as_tensor(energies.energies)

    def one(block: _Block) -> tuple[_Block, Tensor]:
        waves, coefficients = block.bands.read(block.first, block.stop)
        device = coefficients.device
        waves = replace(waves, shape=transform_shape(waves.box, shape, grid.shape))
        values = torch.as_tensor(block.bands.eigenvalues[block.first : block.stop])
        spectrum = gaussian(axis[None, block.low : block.high] - values[:, None], broadening)
        spectrum *= 2 * block.bands.weight / grid.volume
        squares = torch.empty((len(values), math.prod(shape)), dtype=torch.float32, device=device)
        for batch in waves.batches(len(values), device):
            field = waves.to_grid(coefficients[batch].to(torch.complex64))
            parts = torch.view_as_real(field).square_()
            density = torch.add(parts[..., 0], parts[..., 1])
            del field, parts
            squares[batch] = resample(density, shape).flatten(1)
        return block, squares.T @ spectrum.float().to(device)

    total: Tensor | None = None
    size = (math.prod(shape), energies.size)
    for block, part in pool.map(one, _blocks(kpoints, blocks.size, energies, broadening)):
        if total is None:
            total = torch.zeros(size, dtype=torch.float64 if blocks.double else torch.float32, device=part.device)
        total[:, block.low : block.high] += part
    if total is None:
        return np.zeros((*shape, energies.size), dtype=np.float32)
    return _single(total).reshape(*shape, energies.size)


def _blocks(kpoints: Sequence[KPointBands], size: int, energies: EnergyGrid, broadening: float) -> Iterator[_Block]:
    """Yields the blocks of all k-points that contribute to any energy."""
    for bands in kpoints:
        for first in range(0, len(bands.eigenvalues), size):
            values = bands.eigenvalues[first : first + size]
            low, high = reached(energies, values[:1], values[-1:], broadening)
            if high > low:
                yield _Block(bands, first, first + len(values), int(low[0]), int(high[0]))


def _single(total: Tensor) -> npt.NDArray[np.float32]:
    """Returns a sum in single precision, without a copy if it has this precision."""
    if total.dtype == torch.float32:
        return total.cpu().numpy()
    found = np.empty(tuple(total.shape), dtype=np.float32)
    step = max(1, _CHUNK // total.shape[1])
    for first in range(0, len(found), step):
        found[first : first + step] = total[first : first + step].to(torch.float32).cpu().numpy()
    return found
