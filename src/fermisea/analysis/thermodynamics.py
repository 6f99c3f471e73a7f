"""Thermodynamics of the electrons of fixed ions over a range of electronic temperatures."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from fermisea import units
from fermisea.analysis.states import states_of
from fermisea.errors import InputError
from fermisea.model.model import Model
from fermisea.physics.conductivity import ConductivityLaw
from fermisea.physics.density_of_states import DensityOfStates
from fermisea.physics.electron_phonon import COUPLING_LIMITS, coupling_factor
from fermisea.physics.registry import OBSERVABLES
from fermisea.physics.tau_dependence import thermal_functional
from fermisea.physics.window import check_range
from fermisea.prediction.origin import FreeEnergy, without_potential
from fermisea.prediction.result import Prediction
from fermisea.prediction.route import Route
from fermisea.utilities.arrays import FloatArray
from fermisea.utilities.devices import DeviceName
from fermisea.utilities.tables import data_frame

if TYPE_CHECKING:
    import pandas as pd

_FIRST, _MOST = 9, 200
"""Initial and largest number of electronic temperatures."""


@dataclass(frozen=True, eq=False)
class Thermodynamics:
    """Electrons in equilibrium at each tau_e, with fixed ions and volume, for the whole cell.

    Attributes:
        atoms: the structure.
        electrons: number of electrons.
        electron_temperature: tau_e, ascending, (n,), K.
        free_energy: F, (n,), eV; NaN if the model has no total free energy.
        internal_energy: U = F + tau_e S, (n,), eV; NaN if the model has no total free energy.
        entropy: S, (n,), eV/K.
        fermi_level: mu, (n,), eV.
        heat_capacity: C_e = dU/dtau_e, (n,), eV/K; of the LDOS at fixed density of states.
        pressure: electronic pressure P_e = -d(F(tau_e) - F(tau_1))/dV with tau_1 the lowest tau_e, (n,), eV/Angstrom^3;
            NaN if it was not requested.
        transfer_error: estimated error of F(tau_e) - F(tau_ref), (n,), eV; NaN without F.
        prediction: prediction at all tau_e.
        fermi_level_dos: density of states at the Fermi level, the integral of D (-df/deps), (n,), 1/eV.
        coupling: electron-phonon coupling G, (n,), eV/(ps K Angstrom^3); NaN without lambda<omega^2>.
        cold_fermi_level_dos: D(eps_F) of cold electrons in the denominator of G, 1/eV; NaN without G.
        conductivity: thermal conductivity of the electrons kappa_e, (n,), eV/(ps K Angstrom); NaN without a law.
        lambda_omega2: lambda<omega^2> in G, meV^2; None without G.
        conductivity_law: law of kappa_e; None without kappa_e.
    """

    atoms: Atoms
    electrons: float
    electron_temperature: FloatArray
    free_energy: FloatArray
    internal_energy: FloatArray
    entropy: FloatArray
    fermi_level: FloatArray
    heat_capacity: FloatArray
    pressure: FloatArray
    transfer_error: FloatArray
    prediction: Prediction
    fermi_level_dos: FloatArray
    coupling: FloatArray
    conductivity: FloatArray
    cold_fermi_level_dos: float = math.nan
    lambda_omega2: float | None = None
    conductivity_law: ConductivityLaw | None = None

    @property
    def volume(self) -> float:
        """Volume of the cell, Angstrom^3."""
        return float(self.atoms.get_volume())

    @property
    def mass_density(self) -> float:
        """Mass of the ions per volume, kg/m^3."""
        return float(self.atoms.get_masses().sum()) / self.volume * units.MASS_DENSITY

    @property
    def volumetric_heat_capacity(self) -> FloatArray:
        """C_e per volume, (n,), J/(m^3 K)."""
        return self.heat_capacity / self.volume * (units.ELECTRONVOLT / units.METRE_PER_ANGSTROM**3)

    @property
    def sommerfeld_coefficient(self) -> FloatArray:
        """C_e / tau_e per volume, (n,), J/(m^3 K^2); constant for degenerate electrons."""
        return self.volumetric_heat_capacity / self.electron_temperature

    @property
    def limits(self) -> tuple[str, ...]:
        """Sentences on the validity of G and kappa_e, to be shown with their values."""
        found: tuple[str, ...] = ()
        if self.lambda_omega2 is not None:
            cold = self.cold_fermi_level_dos / len(self.atoms)
            found = (
                *COUPLING_LIMITS,
                f"G is proportional to 1/D(eps_F) of cold electrons, here {cold:.4g} 1/(eV atom)",
            )
        if (law := self.conductivity_law) is None:
            return found
        return (*found, f"kappa_e = {law.formula} at tau_i = {law.ion_temperature:g} K, a law with given parameters")

    def rows(self) -> list[dict[str, float]]:
        """Returns one row of named numbers for each tau_e: per atom in eV, per volume in SI units."""
        known = {name: values for name, (_, values) in self._columns().items() if not np.isnan(values).all()}
        return [
            {name: float(value) for name, value in zip(known, row, strict=True)}
            for row in zip(*known.values(), strict=True)
        ]

    def table(self) -> pd.DataFrame:
        """Returns the rows as a pandas table with units in the column headings."""
        rows, columns = self.rows(), self._columns()
        return data_frame(rows, {name: columns[name][0] for name in rows[0]})

    def _columns(self) -> dict[str, tuple[str, FloatArray]]:
        """Returns heading and values of each column, by its name in ``rows``."""
        atoms = len(self.atoms)

        def head(name: str) -> str:
            return OBSERVABLES[name].head(per_atom=True)

        return {
            "electron_temperature_K": (head("electron_temperature"), self.electron_temperature),
            "free_energy_eV_per_atom": (head("free_energy"), self.free_energy / atoms),
            "internal_energy_eV_per_atom": (head("internal_energy"), self.internal_energy / atoms),
            "entropy_eV_per_K_atom": (head("entropy"), self.entropy / atoms),
            "fermi_level_eV": (head("fermi_level"), self.fermi_level),
            "heat_capacity_eV_per_K_atom": (head("heat_capacity"), self.heat_capacity / atoms),
            "heat_capacity_J_per_m3_K": ("heat_capacity (J/(m^3 K))", self.volumetric_heat_capacity),
            "sommerfeld_coefficient_J_per_m3_K2": ("sommerfeld_coefficient (J/(m^3 K^2))", self.sommerfeld_coefficient),
            "electronic_pressure_GPa": ("electronic_pressure (GPa)", self.pressure / units.GIGAPASCAL),
            "fermi_level_dos_per_eV_atom": ("fermi_level_dos (1/(eV atom))", self.fermi_level_dos / atoms),
            "electron_phonon_coupling_W_per_m3_K": (
                "electron_phonon_coupling (W/(m^3 K))",
                self.coupling * units.COUPLING,
            ),
            "thermal_conductivity_W_per_m_K": (
                "thermal_conductivity (W/(m K))",
                self.conductivity * units.CONDUCTIVITY,
            ),
            "transfer_error_eV_per_atom": (head("transfer_error"), self.transfer_error / atoms),
            **{
                f"{name}_{unit}": (head(name), np.array([getattr(r, name) for r in self.prediction.results]) / atoms)
                for name, unit in (("tail_electrons", "per_atom"), ("tail_error", "eV_per_atom"))
            },
        }


def thermo(
    model: Model,
    atoms: Atoms,
    highest: float,
    *,
    lowest: float = 300.0,
    tolerance: float = 1e-3,
    pressure: bool = True,
    free_energy: FreeEnergy | None = None,
    anchor: bool | None = None,
    grid: tuple[int, int, int] | None = None,
    tail: bool = True,
    allow_beyond_window: bool = False,
    allow_outside: bool = False,
    thermal_xc: str | None = None,
    lambda_omega2: float | None = None,
    conductivity: ConductivityLaw | None = None,
    device: DeviceName | None = None,
    route: Route | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Thermodynamics:
    """Returns the thermodynamics of the electrons from ``lowest`` to ``highest`` tau_e.

    The electronic temperatures are chosen such that C_e and mu can be interpolated linearly.

    Args:
        model: model for the predictions.
        atoms: a periodic structure, Angstrom.
        highest: highest tau_e, K.
        lowest: lowest tau_e, K.
        tolerance: error of the linear interpolation, as a fraction of the largest C_e and of k_B times the highest
            tau_e.
        pressure: whether the electronic pressure is computed; with the LDOS it needs a pass over the grid for each
            tau_e.
        free_energy: origin of F, S, C_e and pressure, as in :meth:`fermisea.Model.predict`.
        anchor: short form: True for ``"anchored"``, False for ``"ldos"``.
        grid: number of grid points along each lattice vector; by default, spacing as in training.
        tail: whether free electrons continue the LDOS above its energies, as in :meth:`fermisea.Model.predict`.
        allow_beyond_window: whether a tau_e that the window does not serve gives a warning instead of an error.
        allow_outside: whether a structure or an energy that cannot exist gives a warning instead of an error.
        thermal_xc: exchange-correlation functional of F, S, C_e and pressure, as in :meth:`fermisea.Model.predict`.
        lambda_omega2: lambda<omega^2> of the material, meV^2, for the electron-phonon coupling; see
            :mod:`fermisea.physics.electron_phonon`.
        conductivity: law for the thermal conductivity; see :func:`fermisea.physics.conductivity.conductivity_law`.
        device: device of networks and descriptors, as in :meth:`fermisea.Model.predict`.
        route: route of the descriptors, as in :meth:`fermisea.Model.predict`.
        progress: callback with the number of finished points and the total number, for the last prediction.

    Raises:
        InputError: for an invalid range or lambda<omega^2>, an anchor or ``thermal_xc`` for a model without total
            energies, or as ``Model.predict``.
        WindowError: if the energy window does not serve ``highest``.
    """
    for temperature in (lowest, highest):
        check_range(temperature)
    if not lowest < highest:
        raise InputError(
            f"electron temperatures: got a range from {lowest:g} to {highest:g} K, expected a rising range"
        )
    if not 0 < tolerance < 1:
        raise InputError(f"tolerance: got {tolerance:g}, expected a number between 0 and 1")
    whole = model.total_energy_obstacle is None
    if (anchor or free_energy is not None) and not whole:
        raise InputError(f"{'free energy' if anchor is None else 'anchor'}: {model.total_energy_obstacle}")
    if (hot := thermal_functional(thermal_xc, model.functional, model.total_energy_obstacle)) is not None:
        free_energy = without_potential(free_energy, anchor, model.functional, hot, anchored=model.anchor is not None)
    if lambda_omega2 is not None:
        coupling_factor(lambda_omega2)  # refuses an invalid value before the passes over the grid
    options: dict[str, Any] = {"tail": tail, "allow_beyond_window": allow_beyond_window, "allow_outside": allow_outside}
    options |= {"device": device, "route": route}
    states = states_of(model, atoms, lowest, highest, grid, options, cold=lambda_omega2 is not None)
    temperatures = _chosen(states.hottest, states.electrons, lowest, highest, tolerance)
    prediction = model.predict(
        atoms,
        temperatures.tolist(),
        states.grid,
        density=whole,
        free_energy=free_energy,
        anchor=anchor if whole else False,
        forces=pressure and whole,
        uncertainty=False,
        thermal_xc=hot,
        progress=progress,
        **options,
    )
    unknown = np.full(temperatures.size, np.nan)
    found = unknown
    if pressure and whole:
        found = -np.trace(prediction.stress, axis1=1, axis2=2) / 3
        found = found - found[0]
    volume = float(prediction.atoms.get_volume())
    coupling, conduction, cold = unknown, unknown, math.nan
    if lambda_omega2 is not None:
        cold = states.cold_fermi_level_dos
        coupling = states.coupling(temperatures, lambda_omega2, volume)
    if conductivity is not None:
        conduction = conductivity.conductivity(temperatures, prediction.heat_capacity / volume)
    return Thermodynamics(
        atoms=prediction.atoms,
        electrons=states.electrons,
        electron_temperature=temperatures,
        free_energy=prediction.free_energy if whole else unknown,
        internal_energy=prediction.internal_energy if whole else unknown,
        entropy=prediction.entropy,
        fermi_level=prediction.fermi_level,
        heat_capacity=prediction.heat_capacity,
        pressure=found,
        transfer_error=prediction.transfer_error if whole else unknown,
        prediction=prediction,
        fermi_level_dos=states.fermi_level_dos(temperatures),
        coupling=coupling,
        conductivity=conduction,
        cold_fermi_level_dos=cold,
        lambda_omega2=lambda_omega2,
        conductivity_law=conductivity,
    )


def _chosen(dos: DensityOfStates, electrons: float, lowest: float, highest: float, tolerance: float) -> FloatArray:
    """Returns ascending temperatures, K, between which C_e and mu are nearly linear."""
    known: dict[float, FloatArray] = {}

    def values(temperature: float) -> FloatArray:
        """Returns C_e, eV/K, and mu, eV."""
        if temperature not in known:
            level = dos.fermi_level(electrons, temperature)
            known[temperature] = np.array([dos.heat_capacity(electrons, temperature, level), level])
        return known[temperature]

    chosen = [float(t) for t in np.linspace(lowest, highest, _FIRST)]
    waiting = list(itertools.pairwise(chosen))
    largest = max(abs(values(t)[0]) for t in chosen)
    allowed = tolerance * np.array([largest, units.thermal_energy(highest)])
    while waiting and len(chosen) < _MOST:
        low, high = waiting.pop(0)  # first in, first out: a limited number of temperatures is distributed evenly
        middle = (low + high) / 2
        if (abs(values(middle) - (values(low) + values(high)) / 2) > allowed).any():
            bisect.insort(chosen, middle)
            waiting += [(low, middle), (middle, high)]
    return np.array(chosen)
