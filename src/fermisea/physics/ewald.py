"""Electrostatic energy of point charges in a neutralising background (P. P. Ewald, Ann. Phys. 369, 253, 1921).

With the splitting parameter eta, atoms a and b of charges Z, lattice vectors R and the structure factor
S(G) = sum_a Z_a exp(i G r_a):

    E / e^2 = 1/2 sum_abR Z_a Z_b erfc(eta d) / d + 2 pi/V sum_{G != 0} exp(-G^2 / 4 eta^2) / G^2 |S(G)|^2
              - eta / sqrt(pi) sum_a Z_a^2 - pi / (2 V eta^2) (sum_a Z_a)^2,        d = |r_a - r_b - R| > 0

For small cells both sums are direct, and the time scales as n^1.5. They run over blocks, whose intermediate results are
recomputed in the backward pass; this keeps the memory small, also with derivatives. For large cells the cutoff of the
first sum is proportional to the mean distance of the atoms, S(G) comes from a non-uniform fast Fourier transform
(:mod:`fermisea.physics.fourier_sums`), and the time scales as n log n.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from ase.geometry import minkowski_reduce
from scipy.spatial import KDTree
from torch import Tensor

from fermisea import units
from fermisea.errors import InputError
from fermisea.physics.fields import FourierGrid, reciprocal_cell, recomputed, volume
from fermisea.physics.fourier_sums import fourier_sums, has_fast_sums, runs_of
from fermisea.physics.pair_sums import screened_pairs

_DIGITS = 6.0
"""Both sums are cut off where erfc and the Gaussian have decayed to exp(-6^2)."""

_BALANCE = 4.5
"""eta in units of (n / V^2)^(1/6), for equal times of both sums; measured with 32 to 2000 atoms."""

_FAST_FROM = 1000
"""Number of atoms from which the fast sums take less time than the direct ones."""

_FAST_DIGITS = 5.3
"""As ``_DIGITS``, for the fast sums."""

_FAST_REACH = 5.0
"""Cutoff of the fast sum over pairs in units of (V / n)^(1/3), for the shortest time; measured with 131 072 atoms."""

_BLOCK = 2**20
"""Number of elements of the largest intermediate array."""

_CLOSEST = 1e-3
"""Distance, Angstrom, below which two atoms are taken for a duplicate."""

_Array = npt.NDArray[np.float64]


def ewald_energy(positions: Tensor, charges: Tensor, cell: Tensor) -> Tensor:
    """Returns the Ewald energy, 0-d, eV, differentiable with respect to positions, charges and cell.

    The sums use the Minkowski-reduced cell of the same lattice, so skewed cells take no more time. Fast sums, from 1000
    atoms, are differentiable once, direct sums any number of times.

    Args:
        positions: (n, 3), Angstrom, inside or outside of the cell.
        charges: (n,), elementary charges; their sum may differ from zero.
        cell: lattice vectors as rows, (3, 3), Angstrom, either handedness.

    Raises:
        InputError: for two atoms at the same position.
    """
    _, steps = minkowski_reduce(cell.detach().cpu().numpy())
    cell = torch.as_tensor(steps, dtype=cell.dtype, device=cell.device) @ cell
    size = volume(cell)
    if len(charges) >= _FAST_FROM and has_fast_sums(positions):
        reach = _FAST_REACH * (float(size.detach()) / len(charges)) ** (1 / 3)
        eta = _FAST_DIGITS / reach
        fractions = positions @ torch.linalg.inv(cell)
        energy = screened_pairs(fractions, charges, cell, eta, reach, _CLOSEST)
        energy = energy + _fast_reciprocal_space(fractions, charges, cell, eta)
    else:
        eta = _BALANCE * (len(charges) / float(size.detach()) ** 2) ** (1 / 6)
        energy = _real_space(positions, charges, cell, eta) + _reciprocal_space(positions, charges, cell, eta)
    energy = energy - eta / math.sqrt(math.pi) * torch.sum(charges**2)
    energy = energy - math.pi / (2 * size * eta**2) * torch.sum(charges) ** 2
    return units.COULOMB * energy


def _real_space(positions: Tensor, charges: Tensor, cell: Tensor, eta: float) -> Tensor:
    def block(positions: Tensor, charges: Tensor, cell: Tensor, i: Tensor, j: Tensor, shifts: Tensor) -> Tensor:
        distance = torch.linalg.vector_norm(positions[j] - positions[i] + shifts @ cell, dim=1)
        return torch.sum(charges[i] * charges[j] * torch.erfc(eta * distance) / distance) / 2

    total = positions.new_zeros(())
    for first, second, shifts in _neighbours(
        positions.detach().cpu().numpy(), cell.detach().cpu().numpy(), _DIGITS / eta
    ):
        i, j = (torch.as_tensor(x, device=positions.device) for x in (first, second))
        total = total + recomputed(block, positions, charges, cell, i, j, torch.as_tensor(shifts).to(positions))
    return total


def _neighbours(positions: _Array, cell: _Array, reach: float) -> Iterator[tuple[npt.NDArray[np.int64], ...]]:
    """Yields atoms i, atoms j and lattice shifts with |r_j - r_i + shift @ cell| < reach, without self-pairs."""
    inverse = np.linalg.inv(cell)
    fractions = positions @ inverse
    home = np.floor(fractions)
    fractions -= home
    margin = reach * np.linalg.norm(inverse, axis=0)  # reach divided by the distance of lattice planes
    images, shifts = [], []
    for shift in itertools.product(*(range(-math.ceil(m), math.ceil(m) + 1) for m in margin)):
        moved = fractions + shift
        near = np.flatnonzero(np.all((moved >= -margin) & (moved <= 1 + margin), axis=1))
        images.append(near)
        shifts.append(np.broadcast_to(np.array(shift, dtype=np.float64), (len(near), 3)))
    image, shift_of = np.concatenate(images), np.concatenate(shifts)
    tree = KDTree((fractions[image] + shift_of) @ cell)
    expected = 4 / 3 * math.pi * reach**3 * len(positions) / abs(np.linalg.det(cell))
    rows = max(1, int(_BLOCK / 8 / (1 + expected)))
    for start in range(0, len(positions), rows):
        centres = KDTree(fractions[start : start + rows] @ cell)
        pairs = centres.sparse_distance_matrix(tree, reach, output_type="ndarray")
        i, j = pairs["i"] + start, image[pairs["j"]]
        shift_ij = shift_of[pairs["j"]]
        other = (i != j) | np.any(shift_ij != 0, axis=1)
        distance = pairs["v"][other]
        i, j, shift_ij = i[other], j[other], shift_ij[other]
        if len(distance) and distance.min() < _CLOSEST:
            worst = int(distance.argmin())
            raise InputError(
                f"positions: atoms {i[worst]} and {j[worst]} are {distance[worst]:.1e} Angstrom apart; "
                "remove the duplicate atom"
            )
        yield i, j, shift_ij + home[i] - home[j]


def _reciprocal_space(positions: Tensor, charges: Tensor, cell: Tensor, eta: float) -> Tensor:
    limit = 2 * eta * _DIGITS
    reach = (torch.linalg.vector_norm(cell.detach(), dim=1) * (limit / (2 * math.pi))).int().tolist()
    # only one of G and -G: the first index is not negative, and terms with a positive index count twice
    axes = [
        torch.arange(0 if axis == 0 else -r, r + 1, dtype=cell.dtype, device=cell.device)
        for axis, r in enumerate(reach)
    ]

    def block(positions: Tensor, charges: Tensor, cell: Tensor) -> Tensor:
        phases = 2 * math.pi * (positions @ torch.linalg.inv(cell))
        x, y, z = (torch.exp(1j * phases[:, axis, None] * miller) for axis, miller in enumerate(axes))
        plane = x.T[:, None, :] * y.T[None, :, :]
        return plane @ (z * charges[:, None])

    atoms = max(1, _BLOCK // (len(axes[0]) * len(axes[1])))
    factor = torch.zeros((), dtype=torch.complex128, device=cell.device)
    for start in range(0, len(charges), atoms):
        these = slice(start, start + atoms)
        factor = factor + recomputed(block, positions[these], charges[these], cell)
    miller = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    squared = torch.sum((miller @ reciprocal_cell(cell)) ** 2, dim=-1)
    left_out = (squared.detach() > limit**2) | torch.all(miller == 0, dim=-1)
    squared = squared.masked_fill(left_out, math.inf)
    weight = torch.where(axes[0] > 0, 2.0, 1.0).to(cell)[:, None, None]
    power = factor.real**2 + factor.imag**2
    return 2 * math.pi / volume(cell) * torch.sum(weight * torch.exp(-squared / (4 * eta**2)) / squared * power)


def _fast_reciprocal_space(fractions: Tensor, charges: Tensor, cell: Tensor, eta: float) -> Tensor:
    limit = 2 * eta * _FAST_DIGITS
    nx, ny, nz = (2 * math.floor(length * limit / (2 * math.pi)) + 1 for length in cell.detach().norm(dim=1).tolist())
    shape = nx, ny, nz

    def block(factor: Tensor, cell: Tensor, part: slice) -> Tensor:
        squared = FourierGrid(cell, shape).squares(part)
        left_out = (squared.detach() > limit**2) | (squared.detach() == 0)
        squared = squared.masked_fill(left_out, math.inf)
        power = factor.real**2 + factor.imag**2
        terms = torch.exp(-squared / (4 * eta**2)) / squared * power
        return 2 * torch.sum(terms) - torch.sum(terms[..., 0])  # of the terms of G and -G, one is left out

    total, factors = charges.new_zeros(()), fourier_sums(fractions, charges, runs_of(shape, half=True))
    for part in FourierGrid(cell, shape).blocks():
        total = total + recomputed(block, factors[part], cell, part)
    return 2 * math.pi / volume(cell) * total
