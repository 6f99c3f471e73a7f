"""Observables of a density of states at any electronic temperature.

No result is cached between calls, so no result can be out of date when the temperature changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from scipy.optimize import brentq

from fermisea import units
from fermisea.errors import CapacityError, InputError
from fermisea.grid import EnergyGrid
from fermisea.physics.integration import (
    EnergyIntegral,
    Integration,
    IntegrationWeights,
    hat_integration,
    sharpened_integration,
)
from fermisea.physics.tail import ERROR_FACTOR, LEAST_ERROR, Tail
from fermisea.utilities.arrays import FloatArray

IntegrationName = Literal["sharpened", "mala"]


@dataclass(frozen=True, eq=False)
class DensityOfStates:
    """A density of states on an energy grid.

    Attributes:
        energies: equally spaced, ascending, (n,), eV.
        dos: both spins, (n,), 1/eV.
        broadening: standard deviation of the kernel contained in ``dos``, eV; 0 for a sharp one.
        integration: "sharpened" (exact for a spline, with the effect of the broadening removed) or "mala" (the rule of
            the MALA code: linear interpolation, to zero one spacing beyond both ends, with MALA's k_B).
        volume: volume of the cell, Angstrom^3; only a tail needs it.
        tail: free electrons above the energies; None for no states there.
    """

    energies: FloatArray
    dos: FloatArray
    broadening: float = 0.0
    integration: IntegrationName = "sharpened"
    volume: float | None = None
    tail: Tail | None = None

    def __post_init__(self) -> None:
        energies, dos = np.array(self.energies, dtype=float), np.array(self.dos, dtype=float)
        if energies.ndim != 1 or energies.shape != dos.shape:
            raise InputError(
                f"density of states: got energies {energies.shape} and values {dos.shape}, expected one value "
                "for each energy"
            )
        if energies.size < 6:
            raise InputError(f"density of states: got {energies.size} energies, expected at least 6")
        if not (np.isfinite(energies).all() and np.isfinite(dos).all()):
            raise InputError("density of states: got values that are not finite, expected finite energies and values")
        steps = np.diff(energies)
        if not (steps > 0).all() or np.ptp(steps) > 1e-6 * steps.mean():
            raise InputError("density of states: got unequal energy steps, expected equally spaced ascending energies")
        if not (np.isfinite(self.broadening) and self.broadening >= 0):
            raise InputError(f"broadening: got {self.broadening} eV, expected a standard deviation of at least 0")
        if self.integration not in ("sharpened", "mala"):
            raise InputError(f"integration: got {self.integration!r}, expected 'sharpened' or 'mala'")
        if self.tail is not None and (self.volume is None or self.integration == "mala"):
            raise InputError(
                f"density of states: got the volume {self.volume} and integration={self.integration!r}, expected "
                "the volume of the cell and 'sharpened' with a tail"
            )
        for name, values in (("energies", energies), ("dos", dos)):
            values.setflags(write=False)
            object.__setattr__(self, name, values)

    @cached_property
    def energy_grid(self) -> EnergyGrid:
        """The energies as a grid."""
        spacing = (self.energies[-1] - self.energies[0]) / (self.energies.size - 1)
        return EnergyGrid(float(self.energies[0]), float(spacing), self.energies.size)

    @cached_property
    def rule(self) -> Integration:
        """The integration rule of these energies; it does not depend on temperature or on the values."""
        if self.integration == "mala":
            return hat_integration(self.energy_grid)
        return sharpened_integration(self.energy_grid, self.broadening, tail=self.tail)

    def weights(self, fermi_level: float, electron_temperature: float) -> IntegrationWeights:
        """Returns the integration weights, which are also valid for an LDOS on the same energies.

        Args:
            fermi_level: mu, eV.
            electron_temperature: tau_e, K.
        """
        return self.rule.weights(fermi_level, electron_temperature)

    def integral(self, integral: EnergyIntegral) -> float:
        """Returns W . D + c V in the unit of the integrated function.

        Raises:
            InputError: for a contribution per volume where the volume is unknown.
        """
        value = float(integral.weights @ self.dos)
        if integral.per_volume == 0:
            return value
        if self.volume is None:
            raise InputError(
                "density of states: got no volume, expected the volume of the cell for energies above the grid"
            )
        return value + integral.per_volume * self.volume

    def electrons(self, fermi_level: float, electron_temperature: float) -> float:
        """Returns the number of electrons below a Fermi level (eV) at tau_e (K)."""
        return self.rule.counter(self.dos, self.volume)(fermi_level, electron_temperature)

    def band_energy(self, fermi_level: float, electron_temperature: float) -> float:
        """Returns E_b, the integral of f eps D, eV."""
        return self.integral(self.weights(fermi_level, electron_temperature).band_energy)

    def entropy(self, fermi_level: float, electron_temperature: float) -> float:
        """Returns S, eV/K, positive."""
        return self.integral(self.weights(fermi_level, electron_temperature).entropy)

    def tail_electrons(self, fermi_level: float, electron_temperature: float) -> float:
        """Returns the number of electrons above the energies at a Fermi level (eV) and tau_e (K); 0 without a tail."""
        return self.integral(self.rule.outside(fermi_level, electron_temperature))

    def tail_error(self, fermi_level: float, electron_temperature: float) -> float:
        """Returns the estimated error of the free energy from the states above the energies, eV; 0 without a tail.

        Args:
            fermi_level: mu, eV.
            electron_temperature: tau_e, K.
        """
        if self.tail is None or self.volume is None:
            return 0.0
        slope, whole = self.rule.outside_grand_potential(fermi_level, electron_temperature)
        difference = self.tail.disagreement(self.energy_grid, self.dos, self.volume)
        return max(ERROR_FACTOR * difference * slope, LEAST_ERROR * self.volume * whole)

    def fermi_level(self, electrons: float, electron_temperature: float) -> float:
        """Returns mu, eV, at which the density of states contains ``electrons`` electrons.

        Args:
            electrons: number of electrons.
            electron_temperature: tau_e, K.

        Raises:
            CapacityError: if the energy window cannot hold that many electrons.
        """
        if not (math.isfinite(electrons) and electrons > 0):
            raise InputError(f"electrons: got {electrons}, expected a finite number above 0")
        reach = 40 * units.thermal_energy(electron_temperature) + 8 * self.broadening
        low = self.energy_grid.start - reach
        high = self.energy_grid.stop + (reach if self.tail is None else 0.0)  # no Fermi level in the tail
        plain, sharp = (self.rule.counter(self.dos, self.volume, sharpened=s) for s in (False, True))

        def excess(mu: float) -> float:
            return sharp(mu, electron_temperature) - electrons

        # without sharpening, because a Fermi level at the edge of a tail is too close to it for a low temperature
        held = plain(high, electron_temperature)
        if held < electrons or plain(low, electron_temperature) > electrons:
            raise CapacityError(
                f"Fermi level: got {electrons} electrons, but the energy window [{self.energy_grid.start:.2f}, "
                f"{self.energy_grid.stop:.2f}] eV holds only {held:.3f}; widen the "
                "window, or check the electron number and units (1/eV) of the density of states",
                held,
            )
        # With sharpening, the number of electrons can decrease slightly with mu at an edge of the density of states. Of
        # several solutions, the one nearest to the Fermi level without sharpening is returned.
        start = _bisect(lambda mu: plain(mu, electron_temperature) - electrons, low, high, tolerance=1e-3)
        sign = math.copysign(1.0, excess(start))
        step, near, far = 0.01 + self.broadening / 8, start, start
        while sign * excess(far) > 0:
            near, far, step = far, min(max(far - sign * step, low), high), 2 * step
        return _bisect(excess, min(near, far), max(near, far), tolerance=1e-14)

    def heat_capacity(self, electrons: float, electron_temperature: float, fermi_level: float | None = None) -> float:
        """Returns C_e = dU/dtau_e at fixed electron number and density of states, eV/K.

        Args:
            electrons: number of electrons.
            electron_temperature: tau_e, K.
            fermi_level: mu for this number of electrons at tau_e, eV, if it is known.
        """
        mu = self.fermi_level(electrons, electron_temperature) if fermi_level is None else fermi_level
        slopes = self.rule.slopes(mu, electron_temperature)
        level, number, energy = map(self.integral, (slopes.level, slopes.temperature, slopes.band_energy))
        # U = int f eps D; dU/dT = int eps df/dT D + dmu/dT int eps df/dmu D, with int (eps - mu) df/dmu D = T dN/dT
        level_slope = -number / level if level != 0 else 0.0  # deep in a gap neither number nor level changes
        return float(energy + level_slope * (mu * level + electron_temperature * number))


def _bisect(function: Callable[[float], float], low: float, high: float, tolerance: float) -> float:
    """Returns a zero of a function between two arguments at which it has different signs (or is zero)."""
    at_low, at_high = function(low), function(high)
    if at_low * at_high > 0:  # rounding at the ends of a window that is just full
        return low if abs(at_low) < abs(at_high) else high
    return float(brentq(function, low, high, xtol=tolerance, rtol=1e-15, maxiter=300))
