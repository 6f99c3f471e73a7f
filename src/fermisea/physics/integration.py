"""Exact integrals of a sampled density of states times occupation, energy and entropy density."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.interpolate import BSpline, make_interp_spline
from scipy.sparse.linalg import SuperLU, splu

from fermisea import units
from fermisea.errors import InputError
from fermisea.grid import EnergyGrid
from fermisea.physics.free_electrons import STATES, quadrature
from fermisea.physics.nodes import Nodes, grid_quadrature
from fermisea.physics.tail import Tail
from fermisea.utilities.arrays import FloatArray

_Function = Callable[[Nodes, int], FloatArray]

_PADDING = 16
"""Number of zeros added below a broadened density of states; the influence of a value decays by 0.43 at each."""

_SHARPEST, _HOTTEST = 4e-4, 1e12 * units.BOLTZMANN
"""Smallest k_B tau_e relative to a broadening, the removal of which has too few digits below; largest one, eV."""


@dataclass(frozen=True)
class EnergyIntegral:
    """The integral over energies of a density of states times a fixed function, W . D + c V.

    The same numbers act on a local density of states, W . d(r) + c.

    Attributes:
        weights: W, (energies,), eV times the unit of the function.
        per_volume: c, the contribution of each Angstrom^3 of the cell from energies outside the grid.
    """

    weights: FloatArray
    per_volume: float = 0.0

    __array_ufunc__ = None  # a numpy number times an integral is left to __rmul__

    def __add__(self, other: EnergyIntegral) -> EnergyIntegral:
        return EnergyIntegral(self.weights + other.weights, self.per_volume + other.per_volume)

    def __sub__(self, other: EnergyIntegral) -> EnergyIntegral:
        return EnergyIntegral(self.weights - other.weights, self.per_volume - other.per_volume)

    def __rmul__(self, factor: float) -> EnergyIntegral:
        return EnergyIntegral(factor * self.weights, factor * self.per_volume)


@dataclass(frozen=True)
class IntegrationWeights:
    """The integrals that give the observables of one Fermi level and electronic temperature.

    Attributes:
        electrons: integral of f D, weights in eV.
        band_energy: integral of f eps D, weights in eV^2.
        entropy: k_B times the integral of sigma D, weights in eV^2/K.
    """

    electrons: EnergyIntegral
    band_energy: EnergyIntegral
    entropy: EnergyIntegral


@dataclass(frozen=True)
class WeightSlopes:
    """Derivatives of the integrals, for the heat capacity.

    Attributes:
        level: derivative of the electron number with respect to mu, weights dimensionless.
        temperature: derivative of the electron number with respect to tau_e, weights in eV/K.
        band_energy: derivative of the band energy with respect to tau_e at fixed mu, weights in eV^2/K.
    """

    level: EnergyIntegral
    temperature: EnergyIntegral
    band_energy: EnergyIntegral


@dataclass(frozen=True, eq=False)
class Integration:
    """Integrals of the spline through sampled values, for any Fermi level and temperature.

    Attributes:
        grid: energies of the values.
        degree: degree of the spline, odd.
        below: number of zeros added below the grid.
        above: number of zeros added above the grid.
        variance: variance of the kernel in the values, whose effect is removed, eV^2.
        order: highest power of the variance in the correction.
        boltzmann: k_B, eV/K.
        tail: free electrons above the grid; None for no states there.
    """

    grid: EnergyGrid
    degree: int
    below: int = 0
    above: int = 0
    variance: float = 0.0
    order: int = 0
    boltzmann: float = units.BOLTZMANN
    tail: Tail | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Returns the state for pickle and copy, without factors that can only be computed again."""
        return {name: value for name, value in vars(self).items() if name != "_transposed"}

    @cached_property
    def _energies(self) -> FloatArray:
        size = self.below + self.grid.size + self.above
        return EnergyGrid(self.grid.start - self.below * self.grid.spacing, self.grid.spacing, size).energies

    @cached_property
    def _knots(self) -> FloatArray:
        return np.asarray(make_interp_spline(self._energies, np.zeros(self._energies.size), k=self.degree).t)

    @cached_property
    def _transposed(self) -> SuperLU:
        # values = collocation @ coefficients; the weights of values solve the transposed equation with the weights of
        # splines
        return splu(BSpline.design_matrix(self._energies, self._knots, self.degree).T.tocsc())

    def weights(self, fermi_level: float, electron_temperature: float) -> IntegrationWeights:
        """Returns the weights of one Fermi level (eV) and electronic temperature (K)."""
        number, energy, entropy = self._integrals(
            fermi_level, electron_temperature, 2 * self.order, (Nodes.number, Nodes.energy, Nodes.entropy)
        )
        return IntegrationWeights(number, energy, self.boltzmann * entropy)

    def slopes(self, fermi_level: float, electron_temperature: float) -> WeightSlopes:
        """Returns the derivatives of the weights at one Fermi level (eV) and electronic temperature (K)."""
        functions = (Nodes.level_slope, Nodes.thermal_slope, Nodes.energy_slope)
        return WeightSlopes(*self._integrals(fermi_level, electron_temperature, 2 * self.order + 2, functions))

    def counter(
        self, values: FloatArray, volume: float | None = None, *, sharpened: bool = True
    ) -> Callable[[float, float], float]:
        """Returns the electron number as a function of Fermi level (eV) and electronic temperature (K).

        Args:
            values: density of states on the grid, 1/eV.
            volume: volume of the cell, Angstrom^3; only a tail needs it.
            sharpened: whether the effect of the broadening is removed; if not, the number increases monotonically with
                mu for a positive density of states.
        """
        order = self.order if sharpened else 0
        spline = self._spline(values)

        def count(fermi_level: float, electron_temperature: float) -> float:
            nodes = self._nodes(fermi_level, electron_temperature, 2 * order)
            number = float((nodes.measure * self._sharpen(nodes, Nodes.number, order)) @ spline(nodes.energies))
            if self.tail is None or volume is None:
                return number
            outside = self._nodes_outside(self.tail, fermi_level, electron_temperature, 2 * order)
            (above,) = self._above(self.tail, outside, [Nodes.number], order)
            return number + float(above.weights @ values) + above.per_volume * volume

        return count

    def squared(
        self, values: FloatArray, fermi_level: float, electron_temperature: float, volume: float | None = None
    ) -> float:
        """Returns the integral of D^2 (-df/deps), 1/eV^2, without the effect of the broadening on D.

        The integral is not linear in D, so the weights of the other integrals do not apply. The broadening is removed
        from the spline, D - (s^2/2) D'' + (s^4/8) D'''' - ..., which for integrals linear in D is the same as removing
        it from the weights. A width k_B tau_e much smaller than the spacing of the energies is resolved.

        Args:
            values: density of states on the grid, 1/eV.
            fermi_level: mu, eV.
            electron_temperature: tau_e, K.
            volume: volume of the cell, Angstrom^3; only a tail needs it.
        """
        spline, factor = self._spline(values), 1.0
        nodes = self._nodes(fermi_level, electron_temperature, 1)
        states = np.asarray(spline(nodes.energies))
        for k in range(1, self.order + 1):
            factor *= -self.variance / (2 * k)
            states = states + factor * spline(nodes.energies, 2 * k)
        total = float((nodes.measure * nodes.level_slope(0)) @ states**2)
        if self.tail is None or volume is None:
            return total
        outside = self._nodes_outside(self.tail, fermi_level, electron_temperature, 1)
        kinetic = outside.energies - self.tail.bottom
        start = float(self.tail.average(self.grid) @ values) + self.tail.offset(self.grid) * volume
        above = (start + STATES * volume * kinetic) ** 2 / kinetic
        return total + float((outside.measure * outside.level_slope(0)) @ above)

    def _spline(self, values: FloatArray) -> BSpline:
        """Returns the spline through values on the grid."""
        return make_interp_spline(self._energies, np.pad(values, (self.below, self.above)), k=self.degree)

    def _integrals(
        self, fermi_level: float, electron_temperature: float, highest: int, functions: Sequence[_Function]
    ) -> list[EnergyIntegral]:
        """Returns the integrals of functions of the energy, with derivatives up to order ``highest`` available."""
        found = self._project(self._nodes(fermi_level, electron_temperature, highest), functions)
        if self.tail is None:
            return found
        outside = self._nodes_outside(self.tail, fermi_level, electron_temperature, highest)
        above = self._above(self.tail, outside, functions, self.order)
        return [inner + outer for inner, outer in zip(found, above, strict=True)]

    def _nodes(self, fermi_level: float, electron_temperature: float, highest: int) -> Nodes:
        """Returns the nodes of the grid."""
        kt = self._thermal_energy(electron_temperature)
        points = grid_quadrature(np.unique(self._knots), fermi_level, kt)
        return Nodes(*points, fermi_level, electron_temperature, kt, highest)

    def _nodes_outside(self, tail: Tail, fermi_level: float, electron_temperature: float, highest: int) -> Nodes:
        """Returns the nodes above the grid."""
        kt = self._thermal_energy(electron_temperature)
        points = quadrature(self.grid.stop, tail.bottom, fermi_level, kt)
        return Nodes(*points, fermi_level, electron_temperature, kt, highest)

    def _thermal_energy(self, electron_temperature: float) -> float:
        kt, width = units.thermal_energy(electron_temperature), math.sqrt(self.variance) if self.order else 0.0
        if not _SHARPEST * width <= kt <= _HOTTEST:
            low, high = (f"{limit / units.BOLTZMANN:.2g} K" for limit in (_SHARPEST * width, _HOTTEST))
            raise InputError(
                f"electron temperature: got {electron_temperature:g} K, expected {low} to {high} with a broadening of "
                f"{width:g} eV; give another tau_e, in kelvin"
            )
        return self.boltzmann * electron_temperature

    def _project(self, nodes: Nodes, functions: Sequence[_Function]) -> list[EnergyIntegral]:
        """Returns the integrals over the grid of functions times the spline."""
        basis = BSpline.design_matrix(nodes.energies, self._knots, self.degree).T
        tests = np.stack([nodes.measure * self._sharpen(nodes, w, self.order) for w in functions], axis=-1)
        weights = self._transposed.solve(np.asarray(basis @ tests))
        return [EnergyIntegral(row) for row in weights[self.below : self.below + self.grid.size].T.copy()]

    def _above(self, tail: Tail, nodes: Nodes, functions: Sequence[_Function], order: int) -> list[EnergyIntegral]:
        """Returns the integrals above the grid of functions times the tail."""
        root = np.sqrt(nodes.energies - tail.bottom)
        average, offset = tail.average(self.grid), tail.offset(self.grid)
        found = []
        for function in functions:
            values = nodes.measure * self._sharpen(nodes, function, order)
            inverse, direct = float(np.sum(values / root)), float(np.sum(values * root))
            found.append(EnergyIntegral(inverse * average, inverse * offset + direct * STATES))
        return found

    def outside(self, fermi_level: float, electron_temperature: float) -> EnergyIntegral:
        """Returns the number of electrons above the grid at one Fermi level (eV) and electronic temperature (K)."""
        if self.tail is None:
            return EnergyIntegral(np.zeros(self.grid.size))
        outside = self._nodes_outside(self.tail, fermi_level, electron_temperature, 2 * self.order)
        return self._above(self.tail, outside, [Nodes.number], self.order)[0]

    def outside_grand_potential(self, fermi_level: float, electron_temperature: float) -> tuple[float, float]:
        """Returns minus the grand potential of two densities of states above the grid.

        The first is 1/sqrt(eps - U0), with the result in eV^(3/2). The second is the one of free electrons per volume,
        with the result in eV/Angstrom^3.

        Args:
            fermi_level: mu, eV.
            electron_temperature: tau_e, K.
        """
        if self.tail is None:
            return 0.0, 0.0
        kt = self._thermal_energy(electron_temperature)
        energies, measure = quadrature(self.grid.stop, self.tail.bottom, fermi_level, kt)
        root = np.sqrt(energies - self.tail.bottom)
        lost = measure * kt * np.logaddexp(0.0, (fermi_level - energies) / kt)
        return float(np.sum(lost / root)), STATES * float(np.sum(lost * root))

    def _sharpen(self, nodes: Nodes, function: _Function, order: int) -> FloatArray:
        """Returns w - (s^2/2) w'' + (s^4/8) w'''' - ... at nodes, for a function w with its derivatives."""
        total, factor = function(nodes, 0), 1.0
        for k in range(1, order + 1):
            factor *= -self.variance / (2 * k)
            total = total + factor * function(nodes, 2 * k)
        return total


