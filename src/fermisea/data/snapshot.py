"""Result of one DFT calculation: structure, LDOS, density and reference energies."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, Self, overload, runtime_checkable

import numpy as np
import numpy.typing as npt
from ase import Atoms

from fermisea.data.density import check_density
from fermisea.data.reference import Reference
from fermisea.data.snapshot_file import from_dataset, read_snapshot, to_dataset, write_snapshot
from fermisea.errors import FileFormatError, InputError
from fermisea.grid import EnergyGrid, RealSpaceGrid, check_grid, check_structure
from fermisea.physics.broadening import Broadening
from fermisea.physics.density_of_states import DensityOfStates, IntegrationName
from fermisea.physics.free_energy import check_form
from fermisea.physics.integration import EnergyIntegral
from fermisea.physics.ions import Ion, electrons
from fermisea.physics.observables import ThermalObservables, thermal_observables
from fermisea.physics.tail import Tail
from fermisea.physics.tau_dependence import other_ground_state, thermal_functional
from fermisea.physics.window import check_spectrum, highest_electron_temperature, temperature_list, warn_of_unit
from fermisea.pseudopotentials.frozen import warn_of_ionised_cores
from fermisea.utilities.arrays import FloatArray
from fermisea.utilities.counts import counted

if TYPE_CHECKING:
    import xarray as xr


_BLOCK = 2**23
"""Number of LDOS values in a block of an integral."""

_NEGATIVE = 0.01
"""Allowed negative values, as a fraction of the highest density of states; rounding and Fourier filters cause some."""


@runtime_checkable
class LdosSource(Protocol):
    """An LDOS that is read on access, from a file or computed from another one."""

    @property
    def shape(self) -> tuple[int, int, int, int]: ...  # noqa: D102

    def read(self) -> npt.NDArray[np.float32]:
        """Returns the whole LDOS, (nx, ny, nz, energies), 1/(eV Angstrom^3)."""

    def read_points(self, points: slice | npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
        """Returns the LDOS of points of the flattened grid, (points, energies), 1/(eV Angstrom^3)."""


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Snapshot:
    """One structure with its LDOS.

    Attributes:
        atoms: the structure, periodic.
        grid: real-space grid of LDOS and density.
        energy_grid: energies of the LDOS.
        density: valence density of the DFT code, (nx, ny, nz), 1/Angstrom^3.
        dos: the LDOS integrated over the cell, (energies,), 1/eV.
        electron_temperature: tau_e of the DFT run (tau_ref of the LDOS), K.
        ion_temperature: tau_i at which the positions were sampled, K, if known.
        broadening: kernel of the LDOS.
        reference: results reported by the DFT code.
        ions: valence and core charge of each element.
        functional: name of the exchange-correlation functional.
        provenance: engine, version, cutoffs, k-points, pseudopotentials; plain JSON data.
        total_energy_obstacle: reason why the LDOS gives no total free energy, such as an ultrasoft pseudopotential;
            None if it gives one.
    """

    atoms: Atoms
    grid: RealSpaceGrid
    energy_grid: EnergyGrid
    density: FloatArray
    dos: FloatArray
    electron_temperature: float
    ion_temperature: float | None
    broadening: Broadening
    reference: Reference
    ions: Mapping[str, Ion]
    functional: str
    provenance: Mapping[str, Any]
    total_energy_obstacle: str | None

    def __init__(
        self,
        *,
        atoms: Atoms,
        grid: RealSpaceGrid,
        energy_grid: EnergyGrid,
        ldos: npt.NDArray[np.float32] | LdosSource,
        density: FloatArray,
        electron_temperature: float,
        ion_temperature: float | None,
        broadening: Broadening,
        reference: Reference,
        ions: Mapping[str, Ion],
        functional: str,
        provenance: Mapping[str, Any],
        dos: FloatArray | None = None,
        total_energy_obstacle: str | None = None,
    ) -> None:
        """Creates a snapshot from its attributes; without ``dos``, the DOS is computed from the LDOS.

        ``ldos`` is (nx, ny, nz, energies), float32, 1/(eV Angstrom^3), for both spins, or a source that reads it.

        Raises:
            InputError: for inconsistent arguments, or for numbers that are not finite or impossible.
        """
        source = ldos if isinstance(ldos, LdosSource) else np.asarray(ldos, dtype=np.float32)
        density = np.asarray(density, dtype=np.float64)
        check_structure(atoms, periodic=False)
        check_grid(grid, atoms)
        _check_ldos(grid, energy_grid, source)
        check_density(density, grid, electrons(ions, list(atoms.symbols)), "density")
        if dos is None:
            values = source.read() if isinstance(source, LdosSource) else source
            dos = np.asarray(grid.voxel * np.sum(values.reshape(-1, energy_grid.size), axis=0, dtype=np.float64))
        _check_dos(DensityOfStates(energy_grid.energies, dos, broadening.standard_deviation))
        _check_forces(reference, len(atoms))
        warn_of_unit(electron_temperature)
        self.__dict__.update(
            atoms=atoms,
            grid=grid,
            energy_grid=energy_grid,
            density=density,
            dos=dos,
            electron_temperature=electron_temperature,
            ion_temperature=ion_temperature,
            broadening=broadening,
            reference=reference,
            ions=ions,
            functional=functional,
            provenance=provenance,
            total_energy_obstacle=total_energy_obstacle,
            _ldos=source,
        )

    def __repr__(self) -> str:
        cell = f"{self.atoms.get_chemical_formula()}, {counted(len(self.atoms), 'atom')}"
        return f"Snapshot({cell}, tau_e = {self.electron_temperature:g} K, {self.grid.shape}, {self.functional})"

    @property
    def ldos(self) -> npt.NDArray[np.float32]:
        """The LDOS, (nx, ny, nz, energies), 1/(eV Angstrom^3); read at each access if it is in a file."""
        source: npt.NDArray[np.float32] | LdosSource = self._ldos  # type: ignore[attr-defined]
        return source.read() if isinstance(source, LdosSource) else source

    def read_ldos(self, points: slice | npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
        """Returns the LDOS of some points of the flattened grid, (points, energies), reading little else."""
        source: npt.NDArray[np.float32] | LdosSource = self._ldos  # type: ignore[attr-defined]
        if isinstance(source, LdosSource):
            return source.read_points(points)
        return np.asarray(source.reshape(-1, self.energy_grid.size)[points])

    @property
    def energies(self) -> FloatArray:
        """Energies of the LDOS, (energies,), eV."""
        return self.energy_grid.energies

    @property
    def density_of_states(self) -> DensityOfStates:
        """Density of states with its broadening and its tail, for observables at any electronic temperature."""
        volume = self.grid.volume
        tail = Tail.of(self.energy_grid, self.dos / volume)
        return DensityOfStates(self.energies, self.dos, self.broadening.standard_deviation, volume=volume, tail=tail)

    @property
    def electrons(self) -> float:
        """Number of valence electrons in the cell."""
        return electrons(self.ions, list(self.atoms.symbols))

    @property
    def highest_electron_temperature(self) -> float:
        """Highest tau_e (K) for which the energy window is valid without a tail."""
        return highest_electron_temperature(
            self.density_of_states, self.electrons, len(self.atoms), self.electron_temperature
        )

    def observables(
        self,
        electron_temperature: float | Sequence[float],
        *,
        integration: IntegrationName = "sharpened",
        tail: bool = True,
        allow_beyond_window: bool = False,
        thermal_xc: str | None = None,
    ) -> list[ThermalObservables]:
        """Returns all observables of the LDOS at each electronic temperature (K).

        A tau_e at which the frozen core of an element begins to ionise gives a warning.

        Args:
            electron_temperature: tau_e, K.
            integration: integration rule of :class:`fermisea.DensityOfStates`; only ``"sharpened"`` has a tail.
            tail: whether free electrons continue the LDOS above its energies.
            allow_beyond_window: whether a tau_e that the window does not serve gives a warning instead of an error.
            thermal_xc: exchange-correlation functional of F at tau_e, such as "kdt16"; by default the one of the DFT
                run. Its potential acts to first order, and ``transfer_error`` contains an estimate of the second.

        Raises:
            WindowError: for a tau_e that the energy window does not serve; a warning with ``allow_beyond_window``.
            InputError: for a temperature that is not above zero, an unknown functional, or another functional without a
                total free energy.
        """
        temperatures = list(temperature_list(electron_temperature)) if np.size(electron_temperature) else []
        dos = self.density_of_states
        if not tail or integration != "sharpened":
            dos = replace(dos, tail=None, integration=integration)
        thermal_xc = thermal_functional(thermal_xc, self.functional, self.total_energy_obstacle)
        doubts = other_ground_state(self.functional, thermal_xc) + check_spectrum(
            dos,
            self.electrons,
            len(self.atoms),
            temperatures,
            self.electron_temperature,
            allow_beyond_window=allow_beyond_window,
        )
        for sentence in doubts:
            warnings.warn(sentence, stacklevel=2)
        warn_of_unit(*temperatures)
        warn_of_ionised_cores({symbol: self.ions[symbol].valence for symbol in set(self.atoms.symbols)}, *temperatures)

        def densities(integrals: Sequence[EnergyIntegral]) -> Sequence[FloatArray]:
            stacked = np.stack([integral.weights for integral in integrals], axis=-1)
            constants = np.array([integral.per_volume for integral in integrals])
            plane = self.grid.shape[1] * self.grid.shape[2]
            step = plane * max(1, _BLOCK // (plane * self.energy_grid.size))
            fields = np.empty((self.grid.size, len(integrals)))
            for start in range(0, self.grid.size, step):
                block = slice(start, start + step)
                fields[block] = self.read_ldos(block) @ stacked + constants
            return [column.reshape(self.grid.shape) for column in fields.T]

        return thermal_observables(
            dos,
            densities,
            atoms=self.atoms,
            grid=self.grid,
            ions=self.ions,
            functional_name=self.functional,
            electron_temperatures=temperatures,
            reference_electron_temperature=None if self.total_energy_obstacle else self.electron_temperature,
            thermal_xc=thermal_xc,
        )

    @overload
    def free_energy(
        self, electron_temperature: float, form: str = ..., *, tail: bool = ..., allow_beyond_window: bool = ...
    ) -> float: ...
    @overload
    def free_energy(
        self,
        electron_temperature: Sequence[float],
        form: str = ...,
        *,
        tail: bool = ...,
        allow_beyond_window: bool = ...,
    ) -> FloatArray: ...
    def free_energy(
        self,
        electron_temperature: float | Sequence[float],
        form: str = "second_order",
        *,
        tail: bool = True,
        allow_beyond_window: bool = False,
    ) -> float | FloatArray:
        """Returns the total free energy from the LDOS alone, eV: a float, or an array for several temperatures.

        Args:
            electron_temperature: tau_e, K.
            form: one of ``free_energy.FORMS``.
            tail: whether free electrons continue the LDOS above its energies.
            allow_beyond_window: whether a tau_e that the window does not serve gives a warning instead of an error.

        Raises:
            InputError: if there is none; ``total_energy_obstacle`` gives the reason.
        """
        check_form(form)
        if self.total_energy_obstacle:
            raise InputError(f"total free energy: {self.total_energy_obstacle}")
        results = self.observables(electron_temperature, tail=tail, allow_beyond_window=allow_beyond_window)
        values = np.array([r.free_energies[form] for r in results])
        return float(values[0]) if np.ndim(electron_temperature) == 0 else values

    def closure_error(self, at_reference: ThermalObservables | None = None) -> float:
        """Returns F(tau_ref) from the LDOS minus the free energy of the DFT code, eV, for the whole cell.

        Args:
            at_reference: observables of this snapshot at tau_ref; computed by default.

        Raises:
            InputError: where ``total_energy_obstacle`` says why the LDOS gives no free energy.
            WindowError: if the energy window does not serve tau_ref.
        """
        own = self.free_energy(self.electron_temperature) if at_reference is None else at_reference.free_energy
        return own - self.reference.free_energy

    def to_xarray(self) -> xr.Dataset:
        """Returns the complete snapshot as an xarray data set, in memory.

        LDOS (x, y, z, energy), density (x, y, z), dos (energy), positions, forces, stress and cell have their units in
        the attribute ``units``; all other data are attributes of the data set, as in the file of :meth:`save`.
        """
        return to_dataset(self)

    @classmethod
    def from_xarray(cls, data: xr.Dataset, name: str = "data set") -> Self:
        """Returns the snapshot from a data set made by :meth:`to_xarray`; ``name`` is used in errors.

        Raises:
            FileFormatError: for a data set of another kind or with inconsistent variables.
        """
        try:
            parts = from_dataset(data, name, np.asarray(data["ldos"].values, dtype=np.float32))
        except InputError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(
                f"{name}: not a snapshot ({error}); expected a data set made by Snapshot.to_xarray"
            ) from error
        return cls._of(parts, name)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes one netCDF4 file with a checksum, under a temporary name that is then renamed.

        Raises:
            InputError: if the folder cannot be written to.
        """
        write_snapshot(path, self)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, verify: bool = True) -> Self:
        """Returns the snapshot in a file; its LDOS is read on access.

        Args:
            path: file written by :meth:`save`.
            verify: whether the checksum of the whole file is compared.

        Raises:
            FileFormatError: for a file that is truncated, altered, or not a snapshot.
        """
        return cls._of(read_snapshot(path, verify=verify), str(path))

    @classmethod
    def _of(cls, parts: dict[str, Any], name: str) -> Self:
        parts["broadening"] = Broadening(**parts["broadening"])
        try:
            parts["reference"] = Reference(**parts["reference"])
        except TypeError as error:
            raise FileFormatError(
                f"{name}: results of another version of fermisea ({error}); update fermisea"
            ) from error
        try:
            return cls(**parts)
        except InputError as error:
            raise FileFormatError(f"{name}: {error}") from error


def _check_ldos(grid: RealSpaceGrid, energy_grid: EnergyGrid, ldos: npt.NDArray[np.float32] | LdosSource) -> None:
    expected = (*grid.shape, energy_grid.size)
    if tuple(ldos.shape) != expected:
        raise InputError(f"LDOS: got shape {tuple(ldos.shape)}, expected the grid and energies {expected}")


def _check_dos(density_of_states: DensityOfStates) -> None:
    low, high = density_of_states.dos.min(), density_of_states.dos.max()
    if high <= 0 or low < -_NEGATIVE * high:
        raise InputError(
            f"LDOS: its integral over the cell ranges from {low:g} to {high:g} 1/eV, expected a density of states, "
            "which is never negative; check sign and units"
        )


def _check_forces(reference: Reference, atoms: int) -> None:
    for name, values, shape in (("forces", reference.forces, (atoms, 3)), ("stress", reference.stress, (3, 3))):
        if values is not None and np.shape(values) != shape:
            raise InputError(f"{name}: got shape {np.shape(values)}, expected {shape}")
