"""Real hyperspherical harmonics on the three-sphere and the surroundings of a point expanded in them.

D. A. Varshalovich, A. N. Moskalev, V. K. Khersonskii, Quantum Theory of Angular Momentum (1988), section 4.15;
A. P. Bartok, R. Kondor, G. Csanyi, Phys. Rev. B 87, 184115 (2013).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from fermisea.descriptors import kernels
from fermisea.descriptors.neighbors import Neighbors

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class HarmonicTables:
    """Recursion coefficients of the orthonormal harmonics up to a degree; constants, never written to.

    Attributes:
        order: highest degree n.
        start: g_ll, (order + 1,).
        gain: factor of w g_(n-1)l in g_nl, (order + 1, order + 1).
        loss: factor of -g_(n-2)l in g_nl, likewise.
        diagonal: R_mm without its azimuthal factor, (order + 1,).
        up: factor of z R_(l-1)m in R_lm, (order + 1, order + 1).
        down: factor of -|v|^2 R_(l-2)m in R_lm, likewise.
    """

    order: int
    start: FloatArray
    gain: FloatArray
    loss: FloatArray
    diagonal: FloatArray
    up: FloatArray
    down: FloatArray

    @property
    def size(self) -> int:
        """Number of harmonics."""
        return degree_offset(self.order + 1)


def degree_offset(degree: int) -> int:
    """Returns the number of harmonics of all degrees below ``degree``: the place where its own begin."""
    return degree * (degree + 1) * (2 * degree + 1) // 6


@lru_cache(maxsize=32)
def harmonic_tables(order: int) -> HarmonicTables:
    """Returns the recursion coefficients up to degree ``order``.

    g_nl is the Gegenbauer polynomial C^(l+1)_(n-l), normalised for the weight sin^(2l+2); R_lm the real solid harmonic,
    normalised on the unit sphere. Together they are orthonormal on the three-sphere.
    """
    size = order + 1
    start, diagonal = np.zeros(size), np.zeros(size)
    gain, loss, up, down = (np.zeros((size, size)) for _ in range(4))
    for l in range(size):  # noqa: E741
        # 2^l l! sqrt(2 (l + 1) / (pi (2 l + 1)!)) = sqrt(2/pi) prod_k sqrt((2 k + 2) / (2 k + 1)), k = 1 .. l
        start[l] = math.sqrt(2 / math.pi * math.prod((2 * k + 2) / (2 * k + 1) for k in range(1, l + 1)))
        # (-1)^m dropped: sqrt((2 - delta_m0) (2 m + 1)!! / (4 pi (2 m)!!))
        double = math.prod((2 * k + 1) / (2 * k) for k in range(1, l + 1))
        diagonal[l] = math.sqrt((1 if l == 0 else 2) * double / (4 * math.pi))
        for n in range(l + 1, size):
            gain[n, l] = 2 * math.sqrt(n * (n + 1) / ((n - l) * (n + l + 1)))
            if n > l + 1:
                loss[n, l] = gain[n, l] / gain[n - 1, l]
        for m in range(l):
            up[l, m] = math.sqrt((4 * l * l - 1) / (l * l - m * m))
            if l > m + 1:
                down[l, m] = up[l, m] * math.sqrt(((l - 1) ** 2 - m * m) / (4 * (l - 1) ** 2 - 1))
    tables = HarmonicTables(order, start, gain, loss, diagonal, up, down)
    for array in _arrays(tables):
        array.setflags(write=False)
    return tables


def hyperspherical_harmonics(quaternions: npt.ArrayLike, order: int) -> FloatArray:
    """Returns all real hyperspherical harmonics of unit quaternions (w, x, y, z).

    Args:
        quaternions: (..., 4), each of norm 1.
        order: highest degree.

    Returns:
        (..., (order + 1) (order + 2) (2 order + 3) / 6); Y_nlm at ``degree_offset(n) + l * l + l + m``.
    """
    values = np.asarray(quaternions, dtype=np.float64)
    tables = harmonic_tables(order)
    out = np.zeros((values.size // 4, tables.size))
    solid = np.zeros((order + 1) ** 2)
    for row, (w, x, y, z) in zip(out, values.reshape(-1, 4), strict=True):
        kernels.add_harmonics(1.0, w, x, y, z, order, *_arrays(tables), solid, row)
    return out.reshape(*values.shape[:-1], tables.size)


@dataclass(frozen=True)
class Expansion:
    """How a neighbour at distance r enters: weight f_c(r) times the harmonics of (cos theta_0, sin theta_0 r/|r|).

    theta_0 = rfac0 pi x and f_c = (cos pi x + 1) / 2 with x = (r - rmin0) / (cutoff - rmin0)
    (A. P. Thompson et al., J. Comput. Phys. 285, 316 (2015)).

    An atom at the point itself counts with theta_0 = 0. Closer than rmin0, where theta_0 < 0, f_c = 1 and the
    quaternion is (r cot theta_0, r) / |r / sin theta_0|, as LAMMPS has it: it jumps to the opposite pole at rmin0 and
    has no limit at r = 0, where the atom is left out. Keep rmin0 = 0 unless a reference asks for another value.

    Attributes:
        order: highest degree.
        cutoff: Angstrom.
        rfac0: theta_0 / pi at the cutoff.
        rmin0: Angstrom.
    """

    order: int
    cutoff: float
    rfac0: float
    rmin0: float

    def coefficients(self, neighbors: Neighbors, fractions: FloatArray, centre: float = 0.0) -> FloatArray:
        """Returns A_nlm at points: the sum over their neighbours, (points, harmonics).

        Args:
            neighbors: atoms with weights, within reach of this cutoff.
            fractions: fractional coordinates of the points, (points, 3), any values.
            centre: weight of an additional neighbour at the point itself.
        """
        tables = harmonic_tables(self.order)
        out = np.zeros((len(fractions), tables.size))
        if centre:
            out += centre * self._at_centre()
        kernels.expand(
            fractions - np.floor(fractions),
            *neighbors.arrays(),
            self.cutoff,
            self.rfac0,
            self.rmin0,
            self.order,
            *_arrays(tables),
            out,
        )
        return out

    def _at_centre(self) -> FloatArray:
        return hyperspherical_harmonics([1.0, 0.0, 0.0, 0.0], self.order)


def _arrays(tables: HarmonicTables) -> tuple[FloatArray, ...]:
    return tables.start, tables.gain, tables.loss, tables.diagonal, tables.up, tables.down
