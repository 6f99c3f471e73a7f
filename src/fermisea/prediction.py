"""What a prediction gives: observables at one or several electronic temperatures, with units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import xarray as xr
from ase import Atoms

from fermisea.errors import InputError
from fermisea.free_energy import FORMS, check_form
from fermisea.grid import RealSpaceGrid
from fermisea.ldos_energy import ThermalObservables
from fermisea.observables import DensityOfStates

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Prediction:
    """Observables of one structure at one or several electronic temperatures.

    A single temperature gives plain numbers, a sequence gives arrays with one entry for each.

    Attributes:
        atoms: the structure.
        grid: of the density.
        data: everything as an xarray data set with units in the attributes; dimensions electron_temperature (absent
            for a single one), form, energy, x, y, z.
    """

    atoms: Atoms
    grid: RealSpaceGrid
    data: xr.Dataset

    @classmethod
    def of(
        cls,
        atoms: Atoms,
        grid: RealSpaceGrid,
        dos: DensityOfStates,
        results: Sequence[ThermalObservables],
        reference_electron_temperature: float,
        errors: Mapping[str, Sequence[float]],
        *,
        scalar: bool,
        total_energy_obstacle: str | None = None,
    ) -> Self:
        """Returns the prediction that holds ``results``; a single one without its dimension if ``scalar``.

        ``errors`` are estimates of what short cuts cost, one number in eV for each result; ``total_energy_obstacle``
        says why results with a density have no total free energy.
        """
        data = _dataset(results, dos, reference_electron_temperature)
        for name, values in errors.items():
            data[name] = ("electron_temperature", list(values), {"units": "eV"})
        if total_energy_obstacle:
            data.attrs["total_energy_obstacle"] = total_energy_obstacle
        return cls(atoms.copy(), grid, data.isel(electron_temperature=0) if scalar else data)

    @property
    def electron_temperature(self) -> Any:
        """tau_e, K."""
        return self._values("electron_temperature")

    @property
    def free_energy(self) -> Any:
        """Total free energy F of the cell in the second-order form, eV."""
        return self.free_energy_by("second_order")

    def free_energy_by(self, form: str) -> Any:
        """Returns the total free energy in one of the forms of :mod:`fermisea.free_energy`, eV.

        Raises:
            InputError: for an unknown form, listing the known.
        """
        check_form(form)
        return _plain(self._variable("free_energy").sel(form=form))

    @property
    def transfer_error(self) -> Any:
        """|F_KS - F_HF| / 2, eV: an estimate of what the distance of tau_e from tau_ref costs."""
        return self._values("transfer_error")

    @property
    def band_energy(self) -> Any:
        """E_b, the integral of f eps D, eV."""
        return self._values("band_energy")

    @property
    def entropy(self) -> Any:
        """S, positive, eV/K."""
        return self._values("entropy")

    @property
    def internal_energy(self) -> Any:
        """U = F + tau_e S, eV."""
        return self._values("internal_energy")

    @property
    def fermi_level(self) -> Any:
        """mu, eV."""
        return self._values("fermi_level")

    @property
    def heat_capacity(self) -> Any:
        """C_e at fixed ions, volume and DOS, eV/K."""
        return self._values("heat_capacity")

    @property
    def electrons(self) -> Any:
        """Number of valence electrons that the DOS holds at mu."""
        return self._values("electrons")

    @property
    def dos(self) -> FloatArray:
        """D(eps), both spins, (energies,), 1/eV; it does not depend on tau_e."""
        return np.asarray(self.data["dos"].values)

    @property
    def energies(self) -> FloatArray:
        """Energies of the DOS, (energies,), eV."""
        return np.asarray(self.data["energy"].values)

    @property
    def density(self) -> FloatArray:
        """n(r), (nx, ny, nz) or (temperatures, nx, ny, nz), 1/Angstrom^3."""
        return np.asarray(self._variable("density").values)

    @property
    def dos_grid_error(self) -> Any:
        """What a grid of its own for the DOS changes in E_b - TS of the cell, eV.

        With a density, the value of that grid minus the value of the density's grid; without, the value of every second
        of its points minus that of all of them.
        """
        return self._values("dos_grid_error")

    @property
    def precision_error(self) -> Any:
        """What bfloat16 changes in E_b - TS of the cell, from a sample of points, eV."""
        return self._values("precision_error_band_free_energy")

    def _values(self, name: str) -> Any:
        return _plain(self._variable(name))

    def _variable(self, name: str) -> xr.DataArray:
        if name in self.data:
            return self.data[name]
        total = name in ("free_energy", "transfer_error", "internal_energy")
        if total and "total_energy_obstacle" in self.data.attrs:
            raise InputError(f"{name.replace('_', ' ')}: {self.data.attrs['total_energy_obstacle']}")
        if total or name == "density":
            raise InputError(f"{name}: this prediction was made without the density; ask for it with density=True")
        raise InputError(f"{name}: this prediction took no such short cut (dos_grid, precision)")


def _dataset(results: Sequence[ThermalObservables], dos: DensityOfStates, reference: float) -> xr.Dataset:
    def column(unit: str, *values: Any) -> tuple[str, list[Any], dict[str, str]]:
        return "electron_temperature", list(values), {"units": unit}

    data = xr.Dataset(
        {
            "band_energy": column("eV", *(r.band_energy for r in results)),
            "entropy": column("eV/K", *(r.entropy for r in results)),
            "fermi_level": column("eV", *(r.fermi_level for r in results)),
            "heat_capacity": column("eV/K", *(r.heat_capacity for r in results)),
            "electrons": column("1", *(r.electrons for r in results)),
            "dos": ("energy", dos.dos, {"units": "1/eV"}),
        },
        coords={
            "electron_temperature": column("K", *(r.electron_temperature for r in results)),
            "energy": ("energy", dos.energies, {"units": "eV"}),
        },
        attrs={"reference_electron_temperature": reference, "broadening": dos.broadening},
    )
    if all(r.density.size for r in results):
        densities = np.stack([r.density for r in results])
        data["density"] = (("electron_temperature", "x", "y", "z"), densities, {"units": "1/Angstrom^3"})
    if all(r.free_energies for r in results):
        energies = [[r.free_energies[form] for r in results] for form in FORMS]
        data = data.assign_coords(form=list(FORMS)).assign(
            free_energy=(("form", "electron_temperature"), energies, {"units": "eV"}),
            transfer_error=column("eV", *(r.transfer_error for r in results)),
            internal_energy=column("eV", *(r.internal_energy() for r in results)),
        )
    return data


def _plain(values: xr.DataArray) -> Any:
    array = np.asarray(values.values)
    return float(array) if array.ndim == 0 else array