def sharpened_integration(
    grid: EnergyGrid, broadening: float = 0.0, order: int = 2, tail: Tail | None = None
) -> Integration:
    """Returns the integration rule of a quintic spline that removes the effect of the broadening of the samples.

    Values that are a convolution of the true D with a kernel of standard deviation s need w - (s^2/2) w'' +
    (s^4/8) w'''' - ... in place of w: the inverse of a Gaussian convolution, as in Methfessel and Paxton, PRB 40, 3616
    (1989). The correction holds to first order in s^2 for any symmetric kernel, and to all orders for a Gaussian.

    A broadened D vanishes at the bottom of its grid and is continued by zeros, which makes the weights there equal;
    one-sided weights would cause errors of 0.1 to 1 meV per atom. A sharp D may begin anywhere and is integrated over
    the grid only.

    Second order is the default. For nearly free electrons (8 x 8 x 8 k-points, 4 atoms), the error of the band free
    energy is 0.13, 0.04, 0.002 and 0.001 meV per atom at 298 K and 933 K with s = h = 0.2 eV, at 10 kK with 0.5 eV and
    at 30 kK with 1 eV. In first order it is 0.09, 0.14, 0.002 and 0.12. Third order is no better and amplifies noise
    more (the norm of the weights grows by 1, 3 and 8 % at 298 K in first, second and third order).

    Args:
        grid: energies at which D is sampled.
        broadening: standard deviation s of the kernel in D, eV; 0 for a sharp one.
        order: highest power of s^2 in the correction.
        tail: free electrons above the grid; None for no states there. The tail continues the broadened D, so that the
            correction sees no edge.
    """
    if broadening > 0:
        return Integration(grid, degree=5, below=_PADDING, variance=broadening**2, order=order, tail=tail)
    return Integration(grid, degree=5, tail=tail)


def hat_integration(grid: EnergyGrid) -> Integration:
    """Returns the integration rule of the MALA code: linear interpolation, to zero one spacing beyond both ends.

    The rule uses MALA's Boltzmann constant, so that results agree with MALA in all digits.
    """
    return Integration(grid, degree=1, below=1, above=1, boltzmann=units.MALA_BOLTZMANN)
