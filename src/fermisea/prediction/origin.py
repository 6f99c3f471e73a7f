"""Free energies of a prediction: of the LDOS alone, anchored, or of an interatomic potential at every tau_e.

An anchored free energy is F of an interatomic potential at tau_ref plus F(tau_e) - F(tau_ref) of the LDOS. Forces and
stress of the LDOS are then derivatives of this difference, and the potential adds its forces and stress. A potential at
every tau_e replaces the change of the LDOS, too. This module alone decides which of them ``free_energy`` is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, Protocol

import numpy as np
from ase import Atoms

from fermisea.errors import InputError
from fermisea.physics.observables import PotentialObservables
from fermisea.prediction.forces import Mechanics
from fermisea.prediction.result import NO_POTENTIAL, NO_REGULAR_PART, Prediction
from fermisea.utilities.arrays import FloatArray
from fermisea.utilities.torchrun import Processes

FreeEnergy = Literal["potential", "anchored", "ldos"]
"""Origin of F, U, S, C_e, forces and stress."""

FREE_ENERGIES: tuple[FreeEnergy, ...] = ("potential", "anchored", "ldos")
"""Names of the origins, the most accurate first."""


def chosen_free_energy(
    asked: FreeEnergy | None,
    anchor: bool | None,
    *,
    anchored: bool,
    highest: float | None,
    pressure: bool,
    electron_temperatures: Sequence[float],
    density: bool,
) -> tuple[FreeEnergy, list[str]]:
    """Returns the origin of F, and a warning if it is not the most accurate one of the model.

    Args:
        asked: requested origin; None for the most accurate one.
        anchor: short form, True for ``"anchored"`` and False for ``"ldos"``; None if ``asked`` is given.
        anchored: whether the model has a potential at tau_ref.
        highest: highest tau_e up to which the potential knows the pressure, K; None without a potential.
        pressure: whether the training structures determine the pressure of this potential.
        electron_temperatures: tau_e, K.
        density: whether densities, and with them total free energies, are requested.

    Raises:
        InputError: for an unknown origin, two origins, or an origin that the model does not have.
    """
    if asked is not None and anchor is not None:
        raise InputError(
            "free energy: got free_energy (--free-energy) and its short form, anchor (--anchor); omit one of them"
        )
    if anchor not in (True, False, None):
        raise InputError(f"anchor: got {anchor!r}, expected True, False or None")
    if asked is None and anchor is not None:
        asked = "anchored" if anchor else "ldos"
    if asked is not None and asked not in FREE_ENERGIES:
        raise InputError(f"free energy: got {asked!r}, expected {', '.join(FREE_ENERGIES)}")
    if asked in ("potential", "anchored") and not density:
        raise InputError(
            f"free energy: got {asked!r} and density=False (--no-density), but a total free energy needs the density; "
            "omit one of them"
        )
    if asked == "potential" and highest is None:
        raise InputError(NO_POTENTIAL)
    if asked == "anchored" and not anchored:
        raise InputError(NO_REGULAR_PART)
    if asked is not None:
        return asked, []
    if not density:
        return "ldos", []
    if highest is None or not pressure:
        return "anchored" if anchored else "ldos", []
    if max(electron_temperatures) <= highest:
        return "potential", []
    warning = (
        f"free energy: the potential serves tau_e up to {highest:.0f} K; at all requested tau_e, F is anchored instead "
        "(F of the potential at tau_ref plus the change of F from the LDOS), and S, C_e, forces and stress follow"
    )
    return "anchored", [warning]


def without_potential(
    asked: FreeEnergy | None, anchor: bool | None, functional: str, thermal_xc: str, *, anchored: bool
) -> FreeEnergy | None:
    """Returns the origin of F where another functional is requested at tau_e, which no potential knows.

    Args:
        asked: requested origin; None for the most accurate one.
        anchor: short form of ``asked``.
        functional: exchange-correlation functional of the model.
        thermal_xc: exchange-correlation functional at tau_e.
        anchored: whether the model has a potential at tau_ref.

    Raises:
        InputError: if the potential is requested.
    """
    if asked == "potential":
        raise InputError(
            f"thermal xc: the potential knows {functional} only, but F at tau_e is to have {thermal_xc}; request F "
            "anchored or of the LDOS (--free-energy anchored or ldos)"
        )
    if asked is None and anchor is None:
        return "anchored" if anchored else "ldos"
    return asked


class Potential(Protocol):
    """Interface of an interatomic potential for an anchor; see :class:`fermisea.potential.RegularModel`."""

    def predict(self, atoms: Atoms, *, derivatives: bool, processes: Processes) -> PotentialEnergy: ...  # noqa: D102


class PotentialEnergy(Protocol):
    """The prediction of an interatomic potential at tau_ref."""

    @property
    def free_energy(self) -> float: ...  # noqa: D102
    @property
    def free_energy_std(self) -> float: ...  # noqa: D102
    @property
    def forces(self) -> FloatArray: ...  # noqa: D102
    @property
    def stress(self) -> FloatArray: ...  # noqa: D102


class ThermalPotential(Protocol):
    """Interface of an interatomic potential at every tau_e; see :class:`fermisea.potential.ThermalPotential`."""

    @property
    def highest_electron_temperature(self) -> float: ...  # noqa: D102
    def predict(  # noqa: D102
        self, atoms: Atoms, electron_temperature: Sequence[float], *, derivatives: bool, processes: Processes
    ) -> ThermalEnergies: ...


class ThermalEnergies(Protocol):
    """The prediction of an interatomic potential at several tau_e; see :class:`fermisea.potential.PotentialPrediction`.

    NAME_std is the standard deviation of each number.
    """

    @property
    def free_energy(self) -> float | FloatArray: ...  # noqa: D102
    @property
    def entropy(self) -> float | FloatArray: ...  # noqa: D102
    @property
    def heat_capacity(self) -> float | FloatArray: ...  # noqa: D102
    @property
    def forces(self) -> FloatArray: ...  # noqa: D102
    @property
    def stress(self) -> FloatArray: ...  # noqa: D102


DEVIATIONS = ("free_energy", "internal_energy", "entropy", "heat_capacity")
"""Observables with a standard deviation."""


def with_potential(
    prediction: Prediction, potential: ThermalPotential, *, apply: bool, forces: bool = False
) -> Prediction:
    """Returns a prediction with the observables of an interatomic potential at each tau_e up to its highest one.

    Args:
        prediction: prediction of the LDOS, anchored or not.
        potential: interatomic potential at every tau_e.
        apply: whether F, U, S and C_e come from the potential, which then must know each tau_e; otherwise its F is only
            an additional observable.
        forces: whether to add forces and stress of the potential.
    """
    temperatures = [result.electron_temperature for result in prediction.results]
    known = sorted({t for t in temperatures if t <= potential.highest_electron_temperature})
    if not prediction.has_free_energy or not known:
        return prediction
    found = potential.predict(prediction.atoms, known, derivatives=forces, processes=prediction.processes)
    places = {t: index for index, t in enumerate(known)}

    def value(name: str, index: int) -> float:
        return float(np.asarray(getattr(found, name))[index])

    def own(t: float) -> PotentialObservables | None:
        """Returns the observables of the potential at a tau_e, if there are any."""
        if (index := places.get(t)) is None:
            return None
        return PotentialObservables(
            free_energy=value("free_energy", index),
            entropy=value("entropy", index),
            heat_capacity=value("heat_capacity", index),
            deviations={name: value(f"{name}_std", index) for name in DEVIATIONS},
        )

    results = tuple(
        replace(result, potential=own(result.electron_temperature), uses_potential=apply)
        for result in prediction.results
    )
    if not forces:
        return replace(prediction, results=results)
    mechanics = tuple(Mechanics(found.forces[places[t]], found.stress[places[t]]) for t in temperatures)
    return replace(prediction, results=results, mechanics=mechanics)


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
    forces = apply and prediction.mechanics is not None
    own = potential.predict(prediction.atoms, derivatives=forces, processes=prediction.processes)
    results = tuple(result.anchor_to(own.free_energy, apply=apply) for result in prediction.results)
    found = replace(prediction, results=results, anchor=own.free_energy, anchor_std=own.free_energy_std, anchored=apply)
    if not apply:
        return found
    if found.uncertainty is not None:
        found = replace(found, uncertainty=found.uncertainty.anchor_to(own.free_energy))
    if found.mechanics is not None:
        added = tuple(Mechanics(m.forces + own.forces, m.stress + own.stress) for m in found.mechanics)
        found = replace(found, mechanics=added)
    return found
