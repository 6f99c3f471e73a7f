"""From an LDOS, stored or predicted, to the free energy and all its parts at any electronic temperature."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from ase import Atoms

from fermisea.energies import Ion, charges, core_density, ewald_energy, functional
from fermisea.free_energy import FreeEnergyFunctional, transfer_error
from fermisea.grid import RealSpaceGrid
from fermisea.observables import DensityOfStates

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ThermalObservables:
    """Everything that follows from one LDOS at one electronic temperature, for the whole cell.

    Attributes:
        electron_temperature: tau_e, K.
        fermi_level: mu, eV.
        electrons: number that the DOS holds at mu.
        band_energy: E_b, eV.
        entropy: S, eV/K.
        heat_capacity: dE_b/dtau_e at fixed DOS and electron number, eV/K.
        free_energies: total free energy in every form, eV; empty without a density or where there is none to be had.
        transfer_error: |F_KS - F_HF| / 2, eV; NaN without free energies.
        density: (nx, ny, nz), 1/Angstrom^3; empty where none was asked for.
        reference_free_energy: total free energy of the same LDOS at tau_ref, eV; NaN without free energies.
    """

    electron_temperature: float
    fermi_level: float
    electrons: float
    band_energy: float
    entropy: float
    heat_capacity: float
    free_energies: dict[str, float]
    transfer_error: float
    density: FloatArray
    reference_free_energy: float = math.nan

    def internal_energy(self, form: str = "second_order") -> float:
        """Returns U = F + tau_e S, eV."""
        return self.free_energies[form] + self.electron_temperature * self.entropy


def thermal_observables(
    dos: DensityOfStates,
    densities: Callable[[Sequence[FloatArray]], Sequence[FloatArray]] | None,
    *,
    atoms: Atoms,
    grid: RealSpaceGrid,
    ions: Mapping[str, Ion],
    functional_name: str,
    electron_temperatures: Sequence[float],
    reference_electron_temperature: float | None,
) -> list[ThermalObservables]:
    """Returns the observables at each electronic temperature.

    Args:
        dos: the LDOS integrated over the cell.
        densities: turns integration weights of the electron number, each (energies,), into the densities of the same
            LDOS on the grid, each (nx, ny, nz), 1/Angstrom^3, all in one call; None for what needs no density.
        atoms: the structure.
        grid: of the densities.
        ions: of each element.
        functional_name: exchange and correlation.
        electron_temperatures: tau_e, K, each within the window (``observables.check_temperature`` checks).
        reference_electron_temperature: tau_ref, K, whose density defines the Hamiltonian of the LDOS; None for no total
            free energy.

    Raises:
        InputError: for an unknown element, a temperature not above zero, or a window too small for the electrons.
    """
    symbols: list[str] = list(atoms.symbols)
    valence = charges(ions, symbols)
    electrons = float(sum(valence))
    temperatures = list(electron_temperatures)
    if reference_electron_temperature is not None:
        temperatures.append(reference_electron_temperature)
    levels = [dos.fermi_level(electrons, t) for t in temperatures]
    weights = [dos.weights(mu, t) for mu, t in zip(levels, temperatures, strict=True)]
    fields = None if densities is None else densities([w.electrons for w in weights])
    form, at_reference = None, math.nan
    if fields is not None and reference_electron_temperature is not None:
        positions = torch.as_tensor(atoms.positions, dtype=torch.float64)
        cell = torch.as_tensor(grid.lattice)
        form = FreeEnergyFunctional(
            reference_density=fields[-1],
            core_density=core_density(ions, symbols, positions, cell, grid.shape),
            cell=cell,
            functional=functional(functional_name),
            ion_energy=float(ewald_energy(positions, torch.tensor(valence, dtype=torch.float64), cell)),
        )
        band_free_energy = float((weights[-1].band_energy - temperatures[-1] * weights[-1].entropy) @ dos.dos)
        at_reference = form.forms(band_free_energy, fields[-1])["second_order"]
    results = []
    for k, t in enumerate(electron_temperatures):
        mu, w = levels[k], weights[k]
        band_energy, entropy = float(w.band_energy @ dos.dos), float(w.entropy @ dos.dos)
        forms = {} if form is None or fields is None else form.forms(band_energy - t * entropy, fields[k])
        results.append(
            ThermalObservables(
                electron_temperature=float(t),
                fermi_level=mu,
                electrons=float(w.electrons @ dos.dos),
                band_energy=band_energy,
                entropy=entropy,
                heat_capacity=dos.heat_capacity(electrons, t),
                free_energies=forms,
                transfer_error=transfer_error(forms) if forms else math.nan,
                density=np.empty((0, 0, 0)) if fields is None else np.asarray(fields[k], dtype=np.float64),
                reference_free_energy=at_reference,
            )
        )
    return results
