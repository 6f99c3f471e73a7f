"""Observables of an LDOS, stored or predicted, at any electronic temperature."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from ase import Atoms

from fermisea.grid import RealSpaceGrid
from fermisea.physics.density_of_states import DensityOfStates
from fermisea.physics.ewald import ewald_energy
from fermisea.physics.fields import FourierGrid
from fermisea.physics.free_energy import FreeEnergyFunctional
from fermisea.physics.ions import Ion, charges, core_density, electrons
from fermisea.physics.tau_dependence import free_energies, needs_neighbours
from fermisea.physics.thermal_states import Densities, ThermalState, thermal_levels
from fermisea.physics.xc import smooth_functional
from fermisea.utilities.arrays import FloatArray
from fermisea.utilities.torchrun import ALONE, Processes


@dataclass(frozen=True)
class PotentialObservables:
    """Observables of an interatomic potential at one electronic temperature, for the whole cell.

    Attributes:
        free_energy: F, eV.
        entropy: S = -dF/dtau_e, eV/K.
        heat_capacity: C_e = tau_e dS/dtau_e, eV/K.
        deviations: posterior standard deviation of each of these and of ``internal_energy``, by name, in its unit; NaN
            where it is unknown.
    """

    free_energy: float
    entropy: float
    heat_capacity: float
    deviations: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class ThermalObservables:
    """Observables of one structure at one electronic temperature, for the whole cell.

    F, U, S and C_e come from an interatomic potential if ``uses_potential`` is set, and from the LDOS otherwise.

    Attributes:
        electron_temperature: tau_e, K.
        fermi_level: mu, eV.
        electrons: number of electrons in the DOS at mu.
        band_energy: E_b, eV.
        ldos_entropy: S of the LDOS, eV/K.
        ldos_heat_capacity: C_e = dE_b/dtau_e of the LDOS at fixed DOS and electron number, eV/K.
        free_energies: total free energy of the LDOS in every form, eV, anchored if ``anchored`` is set; empty if there
            is none.
        transfer_error: |F_KS - F_HF| / 2, eV, and for a functional of tau_e the error that both forms share; NaN
            without total energies.
        tail_electrons: number of electrons above the energies of the LDOS; 0 without a tail.
        tail_error: estimated error of F from these electrons, eV; 0 without a tail.
        density: (nx, ny, nz), 1/Angstrom^3; empty if it was not requested. On a large grid it has the precision of the
            network, otherwise double precision.
        reference_free_energy: total free energy of the LDOS alone at tau_ref, eV; NaN without total energies. Between
            two tau_ref it is the weighted mean of both.
        anchor_shift: F(tau_ref) of the anchor minus ``reference_free_energy``, eV; NaN without an anchor.
        unanchored: free energies of the LDOS alone in every form, eV; None if ``free_energies`` are these.
        potential: observables of an interatomic potential at tau_e; None without one.
        uses_potential: whether F, U, S and C_e come from this potential.
        further_entropy: share of S beyond the states at fixed D, eV/K: for a functional of tau_e, minus the derivative
            with respect to tau_e of the terms of F that depend on densities (S_xc, and the change of n_t); between two
            tau_ref, the change of their weights.
        further_heat_capacity: tau_e times the derivative of ``further_entropy`` with respect to tau_e, eV/K; between
            two tau_ref, the share of C_e from the change of their weights.
        functional: name of the exchange-correlation functional of F at tau_e; empty without total energies.
        blend_error: estimated error of F from the difference between the results of two tau_ref, eV; NaN for a single
            tau_ref.
    """

    electron_temperature: float
    fermi_level: float
    electrons: float
    band_energy: float
    ldos_entropy: float
    ldos_heat_capacity: float
    free_energies: dict[str, float]
    transfer_error: float
    tail_electrons: float
    tail_error: float
    density: FloatArray
    reference_free_energy: float = math.nan
    anchor_shift: float = math.nan
    unanchored: dict[str, float] | None = None
    potential: PotentialObservables | None = None
    uses_potential: bool = False
    further_entropy: float = 0.0
    further_heat_capacity: float = 0.0
    functional: str = ""
    blend_error: float = math.nan

    @property
    def anchored(self) -> bool:
        """Whether free and internal energies are anchored."""
        return self.unanchored is not None

    @property
    def free_energy(self) -> float:
        """Total free energy F, eV, of the potential or in the second-order form; NaN without total energies."""
        return self._of_potential("free_energy", self.free_energies.get("second_order", math.nan))

    @property
    def entropy(self) -> float:
        """S, eV/K, minus the derivative of F with respect to tau_e."""
        return self._of_potential("entropy", self.ldos_entropy + self.further_entropy)

    @property
    def heat_capacity(self) -> float:
        """C_e = tau_e dS/dtau_e at fixed ions and volume, and of the LDOS at fixed DOS, eV/K."""
        return self._of_potential("heat_capacity", self.ldos_heat_capacity + self.further_heat_capacity)

    @property
    def potential_free_energy(self) -> float:
        """F of the potential, eV; NaN without one."""
        return math.nan if self.potential is None else self.potential.free_energy

    @property
    def ldos_free_energy(self) -> float:
        """F from the LDOS alone, in the second-order form, eV; NaN without total energies."""
        own = self.free_energies if self.unanchored is None else self.unanchored
        return own.get("second_order", math.nan)

    @property
    def anchored_free_energy(self) -> float:
        """F of the anchor at tau_ref plus F(tau_e) - F(tau_ref) of the LDOS, eV; NaN without an anchor."""
        return self.ldos_free_energy + self.anchor_shift

    @property
    def free_energy_change(self) -> float:
        """F(tau_e) - F(tau_ref) of the LDOS, eV; NaN without total energies."""
        return self.ldos_free_energy - self.reference_free_energy

    @property
    def entropy_term(self) -> float:
        """-tau_e S, eV; negative."""
        return -self.electron_temperature * self.entropy

    def internal_energy(self, form: str | None = None) -> float:
        """Returns U = F + tau_e S, eV, or U of the LDOS in one form; NaN without total energies."""
        if form is None:
            return self.free_energy + self.electron_temperature * self.entropy
        entropy = self.ldos_entropy + self.further_entropy
        return self.free_energies.get(form, math.nan) + self.electron_temperature * entropy

    def _of_potential(self, name: str, otherwise: float) -> float:
        """Returns an observable of the potential if it is used, and the given value otherwise."""
        if self.potential is None or not self.uses_potential:
            return otherwise
        return float(getattr(self.potential, name))

    def anchor_to(self, free_energy: float, *, apply: bool = True) -> ThermalObservables:
        """Returns these observables with the free energy of an anchor at tau_ref.

        Args:
            free_energy: F(tau_ref) of the anchor, eV.
            apply: whether to shift the free energies, and the internal energy with them; otherwise only
                ``anchored_free_energy`` and ``anchor_shift`` are set.
        """
        own = self.free_energies if self.unanchored is None else self.unanchored
        shift = free_energy - self.reference_free_energy
        if not apply:
            return replace(self, free_energies=own, unanchored=None, anchor_shift=shift)
        shifted = {form: energy + shift for form, energy in own.items()}
        return replace(self, free_energies=shifted, unanchored=own, anchor_shift=shift)


def thermal_observables(
    dos: DensityOfStates,
    densities: Densities | None,
    *,
    atoms: Atoms,
    grid: RealSpaceGrid,
    ions: Mapping[str, Ion],
    functional_name: str,
    electron_temperatures: Sequence[float],
    reference_electron_temperature: float | None,
    thermal_xc: str | None = None,
) -> list[ThermalObservables]:
    """Returns the observables at each electronic temperature.

    Args:
        dos: LDOS integrated over the cell.
        densities: function that returns the densities of the same LDOS on the grid in one call; None without densities.
        atoms: structure.
        grid: grid of the densities.
        ions: ion of each element.
        functional_name: name of the exchange-correlation functional.
        electron_temperatures: tau_e, K, each within the window (``window.check_temperature`` checks).
        reference_electron_temperature: tau_ref, K, whose density defines the Hamiltonian of the LDOS; None for no total
            free energy.
        thermal_xc: name of the exchange-correlation functional of F at tau_e; by default the one of the LDOS.

    Raises:
        InputError: for an unknown element or functional, a temperature not above zero, or a window too small for the
            electrons.
    """
    temperatures = [*electron_temperatures]
    if reference_electron_temperature is not None:
        temperatures.append(reference_electron_temperature)
    whole = reference_electron_temperature is not None and densities is not None
    around = needs_neighbours(thermal_xc or functional_name) if whole else False
    levels = thermal_levels(dos, electrons(ions, list(atoms.symbols)), temperatures, around=around)
    states = levels.states(None if densities is None else densities(levels.integrals))
    reference = None if reference_electron_temperature is None else states.pop()
    return observables_of(
        dos,
        states,
        reference,
        atoms=atoms,
        grid=grid,
        ions=ions,
        functional_name=functional_name,
        thermal_xc=thermal_xc,
    )


def observables_of(
    dos: DensityOfStates,
    states: Sequence[ThermalState],
    reference: ThermalState | None,
    *,
    atoms: Atoms,
    grid: RealSpaceGrid,
    ions: Mapping[str, Ion],
    functional_name: str,
    thermal_xc: str | None = None,
    processes: Processes = ALONE,
) -> list[ThermalObservables]:
    """Returns the observables of states; ``reference`` is the state at tau_ref, or None for no total free energy.

    ``processes`` share the planes of the densities. Other arguments are described in :func:`thermal_observables`.
    """
    symbols: list[str] = list(atoms.symbols)
    valence = charges(ions, symbols)
    form, at_reference, hot = None, math.nan, None
    if reference is not None and reference.density is not None:
        hot = smooth_functional(thermal_xc or functional_name)
        positions = torch.as_tensor(atoms.positions, dtype=torch.float64)
        fields = FourierGrid(torch.as_tensor(grid.lattice), grid.shape, processes)
        form = FreeEnergyFunctional(
            reference_density=reference.density,
            core_density=core_density(ions, symbols, positions, fields),
            grid=fields,
            functional=smooth_functional(functional_name).at(reference.electron_temperature),
            ion_energy=float(ewald_energy(positions, torch.tensor(valence, dtype=torch.float64), fields.cell)),
        )
        w = reference.weights
        band_free_energy = dos.integral(w.band_energy - reference.electron_temperature * w.entropy)
        at_reference = form.forms(band_free_energy, reference.density)["second_order"]
    found: dict[float, ThermalObservables] = {}
    for state in {state.electron_temperature: state for state in states}.values():
        w, t = state.weights, state.electron_temperature
        band_energy, entropy = dos.integral(w.band_energy), dos.integral(w.entropy)
        total = free_energies(form, state, band_energy - t * entropy, hot)
        found[t] = ThermalObservables(
            electron_temperature=t,
            fermi_level=state.fermi_level,
            electrons=dos.integral(w.electrons),
            band_energy=band_energy,
            ldos_entropy=entropy,
            ldos_heat_capacity=dos.heat_capacity(math.fsum(valence), t, state.fermi_level),
            free_energies=total.forms,
            transfer_error=total.transfer_error,
            tail_electrons=dos.tail_electrons(state.fermi_level, t),
            tail_error=dos.tail_error(state.fermi_level, t),
            density=np.empty((0, 0, 0)) if state.density is None else np.asarray(state.density),
            reference_free_energy=at_reference,
            further_entropy=total.density_entropy,
            further_heat_capacity=total.density_heat_capacity,
            functional="" if hot is None else hot.name,
        )
    return [found[state.electron_temperature] for state in states]
