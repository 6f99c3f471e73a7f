"""What follows from a density of states at any electronic temperature.

Nothing is remembered between calls, so nothing can be stale when the temperature changes.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from fermisea import units
from fermisea.errors import InputError, WindowError
from fermisea.grid import EnergyGrid
from fermisea.integration import HatIntegration, Integration, IntegrationWeights, SharpenedIntegration

FloatArray = npt.NDArray[np.float64]

TRUNCATION = 1e-3
"""Free energy, eV per atom, that a window may cut off (physics of the highest electronic temperature)."""


@dataclass(frozen=True, eq=False)
class DensityOfStates:
    """A density of states on an energy grid.

    Attributes:
        energies: equally spaced, ascending, (n,), eV.
        dos: both spins, (n,), 1/eV.
        broadening: standard deviation of the kernel contained in ``dos``, eV; 0 for a sharp one.
        integration: "sharpened" (exact for a spline, with the broadening taken back) or "mala" (the values joined by
            straight lines that fall to zero one spacing beyond both ends, as the MALA code integrates).
    """

    energies: FloatArray
    dos: FloatArray
    broadening: float = 0.0
    integration: Literal["sharpened", "mala"] = "sharpened"

    def __post_init__(self) -> None:
        energies, dos = np.asarray(self.energies, dtype=float), np.asarray(self.dos, dtype=float)
        if energies.ndim != 1 or energies.shape != dos.shape:
            raise InputError(
                f"density of states: got energies {energies.shape} and values {dos.shape}, expected one value "
                "for each energy"
            )
        if not (np.isfinite(energies).all() and np.isfinite(dos).all()):
            raise InputError("density of states: got values that are not finite, expected finite energies and values")
        steps = np.diff(energies)
        if not (steps > 0).all() or np.ptp(steps) > 1e-6 * steps.mean():
            raise InputError("density of states: got energies that are not ascending at equal distances")
        if not (np.isfinite(self.broadening) and self.broadening >= 0):
            raise InputError(f"broadening: got {self.broadening} eV, expected a standard deviation of at least 0")
        if self.integration not in ("sharpened", "mala"):
            raise InputError(f"integration: got {self.integration!r}, expected 'sharpened' or 'mala'")
        object.__setattr__(self, "energies", energies)
        object.__setattr__(self, "dos", dos)

    @cached_property
    def energy_grid(self) -> EnergyGrid:
        """The energies as a grid."""
        spacing = (self.energies[-1] - self.energies[0]) / (self.energies.size - 1)
        return EnergyGrid(float(self.energies[0]), float(spacing), self.energies.size)

    @cached_property
    def rule(self) -> Integration:
        """The integration rule of these energies; it does not depend on temperature or on the values."""
        if self.integration == "mala":
            return HatIntegration(self.energy_grid)
        return SharpenedIntegration(self.energy_grid, self.broadening)

    def weights(self, fermi_level: float, electron_temperature: float) -> IntegrationWeights:
        """Returns the integration weights, which hold for an LDOS on the same energies too.

        Args:
            fermi_level: mu, eV.
            electron_temperature: tau_e, K.
        """
        return self.rule.weights(fermi_level, electron_temperature)

    def electrons(self, fermi_level: float, electron_temperature: float) -> float:
        """Returns the number of electrons below a Fermi level (eV) at tau_e (K)."""
        return float(self.rule.electrons(fermi_level, electron_temperature) @ self.dos)

    def band_energy(self, fermi_level: float, electron_temperature: float) -> float:
        """Returns E_b, the integral of f eps D, eV."""
        return float(self.weights(fermi_level, electron_temperature).band_energy @ self.dos)

    def entropy(self, fermi_level: float, electron_temperature: float) -> float:
        """Returns S, eV/K, positive."""
        return float(self.weights(fermi_level, electron_temperature).entropy @ self.dos)

    def fermi_level(self, electrons: float, electron_temperature: float) -> float:
        """Returns mu, eV, at which the density of states holds ``electrons``.

        Args:
            electrons: wanted number.
            electron_temperature: tau_e, K.

        Raises:
            InputError: if the energy window cannot hold that many electrons.
        """
        low, high = self.energy_grid.start, self.energy_grid.stop

        def excess(mu: float) -> float:
            return self.electrons(mu, electron_temperature) - electrons

        reach = 20 * units.thermal_energy(electron_temperature)
        if not electrons > 0 or excess(high + reach) < 0 or excess(low - reach) > 0:
            full = self.electrons(high + reach, electron_temperature)
            raise InputError(
                f"Fermi level: got {electrons} electrons, but the energy window [{low:.2f}, {high:.2f}] eV holds only "
                f"{full:.3f}; widen the window, or check the electron number and units (1/eV) of the density of states"
            )
        return float(brentq(excess, low - reach, high + reach, xtol=1e-13, rtol=1e-14, maxiter=300))

    def heat_capacity(self, electrons: float, electron_temperature: float) -> float:
        """Returns C_e = dU/dtau_e at fixed electron number and density of states, eV/K.

        Args:
            electrons: fixed number.
            electron_temperature: tau_e, K.
        """
        mu = self.fermi_level(electrons, electron_temperature)
        rule = SharpenedIntegration(self.energy_grid, self.broadening)
        level, number, energy = (w @ self.dos for w in rule.slopes(mu, electron_temperature))
        # U = int f eps D; dU/dT = int eps df/dT D + dmu/dT int eps df/dmu D, with int (eps - mu) df/dmu D = T dN/dT
        level_slope = -number / level
        return float(energy + level_slope * (mu * level + electron_temperature * number))


def highest_electron_temperature(dos: DensityOfStates, electrons: float, atoms: int) -> float:
    """Returns the highest tau_e (K) at which the window cuts off less than 1 meV/atom of the free energy.

    Above the window the density of states is continued as that of free electrons, as the square root of the distance
    from the energy where the states begin.

    Args:
        dos: on the window in question.
        electrons: number in the cell.
        atoms: number in the cell.
    """
    top = dos.energy_grid.stop
    bottom = float(dos.energies[np.argmax(dos.dos > 0.01 * dos.dos.max())])
    upper = dos.energies > (top + bottom) / 2
    amplitude = float(np.mean(dos.dos[upper] / np.sqrt(dos.energies[upper] - bottom)))
    mu = dos.fermi_level(electrons, 1000.0)
    nodes, measure = np.polynomial.laguerre.laggauss(24)

    def lost(temperature: float) -> float:
        kt = units.thermal_energy(temperature)
        energies = top + kt * nodes
        states = amplitude * np.sqrt(energies - bottom)
        logarithm = np.log1p(np.exp(-(energies - mu) / kt))
        return float(np.sum(measure * np.exp(nodes) * kt**2 * states * logarithm)) - TRUNCATION * atoms

    low, high = 10.0, 1e6
    if lost(low) > 0:
        return 0.0
    return float(brentq(lost, low, high, xtol=0.1)) if lost(high) > 0 else high


def check_temperature(
    grid: EnergyGrid, highest: float, electron_temperature: float, *, allow_beyond_window: bool = False
) -> None:
    """Refuses ``electron_temperature`` above ``highest`` (K).

    Raises:
        WindowError: naming window, asked and highest temperature; with ``allow_beyond_window`` it is a warning.
    """
    units.thermal_energy(electron_temperature)
    if electron_temperature <= highest:
        return
    text = (
        f"electron temperature: asked {electron_temperature:g} K, but the energy window [{grid.start:.2f}, "
        f"{grid.stop:.2f}] eV serves at most {highest:.0f} K (1 meV/atom cut off); use data with a wider window"
    )
    if not allow_beyond_window:
        raise WindowError(text)
    warnings.warn(text, stacklevel=3)


def ldos_density(ldos: npt.ArrayLike, weights: FloatArray) -> FloatArray:
    """Returns the electron density, (nx, ny, nz), 1/Angstrom^3.

    Args:
        ldos: (nx, ny, nz, energies), 1/(eV Angstrom^3).
        weights: of the electron number, (energies,), eV.
    """
    return np.asarray(np.asarray(ldos) @ weights, dtype=np.float64)
