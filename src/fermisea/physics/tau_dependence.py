"""The free energy at one electronic temperature, and what the terms that depend on densities add to S and C_e.

With A = E_b - TS of the states, F = A + G, where G is a functional of densities and, for exchange and correlation at a
finite temperature, of tau_e. -dA/dtau_e is the entropy of the states at fixed D. For a functional of the ground state
-dG/dtau_e is of second order in the change of the density and is left out; for a functional of tau_e it contains S_xc,
and is computed in full: the explicit dependence at fixed densities, and the change of n_t from the densities at two
neighbouring temperatures. The heat capacity is a second difference over these temperatures, an average over 2 % of
tau_e: at points with a low density and a large gradient, KDT16 turns within a fraction of a percent of tau_e.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fermisea.errors import InputError
from fermisea.physics.free_energy import FreeEnergyFunctional, transfer_error
from fermisea.physics.thermal_states import STEP, ThermalState
from fermisea.physics.xc import THERMAL, Functional, functional
from fermisea.utilities.arrays import FloatArray

_FINE = 1e-4
"""Relative step in tau_e for the explicit dependence of exchange and correlation."""


@dataclass(frozen=True)
class FreeEnergies:
    """Total free energies at one electronic temperature.

    Attributes:
        forms: the free energy in every form, eV; empty if there is none.
        transfer_error: estimated error of the change from tau_ref, eV; NaN without free energies.
        density_entropy: -dG/dtau_e of the second-order form, eV/K; 0 for a functional of the ground state.
        density_heat_capacity: tau_e times the derivative of this entropy with respect to tau_e, eV/K.
    """

    forms: dict[str, float]
    transfer_error: float
    density_entropy: float = 0.0
    density_heat_capacity: float = 0.0


def free_energies(
    form: FreeEnergyFunctional | None, state: ThermalState, band_free_energy: float, hot: Functional | None
) -> FreeEnergies:
    """Returns the free energies of a state.

    Args:
        form: the terms that do not depend on tau_e; None without total free energies.
        state: state with its density and, for a functional of tau_e, with neighbours.
        band_free_energy: E_b - TS, eV.
        hot: exchange-correlation functional of F at any tau_e; None without total free energies.
    """
    if form is None or hot is None:
        return FreeEnergies({}, math.nan)
    t = state.electron_temperature
    forms = form.forms(band_free_energy, state.density, hot.at(t))
    error = transfer_error(forms, form.response_error(hot.at(t), t))
    if not hot.is_thermal:
        return FreeEnergies(forms, error)

    def terms(density: FloatArray | None, electron_temperature: float) -> float:
        """Returns G of the second-order form, eV."""
        return form.forms(0.0, density, hot.at(electron_temperature))["second_order"]

    lower, upper = state.neighbours
    change = (terms(upper.density, t) - terms(lower.density, t)) / (2 * STEP)
    ends = [terms(s.density, s.electron_temperature) for s in state.neighbours]
    curvature = (ends[0] - 2 * terms(state.density, t) + ends[1]) / STEP**2
    explicit = (terms(state.density, t * (1 + _FINE)) - terms(state.density, t * (1 - _FINE))) / (2 * _FINE)
    return FreeEnergies(forms, error, -(change + explicit) / t, -curvature / t)


def thermal_functional(name: str | None, own: str, obstacle: str | None) -> str | None:
    """Returns the name of the functional of F at tau_e; None if it is the functional of the LDOS.

    Args:
        name: requested functional; None for the functional of the LDOS.
        own: functional of the LDOS.
        obstacle: reason why there is no total free energy; None if there is one.

    Raises:
        InputError: for an unknown functional, or without a total free energy.
    """
    if name is None:
        return None
    found = functional(name).name
    if found == own:
        return None
    if obstacle is not None:
        raise InputError(f"thermal xc: got {found}, but there is no total free energy: {obstacle}")
    return found


def other_ground_state(own: str, hot: str | None) -> list[str]:
    """Returns a warning if F at tau_e has another functional of the ground state than the LDOS; otherwise nothing.

    Args:
        own: functional of the LDOS.
        hot: functional of F at tau_e; None for ``own``.
    """
    if hot is None:
        return []
    cold, other = (functional(name).ground_state or functional(name).name for name in (own, hot))
    if cold == other:
        return []
    same = [name for name, ground in THERMAL.items() if ground == cold and name != own]
    advice = f"use {' or '.join(same)}" if same else f"use DFT data of {other}"
    limit = "" if hot == other else f", which is {other} in the ground state"
    text = (
        f"thermal xc: F at tau_e is of {hot}{limit}, but the LDOS is of {own}; F(tau_e) - F(tau_ref) contains the "
        f"difference between the ground-state functionals {other} and {cold}, which is not an effect of tau_e; {advice}"
    )
    return [text]


def needs_neighbours(name: str | None) -> bool:
    """Returns whether states need neighbours in tau_e: the functional of this name depends on tau_e; None for none."""
    return name is not None and functional(name).is_thermal
