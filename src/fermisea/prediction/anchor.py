"""Anchor of a prediction: shifts free energy, internal energy, forces and stress, in this module only.

An anchored free energy is F of an interatomic potential at tau_ref plus F(tau_e) - F(tau_ref) of the LDOS. Forces and
stress of the LDOS are then derivatives of this difference, and the potential adds its forces and stress. A potential at
every tau_e gives a free energy of its own, for comparison.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from ase import Atoms

from fermisea.prediction.forces import Mechanics
from fermisea.prediction.result import Prediction
from fermisea.utilities.arrays import FloatArray


class Potential(Protocol):
    """Interface of an interatomic potential for an anchor; see :class:`fermisea.potential.RegularModel`."""

    def predict(self, atoms: Atoms) -> PotentialEnergy: ...  # noqa: D102


class PotentialEnergy(Protocol):
    """The prediction of an interatomic potential at tau_ref."""

    @property
    def free_energy(self) -> float: ...  # noqa: D102
    @property
    def forces(self) -> FloatArray: ...  # noqa: D102
    @property
    def stress(self) -> FloatArray: ...  # noqa: D102


class ThermalPotential(Protocol):
    """Interface of an interatomic potential at every tau_e; see :class:`fermisea.potential.ThermalPotential`."""

    @property
    def highest_electron_temperature(self) -> float: ...  # noqa: D102
    def free_energy(self, atoms: Atoms, electron_temperatures: Sequence[float]) -> FloatArray: ...  # noqa: D102


def with_potential(prediction: Prediction, potential: ThermalPotential) -> Prediction:
    """Returns a prediction with F of an interatomic potential at each tau_e up to the highest one of the potential."""
    if not prediction.has_free_energy:
        return prediction
    temperatures = [result.electron_temperature for result in prediction.results]
    known = [t for t in temperatures if t <= potential.highest_electron_temperature]
    if not known:
        return prediction
    values = dict(zip(known, potential.free_energy(prediction.atoms, known).tolist(), strict=True))
    energies = [values.get(t, math.nan) for t in temperatures]
    pairs = zip(prediction.results, energies, strict=True)
    return replace(prediction, results=tuple(replace(r, potential_free_energy=energy) for r, energy in pairs))


def with_anchor(prediction: Prediction, potential: Potential | None, *, apply: bool) -> Prediction:
    """Returns a prediction with an anchor; unchanged without a potential or total free energies.

    Args:
        prediction: prediction of the LDOS alone. Forces and stress, where present, are derivatives of
            F(tau_e) - F(tau_ref) if ``apply`` is set, and of F(tau_e) otherwise.
        potential: interatomic potential at tau_ref; None for a model without an anchor.
        apply: whether energies, their spread, forces and stress are anchored; otherwise the anchored free energy is
            only an additional observable.
    """
    if potential is None or not prediction.has_free_energy:
        return prediction
    own = potential.predict(prediction.atoms)
    results = tuple(result.anchor_to(own.free_energy, apply=apply) for result in prediction.results)
    found = replace(prediction, results=results, anchor=own.free_energy, anchored=apply)
    if not apply:
        return found
    if found.uncertainty is not None:
        found = replace(found, uncertainty=replace(found.uncertainty, anchored=True))
    if found.mechanics is not None:
        added = tuple(Mechanics(m.forces + own.forces, m.stress + own.stress) for m in found.mechanics)
        found = replace(found, mechanics=added)
    return found
