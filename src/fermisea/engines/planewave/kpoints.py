"""Monkhorst-Pack meshes reduced by time reversal only, as required for an LDOS on the whole grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fermisea.errors import InputError

_MOST = 10**6
"""Largest number of k-points of a mesh, before k and -k are merged."""


@dataclass(frozen=True)
class KPoints:
    """k-points of the Brillouin zone.

    Attributes:
        fractions: (n, 3), in units of the reciprocal lattice vectors.
        weights: (n,), summing to one.
    """

    fractions: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]


def monkhorst_pack(size: tuple[int, int, int], shift: tuple[int, int, int] = (0, 0, 0)) -> KPoints:
    """Returns the mesh k = (i + shift/2) / size, with k and -k merged.

    Args:
        size: number of points along each reciprocal vector.
        shift: 0 (through Gamma) or 1 (half a step) along each vector, as in Quantum ESPRESSO's ``K_POINTS automatic``.

    Raises:
        InputError: for sizes below one, more than a million points, or shifts other than 0 and 1.
    """
    if len(size) != 3 or min(size) < 1:
        raise InputError(f"kpts: got {size}, expected three positive integers such as (4, 4, 4)")
    if (number := math.prod(map(int, size))) > _MOST:
        raise InputError(f"kpts: got {size}, {number:.1e} k-points, expected at most {_MOST:,}; choose a coarser mesh")
    if len(shift) != 3 or any(s not in (0, 1) for s in shift):
        raise InputError(f"k-point shift: got {shift}, expected 0 or 1 along each axis, e.g. (1, 1, 1) for half a step")
    count: dict[tuple[int, ...], int] = {}
    for index in np.ndindex(*size):
        # twice the mesh coordinate is an integer modulo 2 n, which allows an exact comparison of k and -k
        doubled = tuple(2 * i + s for i, s in zip(index, shift, strict=True))
        partner = tuple(-d % (2 * n) for d, n in zip(doubled, size, strict=True))
        key = min(doubled, partner)
        count[key] = count.get(key, 0) + 1
    fractions = np.array(list(count), dtype=float) / (2.0 * np.array(size))
    fractions -= np.floor(fractions + 0.5 - 1e-12)
    weights = np.array(list(count.values()), dtype=float)
    return KPoints(fractions, weights / weights.sum())
