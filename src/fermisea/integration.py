"""Exact integrals of a sampled density of states against occupation, energy and entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.interpolate import BSpline, make_interp_spline
from scipy.sparse.linalg import splu

from fermisea import units
from fermisea.fermi_dirac import entropy_density, occupation, occupation_derivatives, sigma
from fermisea.grid import EnergyGrid

FloatArray = npt.NDArray[np.float64]

_DEGREE = 5
_SPLITS = np.array([0.0, 1.0, 2.0, 4.0, 7.0, 11.0, 16.0, 22.0, 30.0, 40.0])
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(12)


@dataclass(frozen=True)
class IntegrationWeights:
    """Numbers W_i so that an observable is the sum of W_i D_i.

    Attributes:
        electrons: for the integral of f D, eV.
        band_energy: for the integral of f eps D, eV^2.
        entropy: for k_B times the integral of sigma D, eV^2/K.
    """

    electrons: FloatArray
    band_energy: FloatArray
    entropy: FloatArray


class Integration(Protocol):
    """A rule that turns sampled values into integrals against occupation, energy and entropy."""

    def weights(self, fermi_level: float, electron_temperature: float) -> IntegrationWeights:
        """Returns the weights of one Fermi level (eV) and electronic temperature (K)."""
        ...

    def electrons(self, fermi_level: float, electron_temperature: float) -> FloatArray:
        """Returns the weights of the electron number alone."""
        ...


class SharpenedIntegration:
    """Integrals of a spline through sampled values, with the broadening of the samples taken back.

    The values D_i are joined by a quintic spline, which is integrated exactly against each function w(eps). Values that
    are a convolution of the true D with a kernel of standard deviation s need w - (s^2/2) w'' + (s^4/8) w'''' - ... in
    its place (the inverse of a Gaussian convolution, Methfessel and Paxton, PRB 40, 3616, 1989).
    """

    def __init__(self, grid: EnergyGrid, broadening: float = 0.0, order: int = 2) -> None:
        """Prepares one energy grid.

        Args:
            grid: where D is sampled.
            broadening: standard deviation s of the kernel in D, eV; 0 for a sharp one.
            order: highest power of s^2 that is taken back.
        """
        self._order = order if broadening > 0 else 0
        self._variance = broadening**2
        # values = collocation @ coefficients, so weights of the values are the transposed solution of those of the splines
        self._knots: FloatArray = np.asarray(make_interp_spline(grid.energies, np.zeros(grid.size), k=_DEGREE).t)
        self._collocation = splu(BSpline.design_matrix(grid.energies, self._knots, _DEGREE).tocsc())

    def weights(self, fermi_level: float, electron_temperature: float) -> IntegrationWeights:
        """Returns the weights of one Fermi level (eV) and electronic temperature (K)."""
        n, e, s = self._weights(fermi_level, electron_temperature, slopes=False)
        return IntegrationWeights(n, e, units.BOLTZMANN * s)

    def electrons(self, fermi_level: float, electron_temperature: float) -> FloatArray:
        """Returns the weights of the electron number alone."""
        return self._weights(fermi_level, electron_temperature, slopes=False, only=1)[0]

    def slopes(self, fermi_level: float, electron_temperature: float) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Returns the weights of dN/dmu (1), dN/dtau_e (eV/K) and dU/dtau_e at fixed mu (eV^2/K)."""
        a, b, c = self._weights(fermi_level, electron_temperature, slopes=True)
        return a, b, c

    def _weights(self, mu: float, temperature: float, *, slopes: bool, only: int | None = None) -> list[FloatArray]:
        kt = units.thermal_energy(temperature)
        points, measure = _quadrature(np.unique(self._knots), mu, kt)
        x = (points - mu) / kt
        f = occupation_derivatives(x, 2 * self._order + (2 if slopes else 0))
        functions = (_slope_functions if slopes else _functions)(f, x, points, kt, self._order)
        basis = BSpline.design_matrix(points, self._knots, _DEGREE)
        results = []
        for derivatives in functions[:only]:
            test = np.zeros_like(points)
            factor = 1.0
            for k, derivative in enumerate(derivatives):
                test += factor * derivative
                factor *= -self._variance / (2 * (k + 1))
            results.append(np.asarray(self._collocation.solve(basis.T @ (measure * test), trans="T")))
        return results


class HatIntegration:
    """Integrals of straight lines between the values, falling to zero one spacing beyond both ends."""

    def __init__(self, grid: EnergyGrid) -> None:
        """Prepares one energy grid."""
        self._spacing = grid.spacing
        self._corners = EnergyGrid(grid.start - grid.spacing, grid.spacing, grid.size + 2).energies

    def electrons(self, fermi_level: float, electron_temperature: float) -> FloatArray:
        """Returns the weights of the electron number alone."""
        return self.weights(fermi_level, electron_temperature).electrons

    def weights(self, fermi_level: float, electron_temperature: float) -> IntegrationWeights:
        """Returns the weights of one Fermi level (eV) and electronic temperature (K)."""
        points, measure = _quadrature(self._corners, fermi_level, units.thermal_energy(electron_temperature))
        position = (points - self._corners[0]) / self._spacing
        left = np.clip(position.astype(int), 0, self._corners.size - 2)
        share = position - left
        f = occupation(points, fermi_level, electron_temperature)
        entropy = units.BOLTZMANN * entropy_density(points, fermi_level, electron_temperature)

        def project(values: FloatArray) -> FloatArray:
            total = np.bincount(left, measure * values * (1 - share), self._corners.size)
            total += np.bincount(left + 1, measure * values * share, self._corners.size)
            return np.asarray(total[1:-1])

        return IntegrationWeights(project(f), project(f * points), project(entropy))


def _quadrature(knots: FloatArray, mu: float, kt: float) -> tuple[FloatArray, FloatArray]:
    """Returns points and weights that resolve every piece between knots and every k_B tau_e around mu."""
    breaks = np.unique(np.concatenate([knots, mu - kt * _SPLITS, mu + kt * _SPLITS]))
    breaks = breaks[(breaks >= knots[0]) & (breaks <= knots[-1])]
    middle, half = (breaks[1:] + breaks[:-1]) / 2, np.diff(breaks) / 2
    points = (middle[:, None] + half[:, None] * _NODES).ravel()
    return points, (half[:, None] * _NODE_WEIGHTS).ravel()


def _functions(f: list[FloatArray], x: FloatArray, e: FloatArray, kt: float, order: int) -> list[list[FloatArray]]:
    """Returns [w, w'', w'''', ...] with derivatives in eps, for w = f, f eps, sigma."""
    number = [f[2 * k] / kt ** (2 * k) for k in range(order + 1)]
    energy = [e * f[0]] + [
        e * f[2 * k] / kt ** (2 * k) + 2 * k * f[2 * k - 1] / kt ** (2 * k - 1) for k in range(1, order + 1)
    ]
    # d sigma/dx = x f', so the m-th derivative is x f^(m) + (m-1) f^(m-1)
    entropy = [sigma(x)] + [(x * f[2 * k] + (2 * k - 1) * f[2 * k - 1]) / kt ** (2 * k) for k in range(1, order + 1)]
    return [number, energy, entropy]


def _slope_functions(
    f: list[FloatArray], x: FloatArray, e: FloatArray, kt: float, order: int
) -> list[list[FloatArray]]:
    """Returns [w, w'', ...] for w = df/dmu, df/dtau_e and eps df/dtau_e."""
    temperature = kt / units.BOLTZMANN
    level = [-f[2 * k + 1] / kt ** (2 * k + 1) for k in range(order + 1)]

    def thermal(m: int) -> FloatArray:  # m-th derivative in eps of df/dtau_e = -x f'/tau_e
        lower = m * f[m] if m else 0.0
        return -(x * f[m + 1] + lower) / (temperature * kt**m)

    number = [thermal(2 * k) for k in range(order + 1)]
    energy = [e * thermal(2 * k) + (2 * k * thermal(2 * k - 1) if k else 0.0) for k in range(order + 1)]
    return [level, number, energy]
