"""The electrons of an LDOS at several electronic temperatures: Fermi levels first, then densities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from fermisea.physics.density_of_states import DensityOfStates
from fermisea.physics.integration import EnergyIntegral, IntegrationWeights
from fermisea.utilities.arrays import FloatArray

Densities = Callable[[Sequence[EnergyIntegral]], Sequence[FloatArray]]
"""Function from integrals for the electron number to the densities of an LDOS, each (nx, ny, nz), 1/Angstrom^3."""

STEP = 0.01
"""Relative distance in tau_e of the neighbours of a state, for derivatives with respect to tau_e."""


@dataclass(frozen=True, eq=False)
class ThermalState:
    """The electrons of an LDOS at one electronic temperature.

    Attributes:
        electron_temperature: tau_e, K.
        fermi_level: mu, eV.
        weights: integrals that give the observables.
        density: (nx, ny, nz), 1/Angstrom^3; None where no densities are requested.
        level_slope: integral that gives the derivative of the electron number by mu; None where not requested.
        level_density: derivative of the density by mu, (nx, ny, nz), 1/(eV Angstrom^3); None where not requested.
        neighbours: states at a slightly lower and a slightly higher tau_e; empty where not requested.
    """

    electron_temperature: float
    fermi_level: float
    weights: IntegrationWeights
    density: FloatArray | None
    level_slope: EnergyIntegral | None = None
    level_density: FloatArray | None = None
    neighbours: tuple[ThermalState, ...] = ()


@dataclass(frozen=True, eq=False)
class ThermalLevels:
    """Fermi levels and integrals at several electronic temperatures, which densities turn into states.

    Attributes:
        electron_temperatures: tau_e in the requested order, K.
        fermi_levels: mu at each distinct temperature, eV.
        weights: integrals at each distinct temperature.
        slopes: integral for the derivative of the electron number by mu at each; empty where not requested.
        neighbours: whether the states have neighbours; integrals and levels of theirs are among the others.
    """

    electron_temperatures: tuple[float, ...]
    fermi_levels: dict[float, float]
    weights: dict[float, IntegrationWeights]
    slopes: dict[float, EnergyIntegral]
    neighbours: bool = False

    @property
    def integrals(self) -> list[EnergyIntegral]:
        """The integrals whose densities ``states`` takes: electron numbers, then their derivatives by mu."""
        return [w.electrons for w in self.weights.values()] + list(self.slopes.values())

    def states(self, densities: Sequence[FloatArray] | None) -> list[ThermalState]:
        """Returns the state at each requested temperature.

        Args:
            densities: fields of ``integrals``, each (nx, ny, nz); None for states without densities.
        """
        distinct = list(self.weights)
        fields: Sequence[FloatArray | None] = densities or [None] * len(self.integrals)
        found = {
            t: ThermalState(
                electron_temperature=t,
                fermi_level=self.fermi_levels[t],
                weights=self.weights[t],
                density=fields[k],
                level_slope=self.slopes.get(t),
                level_density=fields[len(distinct) + k] if self.slopes else None,
            )
            for k, t in enumerate(distinct)
        }
        if self.neighbours:
            around = {t: tuple(found[other] for other in neighbours(t)) for t in self.electron_temperatures}
            return [replace(found[t], neighbours=around[t]) for t in self.electron_temperatures]
        return [found[t] for t in self.electron_temperatures]


def neighbours(electron_temperature: float) -> tuple[float, float]:
    """Returns a slightly lower and a slightly higher tau_e, K, for derivatives with respect to tau_e."""
    return electron_temperature * (1 - STEP), electron_temperature * (1 + STEP)


def thermal_levels(
    dos: DensityOfStates,
    electrons: float,
    electron_temperatures: Sequence[float],
    *,
    slopes: bool = False,
    around: bool = False,
) -> ThermalLevels:
    """Returns Fermi levels and integrals at each tau_e; a temperature that occurs twice is computed once.

    Args:
        dos: LDOS integrated over the cell.
        electrons: number of electrons in the cell.
        electron_temperatures: tau_e, K.
        slopes: whether to compute derivatives by the Fermi level too.
        around: whether the states need neighbours in tau_e.

    Raises:
        InputError: for a temperature not above zero, or a window too small for the electrons.
    """
    temperatures = tuple(float(t) for t in electron_temperatures)
    others = tuple(other for t in temperatures for other in neighbours(t)) if around else ()
    levels = {t: dos.fermi_level(electrons, t) for t in dict.fromkeys(temperatures + others)}
    return ThermalLevels(
        temperatures,
        levels,
        {t: dos.weights(level, t) for t, level in levels.items()},
        {t: dos.rule.slopes(level, t).level for t, level in levels.items()} if slopes else {},
        around,
    )
