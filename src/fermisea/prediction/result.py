"""Result of a prediction: observables at one or several electronic temperatures, with units."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress

from fermisea.errors import InputError
from fermisea.grid import RealSpaceGrid
from fermisea.physics.density_of_states import DensityOfStates
from fermisea.physics.free_energy import check_form
from fermisea.physics.observables import ThermalObservables
from fermisea.physics.registry import OBSERVABLES
from fermisea.prediction.dataset import dataset_of
from fermisea.prediction.forces import Mechanics
from fermisea.prediction.spread import spreads_of, uncertainty_of
from fermisea.prediction.table import described, rows_of, table_of
from fermisea.prediction.uncertainty import Uncertainty
from fermisea.utilities.arrays import FloatArray
from fermisea.utilities.torchrun import ALONE, Processes

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


NO_REGULAR_PART = "anchor: this model has no anchor; train it on at least two structures with total free energies"
"""Error text for an anchored free energy of a model without an interatomic potential."""

NO_POTENTIAL = (
    "potential: this model has none; train it on at least eight structures with total free energies and a window for "
    "tau_e above tau_ref, with the settings anchor and potential"
)
"""Error text for a potential at every tau_e of a model without one."""


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """Observables of one structure at one or several electronic temperatures.

    A single temperature gives plain numbers, a sequence gives arrays with one entry for each.

    Attributes:
        atoms: structure.
        grid: grid of the density.
        density_of_states: DOS of the structure at tau_ref; of several tau_ref, the DOS of the one with the largest
            weight at the lowest tau_e.
        results: observables at each tau_e; F, U, S and C_e have the origin ``origin``.
        reference_electron_temperature: tau_ref of the model, K; the lowest of several.
        further_references: every higher tau_ref whose results contribute, K; the results are a blend.
        scalar: whether tau_e was a single temperature, not a sequence.
        errors: estimated errors of short cuts, by name, for each of the results, eV.
        total_energy_obstacle: reason why there is no total free energy; None if there is one.
        uncertainty: spread over the networks of an ensemble, anchored like the results; None without an ensemble.
        anchor: free energy of the model's interatomic potential at tau_ref, eV; None without one.
        anchor_std: estimated standard error of ``anchor``, eV; 0 without one. For several tau_ref, at each tau_e.
        anchored: whether the free energies of the LDOS are shifted to F of this potential at tau_ref.
        mechanics: forces and stress for each of the results; None if not requested.
        warnings: a sentence for each way in which structure or results leave the domain of the model.
        functional: name of the exchange-correlation functional of the model.
        thermal_xc: name of another functional, which gives F at tau_e; None if it is the one of the model.
        processes: processes that share the prediction. Each has all numbers, and of every density some planes.
    """

    atoms: Atoms
    grid: RealSpaceGrid
    density_of_states: DensityOfStates
    results: tuple[ThermalObservables, ...]
    reference_electron_temperature: float
    scalar: bool
    errors: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    total_energy_obstacle: str | None = None
    uncertainty: Uncertainty | None = None
    anchor: float | None = None
    anchor_std: float | FloatArray = 0.0
    anchored: bool = False
    mechanics: tuple[Mechanics, ...] | None = None
    warnings: tuple[str, ...] = ()
    functional: str = ""
    thermal_xc: str | None = None
    further_references: tuple[float, ...] = ()
    processes: Processes = ALONE

    @cached_property
    def data(self) -> xr.Dataset:
        """All observables as an xarray data set, with unit and description of each in its attributes.

        Dimensions are electron_temperature (absent for a single one), form, energy, x, y, z, atom, axis.
        """
        data = dataset_of(self)
        return data.isel(electron_temperature=0) if self.scalar else data

    def rows(self, *, per_atom: bool = False) -> list[dict[str, float]]:
        """Returns a row of numbers for each tau_e, named as in :data:`fermisea.physics.registry.OBSERVABLES`.

        Args:
            per_atom: whether to divide extensive observables by the number of atoms.
        """
        return rows_of(self, per_atom=per_atom)

    def table(self, *, per_atom: bool = False) -> pd.DataFrame:
        """Returns the numbers at each tau_e as a pandas table with units in the column headings.

        Args:
            per_atom: whether to divide extensive observables by the number of atoms.
        """
        return table_of(self, per_atom=per_atom)

    def __repr__(self) -> str:
        return described(self)

    @property
    def electron_temperature(self) -> Any:
        """tau_e, K."""
        return self._values("electron_temperature")

    @property
    def free_energy(self) -> Any:
        """Total free energy F of the cell, eV, from the ``origin``; of the LDOS in the second-order form."""
        self._check_total("free energy")
        return self._values("free_energy")

    @property
    def origin(self) -> str:
        """Origin of F, U, S, C_e, forces and stress: ``"potential"``, ``"anchored"`` or ``"ldos"``."""
        if self.results[0].uses_potential:
            return "potential"
        return "anchored" if self.anchored else "ldos"

    @property
    def ldos_free_energy(self) -> Any:
        """F from the LDOS alone, in the second-order form, eV."""
        self._check_total("free energy")
        return self._values("ldos_free_energy")

    @property
    def anchored_free_energy(self) -> Any:
        """F of the regular model at tau_ref plus F(tau_e) - F(tau_ref) of the LDOS, eV.

        Raises:
            InputError: without a density, without total energies, or without an anchor.
        """
        self._check_anchor()
        return self._values("anchored_free_energy")

    @property
    def potential_free_energy(self) -> Any:
        """F of the interatomic potential at tau_e, eV; NaN above its highest tau_e.

        Raises:
            InputError: without a density, without total energies, or without a potential.
        """
        self._check_total("free energy")
        if all(math.isnan(result.potential_free_energy) for result in self.results):
            raise InputError("potential: the model has no F of a potential at this tau_e")
        return self._values("potential_free_energy")

    @property
    def anchor_shift(self) -> Any:
        """Anchored free energy minus the free energy of the LDOS alone, eV; a single number for a single tau_ref.

        Raises:
            InputError: as ``anchored_free_energy``.
        """
        self._check_anchor()
        if self.further_references:
            return self._numbers([result.anchor_shift for result in self.results])
        return self.results[0].anchor_shift

    @property
    def free_energy_std(self) -> Any:
        """Spread of the free energy, eV: of the potential, or over the networks of an ensemble.

        The networks share the anchor, so the spread of an anchored F is the spread of F(tau_e) - F(tau_ref).

        Raises:
            InputError: without a potential or an ensemble, a density or total energies.
        """
        self._check_total("free energy")
        found = spreads_of(self)
        if "free_energy" not in found:
            raise InputError(
                "uncertainty: there is no ensemble spread; use a model with several networks and uncertainty=True"
            )
        return self._numbers(found["free_energy"])

    @property
    def free_energy_uncertainty(self) -> Any:
        """Estimated standard error of the free energy, eV; NaN without a spread.

        The spread of the potential or, for an anchored F, the spread over the networks and the error of the anchor, and
        the errors of transfer, tail and blend, added in squares. The spread over networks counts as at least the
        difference from F of the potential or, for F of the LDOS alone, from an anchored F.

        Raises:
            InputError: without a density or total energies.
        """
        self._check_total("free energy")
        return self._numbers(uncertainty_of(self))

    @property
    def forces(self) -> Any:
        """Forces, -dF/dr, (atoms, 3), eV/Angstrom; for several tau_e one array each.

        Raises:
            InputError: if they were not requested.
        """
        return self._mechanical("forces")

    @property
    def stress(self) -> Any:
        """Stress, (dF/dstrain)/volume, (3, 3), eV/Angstrom^3; for several tau_e one array each.

        Positive under tension, as in ASE.

        Raises:
            InputError: if forces were not requested.
        """
        return self._mechanical("stress")

    def frames(self) -> list[Atoms]:
        """Returns the structure for each tau_e, with free energy, forces and stress (ASE's order) in its calculator.

        Raises:
            InputError: if forces were not requested.
        """
        found = []
        energies, forces, stress = (np.asarray(values) for values in (self.free_energy, self.forces, self.stress))
        pairs = zip(energies.reshape(-1), forces.reshape(-1, len(self.atoms), 3), stress.reshape(-1, 3, 3), strict=True)
        for result, (energy, force, tension) in zip(self.results, pairs, strict=True):
            atoms = self.atoms.copy()
            voigt = full_3x3_to_voigt_6_stress(tension)
            kept = {"energy": float(energy), "free_energy": float(energy), "forces": force, "stress": voigt}
            atoms.calc = SinglePointCalculator(atoms, **kept)
            atoms.info["electron_temperature"] = result.electron_temperature
            found.append(atoms)
        return found

    def _mechanical(self, name: str) -> FloatArray:
        if self.mechanics is None:
            raise InputError("forces: this prediction has none; predict with forces=True")
        values = np.stack([OBSERVABLES[name].getter(mechanics) for mechanics in self.mechanics])
        return values[0] if self.scalar else values

    def free_energy_by(self, form: str) -> Any:
        """Returns F of the LDOS, anchored if ``anchored`` is set, in a form of :mod:`fermisea.physics.free_energy`, eV.

        Raises:
            InputError: for an unknown form, with a list of the known forms; without a density or total energies.
        """
        check_form(form)
        self._check_total("free energy")
        return self._values(f"free_energy_{form}")

    @property
    def transfer_error(self) -> Any:
        """|F_KS - F_HF| / 2, eV: an estimate of the error from tau_ref to tau_e.

        Where the functional at tau_e is not the one in the Hamiltonian of the LDOS, the estimated error that both forms
        share is added.
        """
        self._check_total("transfer error")
        return self._values("transfer_error")

    @property
    def blend_error(self) -> Any:
        """Estimated error of F from the difference between the results of two tau_ref, eV; NaN for a single tau_ref."""
        return self._values("blend_error")

    @property
    def tail_electrons(self) -> Any:
        """Number of electrons above the energy window, where free electrons continue the LDOS; 0 without a tail."""
        return self._values("tail_electrons")

    @property
    def tail_error(self) -> Any:
        """Estimated error of F of the LDOS from the electrons above the energy window, eV; 0 without a tail."""
        return self._values("tail_error")

    @property
    def band_energy(self) -> Any:
        """E_b, the integral of f eps D, eV."""
        return self._values("band_energy")

    @property
    def entropy(self) -> Any:
        """S, positive, eV/K, from the ``origin``."""
        return self._values("entropy")

    @property
    def ldos_entropy(self) -> Any:
        """S of the states of the LDOS at fixed D, eV/K."""
        return self._numbers([result.ldos_entropy for result in self.results])

    @property
    def internal_energy(self) -> Any:
        """U = F + tau_e S, eV."""
        self._check_total("internal energy")
        return self._values("internal_energy")

    @property
    def fermi_level(self) -> Any:
        """mu, eV."""
        return self._values("fermi_level")

    @property
    def heat_capacity(self) -> Any:
        """C_e at fixed ions and volume, eV/K, from the ``origin``; of the LDOS at fixed DOS."""
        return self._values("heat_capacity")

    @property
    def ldos_heat_capacity(self) -> Any:
        """C_e from the LDOS, at fixed ions, volume and DOS, eV/K."""
        return self._numbers([result.ldos_heat_capacity for result in self.results])

    @property
    def electrons(self) -> Any:
        """Number of valence electrons in the DOS at mu."""
        return self._values("electrons")

    @property
    def dos(self) -> FloatArray:
        """D(eps), both spins, (energies,), 1/eV; it does not depend on tau_e."""
        return self.density_of_states.dos

    @property
    def energies(self) -> FloatArray:
        """Energies of the DOS, (energies,), eV."""
        return self.density_of_states.energies

    @property
    def density(self) -> FloatArray:
        """n(r), (nx, ny, nz) or (temperatures, nx, ny, nz), 1/Angstrom^3.

        Where processes share the prediction, each has ``processes.part(grid.shape[0])`` of the planes.
        """
        self._check_density("density")
        return self.results[0].density if self.scalar else np.stack([r.density for r in self.results])

    @property
    def has_density(self) -> bool:
        """Whether densities were requested."""
        return bool(self.results[0].density.size)

    @property
    def has_free_energy(self) -> bool:
        """Whether there are total free energies."""
        return bool(self.results[0].free_energies)

    @property
    def dos_grid_error(self) -> Any:
        """Change of E_b - TS of the cell by a separate grid for the DOS, eV.

        With a density, it is the value of this grid minus the value of the grid of the density; without a density, the
        value of every second point minus the value of all points.
        """
        return self._error("dos_grid_error")

    @property
    def precision_error(self) -> Any:
        """Change of E_b - TS of the cell by bfloat16, from a sample of points, eV."""
        return self._error("precision_error_band_free_energy")

    def _values(self, name: str) -> Any:
        return self._numbers([OBSERVABLES[name].getter(result) for result in self.results])

    def _numbers(self, values: Sequence[float] | FloatArray) -> Any:
        found = np.array(values)
        return float(found[0]) if self.scalar else found

    def _error(self, name: str) -> Any:
        if name not in self.errors:
            raise InputError(f"{name}: this prediction used no such short cut (dos_grid, precision)")
        return self._numbers(self.errors[name])

    def _check_density(self, name: str) -> None:
        if not self.has_density:
            raise InputError(f"{name}: this prediction has no density; predict with density=True")

    def _check_anchor(self) -> None:
        self._check_total("free energy")
        if self.anchor is None:
            raise InputError(NO_REGULAR_PART)

    def _check_total(self, name: str) -> None:
        if self.total_energy_obstacle:
            raise InputError(f"{name}: {self.total_energy_obstacle}")
        self._check_density(name)
