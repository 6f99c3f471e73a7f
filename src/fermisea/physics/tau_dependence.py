"""The free energy at one electronic temperature, and what the terms that depend on densities add to S and C_e.

With A = E_b - TS of the states, F = A + G, where G is a functional of densities and, for exchange and correlation at a
finite temperature, of tau_e. -dA/dtau_e is the entropy of the states at fixed D. For a functional of the ground state
-dG/dtau_e is of second order in the change of the density and is left out; for a functional of tau_e it contains S_xc,
and is computed in full from the densities at two neighbouring temperatures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fermisea.physics.free_energy import FreeEnergyFunctional, transfer_error
from fermisea.physics.thermal_states import STEP, ThermalState
from fermisea.physics.xc import Functional, functional


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
    lower, here, upper = (
        form.forms(0.0, s.density, hot.at(s.electron_temperature))["second_order"]
        for s in (state.neighbours[0], state, state.neighbours[1])
    )
    slope, curvature = (upper - lower) / (2 * STEP), (upper - 2 * here + lower) / STEP**2
    return FreeEnergies(forms, error, -slope / t, -curvature / t)


def needs_neighbours(name: str | None) -> bool:
    """Returns whether states need neighbours in tau_e: the functional of this name depends on tau_e; None for none."""
    return name is not None and functional(name).is_thermal
