"""Potential of a model with several tau_ref: at each tau_e a blend of the potentials of the two tau_ref around it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from ase import Atoms

from fermisea.model.potential import ModelPotential, ModelSites
from fermisea.physics.blend import Share, blended_potential, shares_of
from fermisea.physics.observables import PotentialObservables
from fermisea.physics.window import temperature_list
from fermisea.potential import PotentialPrediction, check_potential_range
from fermisea.prediction.domain import Domain
from fermisea.prediction.origin import DEVIATIONS
from fermisea.prediction.plausibility import distinct, domain_warnings_ignored, issue


@dataclass(frozen=True, eq=False, repr=False)
class BlendedPotential:
    """Potentials at several tau_ref, of which the two around tau_e are blended as in :mod:`fermisea.physics.blend`.

    Attributes:
        parts: the potential at each tau_ref, ascending.
        whole: whether every tau_ref of the model has a potential.
    """

    parts: tuple[ModelPotential, ...]
    whole: bool = True

    def __repr__(self) -> str:
        elements, highest = ", ".join(self.parts[0].thermal.elements), self.highest_electron_temperature
        references = ", ".join(f"{t:g}" for t in self.references)
        return f"Potential of {elements}, tau_ref = {references} K, tau_e up to {highest:.0f} K"

    @property
    def domain(self) -> Domain:
        """Domain of the lowest tau_ref; a prediction is compared with the domain of each tau_ref that contributes."""
        return self.parts[0].domain

    @property
    def references(self) -> list[float]:
        """Every tau_ref, K."""
        return [part.reference_electron_temperature for part in self.parts]

    @property
    def highest_electron_temperature(self) -> float:
        """Highest tau_e up to which there are no gaps, K: both potentials are needed between two tau_ref."""
        return self._highest(len(self.parts))

    @property
    def highest_with_pressure(self) -> float:
        """The same of the potentials whose training structures determine the pressure, K; 0 without one."""
        known = itertools.takewhile(lambda part: part.thermal.terms.has_pressure, self.parts)
        return self._highest(sum(1 for _ in known))

    def _highest(self, number: int) -> float:
        """Returns the highest tau_e without gaps of the lowest parts, K."""
        if number == 0:
            return 0.0
        for part, above in itertools.pairwise(self.parts[:number]):
            if part.highest_electron_temperature < above.reference_electron_temperature:
                return part.highest_electron_temperature
        last, whole = self.parts[number - 1], self.whole and number == len(self.parts)
        return last.highest_electron_temperature if whole else last.reference_electron_temperature

    def check(self, electron_temperatures: Sequence[float]) -> None:
        """Refuses a tau_e (K) outside of the range of the potential.

        Raises:
            InputError: for a tau_e that is too low or not a number.
            WindowError: for a tau_e above ``highest_electron_temperature``.
        """
        check_potential_range(electron_temperatures, self.highest_electron_temperature)

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

        Arguments, warnings and errors are the same as for :meth:`ModelPotential.predict`.
        """
        self.check(temperature_list(electron_temperature))
        with domain_warnings_ignored():  # issued below
            at = self.at(atoms, allow_outside=allow_outside, threads=threads)
            prediction = at.predict(electron_temperature, derivatives=derivatives)
        issue(prediction.warnings, None, allow_outside=allow_outside)
        return prediction

    def at(self, atoms: Atoms, *, allow_outside: bool = False, threads: int | None = None) -> BlendedSites:
        """Returns the potential at the atoms of a structure, for predictions at many tau_e.

        Arguments are the same as for :meth:`predict`. The potential of each tau_ref is evaluated when it is needed.
        """
        return BlendedSites(self, atoms.copy(), allow_outside, threads)


@dataclass(frozen=True, eq=False)
class BlendedSites:
    """Blended potentials at the atoms of one structure, whose descriptors serve every tau_e.

    Attributes:
        potential: the potential.
        atoms: the structure.
        allow_outside: whether an unphysical structure or energy is a warning instead of an error.
        threads: number of threads.
        known: the potential of each tau_ref at the atoms, as far as it has been used.
    """

    potential: BlendedPotential
    atoms: Atoms
    allow_outside: bool = False
    threads: int | None = None
    known: dict[int, ModelSites] = field(default_factory=dict)

    def predict(
        self, electron_temperature: float | Sequence[float], *, derivatives: bool = True
    ) -> PotentialPrediction:
        """Returns free energy, entropy, heat capacity, forces and stress at one or several tau_e.

        Arguments, warnings and errors are the same as for :meth:`ModelPotential.predict`.
        """
        temperatures = temperature_list(electron_temperature)
        self.potential.check(temperatures)
        shares = {t: shares_of(self.potential.references, t) for t in temperatures}
        found: dict[int, PotentialPrediction] = {}
        places: dict[int, dict[float, int]] = {}
        for index in sorted({index for own in shares.values() for index in own}):
            wanted = [t for t, own in shares.items() if index in own]
            places[index] = {t: place for place, t in enumerate(wanted)}
            with domain_warnings_ignored():  # issued below
                found[index] = self._part(index).predict(wanted, derivatives=derivatives)
        numbers = [_numbers(found, places, shares[t], t) for t in temperatures]
        forces, stress = (
            np.array(
                [
                    sum(share.weight * getattr(found[i], name)[places[i][t]] for i, share in shares[t].items())
                    for t in temperatures
                ]
            )
            for name in ("forces", "stress")
        )
        values: list[Any] = [np.array(temperatures), *np.array([own[:3] for own in numbers]).T, forces, stress]
        values += list(np.array([own[3:] for own in numbers]).T)
        if np.ndim(electron_temperature) == 0:
            values = [float(value[0]) if value.ndim == 1 else value[0] for value in values]
        sentences = distinct([sentence for part in found.values() for sentence in part.warnings])
        warnings = issue(sentences, None, allow_outside=self.allow_outside)
        return replace(PotentialPrediction(*values), warnings=warnings)

    def _part(self, index: int) -> ModelSites:
        """Returns the potential of one tau_ref at the atoms."""
        if index not in self.known:
            part = self.potential.parts[index]
            self.known[index] = part.at(self.atoms, allow_outside=self.allow_outside, threads=self.threads)
        return self.known[index]


def _numbers(
    found: Mapping[int, PotentialPrediction],
    places: Mapping[int, Mapping[float, int]],
    shares: Mapping[int, Share],
    electron_temperature: float,
) -> list[float]:
    """Returns F, S and C_e at one tau_e, K, and the standard deviations of F, S, C_e and U, in their units."""

    def value(index: int, name: str) -> float:
        return float(np.asarray(getattr(found[index], name))[places[index][electron_temperature]])

    parts = [
        PotentialObservables(
            free_energy=value(index, "free_energy"),
            entropy=value(index, "entropy"),
            heat_capacity=value(index, "heat_capacity"),
            deviations={name: value(index, f"{name}_std") for name in DEVIATIONS},
        )
        for index in shares
    ]
    blend = blended_potential(parts, list(shares.values()), electron_temperature)
    names = ("free_energy", "entropy", "heat_capacity", "internal_energy")
    return [blend.free_energy, blend.entropy, blend.heat_capacity, *(blend.deviations[name] for name in names)]
