"""Quadrature over an energy grid that resolves the Fermi-Dirac occupation, and functions of the energy at its nodes."""

from __future__ import annotations

from functools import cache

import numpy as np

from fermisea.physics.fermi_dirac import occupation_derivatives, sigma
from fermisea.physics.free_electrons import SPLITS
from fermisea.utilities.arrays import FloatArray


class Nodes:
    """Nodes of a quadrature, and functions of (eps - mu)/(k_B tau_e) at the nodes.

    Each method returns the ``m``-th derivative in eps.
    """

    def __init__(
        self,
        energies: FloatArray,
        measure: FloatArray,
        fermi_level: float,
        electron_temperature: float,
        kt: float,
        highest: int,
    ) -> None:
        self._temperature = electron_temperature
        self._kt = kt
        self.energies, self.measure = energies, measure
        self._x = (self.energies - fermi_level) / kt
        self._f = occupation_derivatives(self._x, highest)

    def number(self, m: int) -> FloatArray:
        """Returns f."""
        return np.asarray(self._f[m] / self._kt**m)

    def energy(self, m: int) -> FloatArray:
        """Returns f eps."""
        return np.asarray(self.energies * self.number(m) + (m * self.number(m - 1) if m else 0.0))

    def entropy(self, m: int) -> FloatArray:
        """Returns sigma, whose derivative in x is x f'."""
        if m == 0:
            return sigma(self._x)
        return np.asarray((self._x * self._f[m] + (m - 1) * self._f[m - 1]) / self._kt**m)

    def level_slope(self, m: int) -> FloatArray:
        """Returns df/dmu."""
        return -self.number(m + 1)

    def thermal_slope(self, m: int) -> FloatArray:
        """Returns df/dtau_e = -x f'(x)/tau_e."""
        return np.asarray(-(self._x * self._f[m + 1] + m * self._f[m]) / (self._temperature * self._kt**m))

    def energy_slope(self, m: int) -> FloatArray:
        """Returns eps df/dtau_e."""
        return np.asarray(self.energies * self.thermal_slope(m) + (m * self.thermal_slope(m - 1) if m else 0.0))


def grid_quadrature(knots: FloatArray, mu: float, kt: float) -> tuple[FloatArray, FloatArray]:
    """Returns nodes and weights that resolve every interval between knots and every k_B tau_e around mu."""
    breaks = np.unique(np.concatenate([knots, mu - kt * SPLITS, mu + kt * SPLITS]))
    breaks = breaks[(breaks >= knots[0]) & (breaks <= min(knots[-1], mu + kt * SPLITS[-1]))]
    left, right = breaks[:-1], breaks[1:]
    # four nodes integrate a quintic times eps where f is 1; six nodes suffice in a small fraction of k_B tau_e
    filled = right <= mu - kt * SPLITS[-1]
    small = ~filled & (right - left < kt / 4)
    parts = []
    for pieces, count in ((filled, 4), (small, 6), (~filled & ~small, 12)):
        nodes, measure = _legendre(count)
        middle, half = (left[pieces] + right[pieces]) / 2, (right[pieces] - left[pieces]) / 2
        parts.append(((middle[:, None] + half[:, None] * nodes).ravel(), (half[:, None] * measure).ravel()))
    return np.concatenate([p for p, _ in parts]), np.concatenate([w for _, w in parts])


@cache
def _legendre(count: int) -> tuple[FloatArray, FloatArray]:
    """Returns Gauss-Legendre nodes and weights; cached, because they need the solution of an eigenvalue problem."""
    return np.polynomial.legendre.leggauss(count)
