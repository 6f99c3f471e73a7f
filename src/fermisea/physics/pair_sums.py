"""Screened Coulomb energy of pairs of charges within a cutoff, from bins of atoms, at a cost of n.

E = 1/2 sum_abR Z_a Z_b erfc(eta d) / d over all d = |r_b - r_a + R| < reach, with derivatives in the same loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fermisea.errors import InputError
from fermisea.utilities.arrays import FloatArray
from fermisea.utilities.threads import in_order

_BINS = 3
"""Number of bins per reach."""

_ATOMS = 4096
"""Number of atoms of a task of a thread."""


def screened_pairs(
    fractions: Tensor, charges: Tensor, cell: Tensor, eta: float, reach: float, closest: float
) -> Tensor:
    """Returns E, 0-d, 1/Angstrom times charge squared, differentiable once with respect to the first three arguments.

    Args:
        fractions: fractional coordinates, (n, 3), on the CPU, inside or outside of the cell.
        charges: (n,).
        cell: lattice vectors as rows, (3, 3), Angstrom.
        eta: inverse screening length, 1/Angstrom.
        reach: largest distance, Angstrom.
        closest: distance below which two atoms are refused as duplicates, Angstrom.

    Raises:
        InputError: for two atoms at the same position.
    """
    arguments = fractions, charges, cell, eta, reach, closest
    energy: Tensor = _ScreenedPairs.apply(*arguments)  # type: ignore[no-untyped-call]
    return energy


class _ScreenedPairs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, fractions: Tensor, charges: Tensor, cell: Tensor, eta: float, reach: float, closest: float
    ) -> Tensor:
        potential, slope, virial = _sums(fractions.numpy(), charges.numpy(), cell.numpy(), eta, reach, closest)
        potentials, slopes = torch.from_numpy(potential), torch.from_numpy(slope)
        by_fractions = charges[:, None] * slopes @ cell.T
        by_cell = torch.linalg.inv(cell).T @ torch.from_numpy(virial)
        ctx.save_for_backward(by_fractions, potentials, by_cell)
        return torch.dot(charges, potentials) / 2

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # the caller asked for a graph of the derivatives
            raise NotImplementedError(
                "fast Ewald sums: second derivatives are not available; take finite differences of the forces"
            )
        return (*(gradients[0] * derivative for derivative in ctx.saved_tensors), None, None, None)


def _sums(
    fractions: FloatArray, charges: FloatArray, cell: FloatArray, eta: float, reach: float, closest: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Returns potentials, (n,), derivatives of E by positions over charge, (n, 3), and by strain, (3, 3)."""
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    most = max(1.0, len(charges) ** (1 / 3)) * heights / np.prod(heights) ** (1 / 3)
    bins = np.maximum(1, np.minimum(_BINS * heights / reach, most)).astype(np.int64)
    steps = np.ceil(reach * bins / heights).astype(np.int64)
    wrapped = fractions - np.floor(fractions)
    index = np.minimum((wrapped * bins).astype(np.int64), bins - 1)
    flat = (index[:, 0] * bins[1] + index[:, 1]) * bins[2] + index[:, 2]
    order = np.argsort(flat, kind="stable")
    first = np.searchsorted(flat[order], np.arange(int(np.prod(bins)) + 1)).astype(np.int64)
    arrays = (index[order], wrapped[order] @ cell, charges[order], first, bins, steps, cell)
    potential, slope = np.empty(len(charges)), np.empty((len(charges), 3))
    loop = _compiled_loop()

    def part(start: int) -> tuple[FloatArray, tuple[float, int, int]]:
        virial = np.zeros((3, 3))
        return virial, loop(start, min(start + _ATOMS, len(charges)), *arrays, eta, reach, potential, slope, virial)

    parts = list(in_order(part, range(0, len(charges), _ATOMS), torch.get_num_threads()))
    square, i, j = min(nearest for _, nearest in parts)
    if square < closest**2:
        one, other = sorted((int(order[i]), int(order[j])))
        raise InputError(
            f"positions: atoms {one} and {other} are {math.sqrt(square):.1e} Angstrom apart; remove the duplicate atom"
        )
    original = np.argsort(order)
    return potential[original], slope[original], np.sum([virial for virial, _ in parts], axis=0)


@lru_cache(maxsize=1)
def _compiled_loop() -> Callable[..., tuple[float, int, int]]:
    import numba  # noqa: PLC0415  # slow to import, needed for large cells only

    compiled: Callable[..., tuple[float, int, int]] = numba.njit(nogil=True, error_model="numpy")(_loop)
    return compiled


def _loop(
    start: int,
    stop: int,
    index: Any,
    positions: Any,
    charges: Any,
    first: Any,
    bins: Any,
    steps: Any,
    cell: Any,
    eta: float,
    reach: float,
    potential: Any,
    slope: Any,
    virial: Any,
) -> tuple[float, int, int]:
    """Fills the sums of some atoms, sorted by bin; returns the smallest squared distance and its two atoms."""
    nearest, nearest_i, nearest_j = np.inf, 0, 0
    gaussian = 2 * eta / math.sqrt(math.pi)
    square_reach = reach * reach
    for i in range(start, stop):
        value = gx = gy = gz = xx = yy = zz = yz = xz = xy = 0.0
        for a in range(index[i, 0] - steps[0], index[i, 0] + steps[0] + 1):
            sa = a // bins[0]
            for b in range(index[i, 1] - steps[1], index[i, 1] + steps[1] + 1):
                sb = b // bins[1]
                for c in range(index[i, 2] - steps[2], index[i, 2] + steps[2] + 1):
                    sc = c // bins[2]
                    here = ((a - sa * bins[0]) * bins[1] + b - sb * bins[1]) * bins[2] + c - sc * bins[2]
                    ox = sa * cell[0, 0] + sb * cell[1, 0] + sc * cell[2, 0] - positions[i, 0]
                    oy = sa * cell[0, 1] + sb * cell[1, 1] + sc * cell[2, 1] - positions[i, 1]
                    oz = sa * cell[0, 2] + sb * cell[1, 2] + sc * cell[2, 2] - positions[i, 2]
                    for j in range(first[here], first[here + 1]):
                        x, y, z = positions[j, 0] + ox, positions[j, 1] + oy, positions[j, 2] + oz
                        square = x * x + y * y + z * z
                        if square >= square_reach or (i == j and sa == 0 and sb == 0 and sc == 0):
                            continue
                        if square < nearest:
                            nearest, nearest_i, nearest_j = square, i, j
                        distance = math.sqrt(square)
                        screened = math.erfc(eta * distance) / distance
                        value += charges[j] * screened
                        factor = charges[j] * (screened + gaussian * math.exp(-eta * eta * square)) / square
                        fx, fy, fz = factor * x, factor * y, factor * z
                        gx, gy, gz = gx + fx, gy + fy, gz + fz
                        xx, yy, zz = xx + fx * x, yy + fy * y, zz + fz * z
                        yz, xz, xy = yz + fy * z, xz + fx * z, xy + fx * y
        potential[i] = value
        slope[i, 0], slope[i, 1], slope[i, 2] = gx, gy, gz
        half = charges[i] / 2
        virial[0, 0] -= half * xx
        virial[1, 1] -= half * yy
        virial[2, 2] -= half * zz
        virial[1, 2] -= half * yz
        virial[0, 2] -= half * xz
        virial[0, 1] -= half * xy
    for row in range(3):
        for column in range(row):
            virial[row, column] = virial[column, row]
    return nearest, nearest_i, nearest_j
