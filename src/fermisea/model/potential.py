"""The interatomic potential of a model at every tau_e, with the checks of the domain of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from ase import Atoms

from fermisea.grid import check_structure
from fermisea.physics.window import temperature_list
from fermisea.potential import PotentialPrediction, ThermalPotential, ThermalSites
from fermisea.prediction.domain import Domain
from fermisea.prediction.limits import TEMPERATURE
from fermisea.prediction.plausibility import domain_warnings_ignored, impossible_energy, issue
from fermisea.units import GIGAPASCAL

_SPREAD = 4.0
"""Largest spread of F per atom, relative to the error of F for structures left out of the fit."""


@dataclass(frozen=True, eq=False, repr=False)
class ModelPotential:
    """F, entropy, heat capacity, forces and stress at every tau_e as sums over atoms, without an LDOS.

    Attributes:
        thermal: the potential.
        domain: domain of the model, for the same structures and electronic temperatures as its LDOS.
    """

    thermal: ThermalPotential
    domain: Domain

    def __repr__(self) -> str:
        elements, highest = ", ".join(self.thermal.elements), self.highest_electron_temperature
        tau_ref = self.thermal.reference_electron_temperature
        return f"Potential of {elements}, tau_ref = {tau_ref:g} K, tau_e up to {highest:.0f} K"

    @property
    def reference_electron_temperature(self) -> float:
        """tau_ref, K."""
        return self.thermal.reference_electron_temperature

    @property
    def highest_electron_temperature(self) -> float:
        """Highest tau_e, K."""
        return self.thermal.highest_electron_temperature

    @property
    def highest_with_pressure(self) -> float:
        """Highest tau_e if the training structures determine the pressure, K; otherwise 0."""
        return self.highest_electron_temperature if self.thermal.terms.has_pressure else 0.0

    def check(self, electron_temperatures: Sequence[float]) -> None:
        """Refuses a tau_e (K) outside of the range of the potential.

        Raises:
            InputError: for a tau_e that is too low or not a number.
            WindowError: for a tau_e above ``highest_electron_temperature``.
        """
        self.thermal.check(electron_temperatures)

    def predict(
        self,
        atoms: Atoms,
        electron_temperature: float | Sequence[float],
        *,
        allow_outside: bool = False,
        threads: int | None = None,
        derivatives: bool = True,
    ) -> PotentialPrediction:
        """Returns free energy, entropy, heat capacity, forces and stress of a structure.

        A structure outside of ``domain`` is a :class:`fermisea.DomainWarning` and one of the ``warnings`` of the
        result.

        Args:
            atoms: positions and cell, periodic in all three directions.
            electron_temperature: tau_e, K; one or several.
            allow_outside: whether an unphysical structure or energy is a warning instead of an error.
            threads: number of threads.
            derivatives: whether to compute forces and stress; without, both are empty.

        Raises:
            InputError: for an element outside the model, an invalid tau_e or structure, or an impossible structure or
                energy, unless ``allow_outside``.
            WindowError: for a tau_e above ``highest_electron_temperature``.
        """
        self.check(temperature_list(electron_temperature))
        with domain_warnings_ignored():  # issued below
            at = self.at(atoms, allow_outside=allow_outside, threads=threads)
            prediction = at.predict(electron_temperature, derivatives=derivatives)
        issue(prediction.warnings, None, allow_outside=allow_outside)
        return prediction

    def at(self, atoms: Atoms, *, allow_outside: bool = False, threads: int | None = None) -> ModelSites:
        """Returns the potential at the atoms of a structure, for predictions at many tau_e.

        Arguments are the same as for :meth:`predict`.

        Raises:
            InputError: for an element outside the model, an invalid structure, or an impossible structure, unless
                ``allow_outside``.
        """
        check_structure(atoms, "structure")
        impossible = self.domain.impossible(atoms)
        outside = [] if impossible is not None else self.domain.check_ions(atoms)
        with domain_warnings_ignored():  # issued by each prediction
            sentences = issue(outside, impossible, allow_outside=allow_outside)
        return ModelSites(self, atoms.copy(), self.thermal.at(atoms, threads), sentences, allow_outside)


@dataclass(frozen=True, eq=False)
class ModelSites:
    """The potential of a model at the atoms of one structure, whose descriptors serve every tau_e.

    Attributes:
        potential: the potential.
        atoms: the structure.
        sites: the potential without checks of the domain.
        outside: a sentence for each way in which the structure leaves the domain.
        allow_outside: whether an unphysical structure or energy is a warning instead of an error.
    """

    potential: ModelPotential
    atoms: Atoms
    sites: ThermalSites
    outside: tuple[str, ...]
    allow_outside: bool

    def predict(
        self, electron_temperature: float | Sequence[float], *, derivatives: bool = True
    ) -> PotentialPrediction:
        """Returns free energy, entropy, heat capacity, forces and stress at one or several tau_e.

        Arguments, warnings and errors are the same as for :meth:`ModelPotential.predict`.
        """
        domain, thermal, number = self.potential.domain, self.potential.thermal, len(self.atoms)
        temperatures = temperature_list(electron_temperature)
        hot = domain.check_temperatures(self.atoms, temperatures)
        before = [sentence for sentence in hot if not sentence.startswith(TEMPERATURE)]
        prediction = self.sites.predict(electron_temperature, derivatives=derivatives)
        highest, lowest = float(np.max(prediction.free_energy)), float(np.min(prediction.internal_energy))
        impossible = impossible_energy(domain, number, highest, lowest)
        if impossible is not None and min(temperatures) < (tau_ref := self.potential.reference_electron_temperature):
            at_reference = self.sites.predict(tau_ref, derivatives=False)
            highest = min(highest, float(at_reference.free_energy))  # F rises from tau_ref to lower tau_e
            impossible = impossible_energy(domain, number, highest, lowest)
        doubtful = unreliable(
            thermal,
            number,
            prediction.electron_temperature,
            prediction.free_energy_std,
            prediction.heat_capacity,
            stress=derivatives,
        )
        found = issue([*before, *self.outside, *doubtful], impossible, allow_outside=self.allow_outside)
        return replace(prediction, warnings=found)


def unreliable(
    thermal: ThermalPotential,
    atoms: int,
    electron_temperatures: npt.ArrayLike,
    free_energy_std: npt.ArrayLike,
    heat_capacity: npt.ArrayLike,
    *,
    stress: bool,
) -> list[str]:
    """Describes a spread much larger than in training, a negative heat capacity, and a stress that is not known.

    Args:
        thermal: the potential.
        atoms: number of atoms.
        electron_temperatures: tau_e, K.
        free_energy_std: estimated error of F at each tau_e, eV.
        heat_capacity: C_e at each tau_e, eV/K.
        stress: whether stress was requested.
    """
    temperatures, heat = np.atleast_1d(electron_temperatures), np.atleast_1d(heat_capacity)
    spread = np.atleast_1d(free_energy_std) / atoms
    limit = _SPREAD * np.hypot(thermal.regular.left_out_error, thermal.terms.left_out_error(temperatures))
    found = []
    worst = int(np.argmax(spread - limit))
    if spread[worst] > limit[worst]:
        found.append(
            f"spread: the estimated error of F of the potential at {temperatures[worst]:g} K is "
            f"{1000 * spread[worst]:.0f} meV/atom, above the limit of {1000 * limit[worst]:.0f} meV/atom from the "
            "training structures; the potential extrapolates"
        )
    if heat.min() < 0:
        found.append(
            f"heat capacity: C_e of the potential at {temperatures[heat.argmin()]:g} K is negative; the structure "
            "lies outside the training data"
        )
    errors = thermal.terms.pressure_error(temperatures)
    beyond = errors / thermal.terms.pressure_limit(temperatures)
    if stress and beyond.max() > 1:
        found.append(
            f"stress of the potential: the estimated error of the pressure at {temperatures[beyond.argmax()]:g} K is "
            f"{errors[beyond.argmax()] / GIGAPASCAL:.1f} GPa, because the training structures hardly differ in volume; "
            "train on several volumes, or take the change of F and stress with tau_e from the LDOS "
            "(free_energy='anchored')"
        )
    return found
