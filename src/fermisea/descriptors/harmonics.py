"""Real hyperspherical harmonics on the three-sphere, and the map of neighbours to the sphere.

D. A. Varshalovich, A. N. Moskalev, V. K. Khersonskii, Quantum Theory of Angular Momentum (1988), section 4.15;
A. P. Bartok, R. Kondor, G. Csanyi, Phys. Rev. B 87, 184115 (2013).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from fermisea.utilities.arrays import FloatArray


@dataclass(frozen=True)
class HarmonicTables:
    """Recursion coefficients of the harmonics up to a degree; read-only constants.

    Attributes:
        order: highest degree n.
        loss: factor of -g_(n-2)l in g_nl = w g_(n-1)l - ..., (order + 1, order + 1).
        down: factor of -|v|^2 R_(l-2)m in R_lm = z R_(l-1)m - ..., (order + 1, order + 1).
        norm: normalisation of g_nl R_lm, (harmonics,).
        leads: with S_lm = R_lm + i R_l-m, (d_x + i d_y) S_lm / S_(l-1)(m+1), (d_x - i d_y) S_lm / S_(l-1)(m-1) and
            d_z S_lm / S_(l-1)m at [:, l, m], (3, order + 1, order + 1).
    """

    order: int
    loss: FloatArray
    down: FloatArray
    norm: FloatArray
    leads: FloatArray

    @property
    def size(self) -> int:
        """Number of harmonics."""
        return degree_offset(self.order + 1)


def degree_offset(degree: int) -> int:
    """Returns the number of harmonics of all degrees below ``degree``, the index of its first harmonic."""
    return degree * (degree + 1) * (2 * degree + 1) // 6


@lru_cache(maxsize=32)
def harmonic_tables(order: int) -> HarmonicTables:
    """Returns the recursion coefficients up to degree ``order``.

    g_nl is proportional to the Gegenbauer polynomial C^(l+1)_(n-l), normalised with the weight sin^(2l+2), and R_lm to
    the real solid harmonic, normalised on the unit sphere; their product is orthonormal. Here both have 1 as the
    coefficient of the highest power in the recursion.
    """
    size = order + 1
    loss, down, radial, solid = (np.zeros((size, size)) for _ in range(4))
    for l in range(size):  # noqa: E741
        # 2^l l! sqrt(2 (l + 1) / (pi (2 l + 1)!)) = sqrt(2/pi) prod_k sqrt((2 k + 2) / (2 k + 1)), k = 1 .. l
        radial[l, l] = math.sqrt(2 / math.pi * math.prod((2 * k + 2) / (2 * k + 1) for k in range(1, l + 1)))
        for n in range(l + 1, size):
            radial[n, l] = radial[n - 1, l] * 2 * math.sqrt(n * (n + 1) / ((n - l) * (n + l + 1)))
            if n > l + 1:
                loss[n, l] = (radial[n - 2, l] / radial[n - 1, l]) ** 2
    for m in range(size):
        # (-1)^m dropped: sqrt((2 - delta_m0) (2 m + 1)!! / (4 pi (2 m)!!))
        double = math.prod((2 * k + 1) / (2 * k) for k in range(1, m + 1))
        solid[m, m] = math.sqrt((1 if m == 0 else 2) * double / (4 * math.pi))
        for l in range(m + 1, size):  # noqa: E741
            solid[l, m] = solid[l - 1, m] * math.sqrt((4 * l * l - 1) / (l * l - m * m))
            if l > m + 1:
                down[l, m] = (solid[l - 2, m] / solid[l - 1, m]) ** 2
    triples = [(n, k, abs(m)) for n in range(size) for k in range(n + 1) for m in range(-k, k + 1)]
    norm = [radial[n, k] * solid[k, m] for n, k, m in triples]
    tables = HarmonicTables(order, loss, down, np.array(norm), _gradients(size))
    for array in (tables.loss, tables.down, tables.norm, tables.leads):
        array.setflags(write=False)
    return tables


def _gradients(size: int) -> FloatArray:
    """Returns ``HarmonicTables.leads`` from the derivatives of |v|^l P_lm exp(i m phi), which have closed forms."""
    highest = np.zeros((size, size))  # coefficient of the highest power in P_lm, without (-1)^m
    out = np.zeros((3, size, size))
    for m in range(size):
        highest[m, m] = math.prod(range(2 * m - 1, 0, -2))
        for l in range(m, size - 1):  # noqa: E741
            highest[l + 1, m] = highest[l, m] * (2 * l + 1) / (l - m + 1)
    for l in range(1, size):  # noqa: E741
        for m in range(l + 1):
            if m + 1 < l:
                out[0, l, m] = -highest[l - 1, m + 1] / highest[l, m]
            if m > 0:
                out[1, l, m] = (l + m) * (l + m - 1) * highest[l - 1, m - 1] / highest[l, m]
            out[2, l, m] = (l + m) * (l - m) / (2 * l - 1)
    return out


def hyperspherical_harmonics(quaternions: npt.ArrayLike, order: int) -> FloatArray:
    """Returns all real hyperspherical harmonics of unit quaternions (w, x, y, z).

    Args:
        quaternions: (..., 4), each of norm 1.
        order: highest degree.

    Returns:
        (..., (order + 1) (order + 2) (2 order + 3) / 6); Y_nlm at ``degree_offset(n) + l * l + l + m``.
    """
    w, x, y, z = np.moveaxis(np.asarray(quaternions, dtype=np.float64), -1, 0)
    tables = harmonic_tables(order)
    square = x * x + y * y + z * z
    solid = np.zeros(((order + 1) ** 2, *w.shape))
    power = np.ones_like(w) + 0j
    for m in range(order + 1):
        last, value = np.zeros_like(w), np.ones_like(w)
        for l in range(m, order + 1):  # noqa: E741
            if l > m:
                last, value = value, z * value - tables.down[l, m] * square * last
            solid[l * l + l - m] = value * power.imag
            solid[l * l + l + m] = value * power.real
        power = power * (x + 1j * y)
    out = np.empty((*w.shape, tables.size))
    for l in range(order + 1):  # noqa: E741
        last, value = np.zeros_like(w), np.ones_like(w)
        for n in range(l, order + 1):
            if n > l:
                last, value = value, w * value - tables.loss[n, l] * last
            places = slice(degree_offset(n) + l * l, degree_offset(n) + (l + 1) ** 2)
            out[..., places] = np.moveaxis(value * solid[l * l : (l + 1) ** 2], 0, -1) * tables.norm[places]
    return out


@dataclass(frozen=True)
class Expansion:
    """Contribution of a neighbour at distance r: f_c(r) times the harmonics of (cos theta_0, sin theta_0 r/|r|).

    theta_0 = rfac0 pi x and f_c = ((cos pi x + 1) / 2)^smoothness with x = (r - rmin0) / (cutoff - rmin0)
    (A. P. Thompson et al., J. Comput. Phys. 285, 316 (2015)).

    An atom at the point itself has theta_0 = 0. For r < rmin0, where theta_0 < 0, f_c = 1 and the quaternion is
    (r cot theta_0, r) / |r / sin theta_0|, as in LAMMPS: it jumps to the opposite pole at rmin0 and has no limit at
    r = 0, where the atom is excluded. Keep rmin0 = 0 unless a reference calculation uses another value.

    Attributes:
        order: highest degree.
        cutoff: distance beyond which atoms do not contribute, Angstrom.
        rfac0: theta_0 / pi at the cutoff.
        rmin0: distance at which theta_0 = 0, at most half the cutoff, Angstrom.
        centre: weight of an additional neighbour at the point itself.
        smoothness: power of f_c; its derivatives are continuous at the cutoff up to order 2 smoothness - 1.
    """

    order: int
    cutoff: float
    rfac0: float
    rmin0: float
    centre: float
    smoothness: int = 1

    def arrays(self, dtype: str) -> tuple[float | npt.NDArray[np.floating], ...]:
        """Returns the arguments of the compiled loops: cutoff, rmin0, polynomials, loss, down, norm."""
        tables = harmonic_tables(self.order)
        arrays = (radial_polynomials(self.rfac0, self.smoothness, dtype), tables.loss, tables.down, tables.norm)
        return (self.cutoff, self.rmin0, *(np.array(array, dtype=dtype) for array in arrays))

    def at_centre(self) -> FloatArray:
        """Returns the contribution of the neighbour at the point itself, (harmonics,)."""
        return self.centre * _at_identity(self.order)


@lru_cache(maxsize=32)
def _at_identity(order: int) -> FloatArray:
    """Returns the harmonics of the quaternion without rotation, (harmonics,)."""
    return hyperspherical_harmonics([1.0, 0.0, 0.0, 0.0], order)


@lru_cache(maxsize=32)
def radial_polynomials(rfac0: float, smoothness: int, dtype: str) -> FloatArray:
    """Returns cos theta_0, sin theta_0 / x and f_c in powers of x^2, exact to rounding for 0 <= x <= 1: (powers, 3).

    cos^2n(y) is a sum of cos(2 j y), j = 0 .. n, with binomial coefficients.
    """
    powers = range((10 if np.dtype(dtype) == np.float32 else 16) + 7 * (smoothness - 1))
    angle, n = rfac0 * math.pi, smoothness
    shares = [math.comb(2 * n, n) / 4**n, *(2 * math.comb(2 * n, n - j) / 4**n for j in range(1, n + 1))]
    return np.array(
        [
            (
                (-(angle**2)) ** k / math.factorial(2 * k),
                angle * (-(angle**2)) ** k / math.factorial(2 * k + 1),
                math.fsum(share * (-((j * math.pi) ** 2)) ** k for j, share in enumerate(shares))
                / math.factorial(2 * k),
            )
            for k in powers
        ]
    )
