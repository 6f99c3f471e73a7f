"""What a prediction gives: observables at one or several electronic temperatures, with units."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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
from fermisea.physics.free_energy import FORMS, check_form
from fermisea.physics.observables import ThermalObservables
from fermisea.prediction.forces import Mechanics
from fermisea.prediction.uncertainty import Uncertainty
from fermisea.utilities.arrays import FloatArray

if TYPE_CHECKING:
    import xarray as xr


NO_REGULAR_PART = "anchor: this model has no regular part; train on structures with total free energies, two or more"
"""What is said to whoever asks for an anchored free energy of a model that has none."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """Observables of one structure at one or several electronic temperatures.

    A single temperature gives plain numbers, a sequence gives arrays with one entry for each.

    Attributes:
        atoms: the structure.
        grid: of the density.
        density_of_states: of the structure; it does not depend on tau_e.
        results: observables at each tau_e.
        reference_electron_temperature: tau_ref of the model, K.
        scalar: whether a single temperature was asked for, not a sequence.
        errors: estimates of what short cuts cost, by name, for each of the results, eV.
        total_energy_obstacle: why there is no total free energy, if so.
        uncertainty: spread of the members where the model is an ensemble, else None.
        anchor: free energy of the model's regular part, at tau_ref, eV; None where it has none.
        anchored: whether free and internal energies, forces and stress start from the anchor.
        mechanics: forces and stress for each of the results, if they were asked for.
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
    anchored: bool = False
    mechanics: tuple[Mechanics, ...] | None = None

    @cached_property
    def data(self) -> xr.Dataset:
        """Everything as an xarray data set with units in the attributes.

        Dimensions are electron_temperature (absent for a single one), form, energy, x, y, z.
        """
        data = _dataset(self)
        return data.isel(electron_temperature=0) if self.scalar else data

    @property
    def electron_temperature(self) -> Any:
        """tau_e, K."""
        return self._each(lambda r: r.electron_temperature)

    @property
    def free_energy(self) -> Any:
        """Total free energy F of the cell in the second-order form, eV: anchored if ``anchored`` is set."""
        return self.free_energy_by("second_order")

    @property
    def ldos_free_energy(self) -> Any:
        """F of the LDOS alone, in the second-order form, eV."""
        self._check_total("free energy")
        return self._each(lambda r: r.free_energies["second_order"])

    @property
    def anchored_free_energy(self) -> Any:
        """F of the regular model at tau_ref plus F(tau_e) - F(tau_ref) of the LDOS, eV.

        Raises:
            InputError: without a density, a way to total energies, or a regular model.
        """
        return self.ldos_free_energy + self.anchor_shift

    @property
    def anchor_shift(self) -> float:
        """Anchored free energy minus that of the LDOS alone, eV: the same at every tau_e.

        Raises:
            InputError: as ``anchored_free_energy``.
        """
        self._check_total("free energy")
        if self.anchor is None:
            raise InputError(NO_REGULAR_PART)
        return self.anchor - self.results[0].reference_free_energy

    @property
    def free_energy_std(self) -> Any:
        """Spread of the free energy over the networks of an ensemble, eV: anchored, of F(tau_e) - F(tau_ref).

        Raises:
            InputError: without an ensemble, a density or a way to total energies.
        """
        self._check_total("free energy")
        if self.uncertainty is None:
            raise InputError("uncertainty: the model is no ensemble, or uncertainty=False was asked for")
        return self.uncertainty.free_energy_change if self.anchored else self.uncertainty.free_energy

    @property
    def forces(self) -> Any:
        """Minus the derivatives of F by the positions, (atoms, 3), eV/Angstrom; for each tau_e, if there are several.

        Raises:
            InputError: if they were not asked for.
        """
        return self._mechanical(lambda m: m.forces)

    @property
    def stress(self) -> Any:
        """Derivative of F by the strain over the volume, (3, 3), eV/Angstrom^3; for each tau_e, if there are several.

        Positive under tension, as in ASE.

        Raises:
            InputError: if forces were not asked for.
        """
        return self._mechanical(lambda m: m.stress)

    def frames(self) -> list[Atoms]:
        """Returns the structure for each tau_e, with free energy, forces and stress (ASE's order) in its calculator.

        Raises:
            InputError: if forces were not asked for.
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

    def _mechanical(self, of: Callable[[Mechanics], FloatArray]) -> FloatArray:
        if self.mechanics is None:
            raise InputError("forces: they were not asked for; predict with forces=True")
        values = np.stack([of(m) for m in self.mechanics])
        return values[0] if self.scalar else values

    def free_energy_by(self, form: str) -> Any:
        """Returns the total free energy in one of the forms of :mod:`fermisea.physics.free_energy`, eV.

        Raises:
            InputError: for an unknown form, listing the known; without a density or a way to total energies.
        """
        check_form(form)
        self._check_total("free energy")
        shift = self.anchor_shift if self.anchored else 0.0
        return self._each(lambda r: r.free_energies[form] + shift)

    @property
    def transfer_error(self) -> Any:
        """|F_KS - F_HF| / 2, eV: an estimate of what the distance of tau_e from tau_ref costs."""
        self._check_total("transfer error")
        return self._each(lambda r: r.transfer_error)

    @property
    def band_energy(self) -> Any:
        """E_b, the integral of f eps D, eV."""
        return self._each(lambda r: r.band_energy)

    @property
    def entropy(self) -> Any:
        """S, positive, eV/K."""
        return self._each(lambda r: r.entropy)

    @property
    def internal_energy(self) -> Any:
        """U = F + tau_e S, eV."""
        self._check_total("internal energy")
        shift = self.anchor_shift if self.anchored else 0.0
        return self._each(lambda r: r.internal_energy() + shift)

    @property
    def fermi_level(self) -> Any:
        """mu, eV."""
        return self._each(lambda r: r.fermi_level)

    @property
    def heat_capacity(self) -> Any:
        """C_e at fixed ions, volume and DOS, eV/K."""
        return self._each(lambda r: r.heat_capacity)

    @property
    def electrons(self) -> Any:
        """Number of valence electrons that the DOS holds at mu."""
        return self._each(lambda r: r.electrons)

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
        """n(r), (nx, ny, nz) or (temperatures, nx, ny, nz), 1/Angstrom^3."""
        self._check_density("density")
        return self.results[0].density if self.scalar else np.stack([r.density for r in self.results])

    @property
    def has_density(self) -> bool:
        """Whether densities were asked for."""
        return bool(self.results[0].density.size)

    @property
    def has_free_energy(self) -> bool:
        """Whether there are total free energies."""
        return bool(self.results[0].free_energies)

    @property
    def dos_grid_error(self) -> Any:
        """What a grid of its own for the DOS changes in E_b - TS of the cell, eV.

        With a density, the value of that grid minus the value of the density's grid; without, the value of every second
        of its points minus that of all of them.
        """
        return self._error("dos_grid_error")

    @property
    def precision_error(self) -> Any:
        """What bfloat16 changes in E_b - TS of the cell, from a sample of points, eV."""
        return self._error("precision_error_band_free_energy")

    def _each(self, value: Callable[[ThermalObservables], float]) -> Any:
        values = np.array([value(r) for r in self.results])
        return float(values[0]) if self.scalar else values

    def _error(self, name: str) -> Any:
        if name not in self.errors:
            raise InputError(f"{name}: this prediction took no such short cut (dos_grid, precision)")
        values = np.array(self.errors[name])
        return float(values[0]) if self.scalar else values

    def _check_density(self, name: str) -> None:
        if not self.has_density:
            raise InputError(f"{name}: this prediction was made without the density; ask for it with density=True")

    def _check_total(self, name: str) -> None:
        if self.total_energy_obstacle:
            raise InputError(f"{name}: {self.total_energy_obstacle}")
        self._check_density(name)


def _dataset(prediction: Prediction) -> xr.Dataset:
    import xarray as xr  # noqa: PLC0415  # takes a quarter of a second that only those who ask for it should wait

    def column(unit: str, values: Iterable[float]) -> tuple[str, list[float], dict[str, str]]:
        return "electron_temperature", list(values), {"units": unit}

    results, dos = prediction.results, prediction.density_of_states
    data = xr.Dataset(
        {
            "band_energy": column("eV", (r.band_energy for r in results)),
            "entropy": column("eV/K", (r.entropy for r in results)),
            "fermi_level": column("eV", (r.fermi_level for r in results)),
            "heat_capacity": column("eV/K", (r.heat_capacity for r in results)),
            "electrons": column("1", (r.electrons for r in results)),
            "dos": ("energy", dos.dos, {"units": "1/eV"}),
        }
        | {name: column("eV", values) for name, values in prediction.errors.items()},
        coords={
            "electron_temperature": column("K", (r.electron_temperature for r in results)),
            "energy": ("energy", dos.energies, {"units": "eV"}),
        },
        attrs={
            "reference_electron_temperature": prediction.reference_electron_temperature,
            "broadening": dos.broadening,
        },
    )
    if prediction.total_energy_obstacle:
        data.attrs["total_energy_obstacle"] = prediction.total_energy_obstacle
    if prediction.has_density:
        densities = np.stack([r.density for r in results])
        data["density"] = (("electron_temperature", "x", "y", "z"), densities, {"units": "1/Angstrom^3"})
    if prediction.has_free_energy:
        shift = prediction.anchor_shift if prediction.anchored else 0.0
        energies = [[r.free_energies[form] + shift for r in results] for form in FORMS]
        data = data.assign_coords(form=list(FORMS)).assign(
            free_energy=(("form", "electron_temperature"), energies, {"units": "eV"}),
            transfer_error=column("eV", (r.transfer_error for r in results)),
            internal_energy=column("eV", (r.internal_energy() + shift for r in results)),
        )
        if prediction.anchor is not None:
            anchored = (r.free_energies["second_order"] + prediction.anchor_shift for r in results)
            data = data.assign(anchored_free_energy=column("eV", anchored))
            data["anchor_shift"] = ((), prediction.anchor_shift, {"units": "eV"})
    if prediction.mechanics is not None:
        forces, stress = (np.stack([getattr(m, name) for m in prediction.mechanics]) for name in ("forces", "stress"))
        data["forces"] = (("electron_temperature", "atom", "axis"), forces, {"units": "eV/Angstrom"})
        data["stress"] = (("electron_temperature", "axis", "other_axis"), stress, {"units": "eV/Angstrom^3"})
    return data if prediction.uncertainty is None else data.assign(_deviations(prediction, prediction.uncertainty))


def _deviations(prediction: Prediction, uncertainty: Uncertainty) -> dict[str, Any]:
    """Returns the standard deviations of an ensemble as variables of a data set, NAME_std."""
    found: dict[str, Any] = {
        f"{name}_std": ("electron_temperature", np.atleast_1d(values), {"units": unit})
        for name, (values, unit) in uncertainty.scalars(anchored=prediction.anchored).items()
    }
    found["dos_std"] = ("energy", uncertainty.dos, {"units": "1/eV"})
    if prediction.has_density:
        density = uncertainty.density.reshape(len(prediction.results), *prediction.grid.shape)
        found["density_std"] = (("electron_temperature", "x", "y", "z"), density, {"units": "1/Angstrom^3"})
    return found
