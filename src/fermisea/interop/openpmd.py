"""Snapshots and predictions as openPMD files (standard 1.1.0, HDF5) with density, LDOS and atoms; and reading them.

Meshes: ``density``; ``LDOS`` with one component for each energy, "0", "1", ... as in MALA; ``DOS`` over energies.
Particles: ``atoms``. Data without a place in openPMD are stored as JSON in ``/fermisea``, which other readers ignore.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from ase import Atoms

from fermisea.data.closure import check_closure
from fermisea.data.snapshot import Snapshot
from fermisea.errors import FileFormatError, InputError
from fermisea.grid import EnergyGrid, RealSpaceGrid
from fermisea.interop.openpmd_file import (
    DENSITY,
    DOS,
    FORCE,
    LDOS,
    LENGTH,
    NUMBER,
    add_atoms,
    add_iteration,
    add_mesh,
    add_spectrum,
    meshes_of,
    new_series,
    open_series,
    read_numbered,
    read_record,
    set_attributes,
)
from fermisea.prediction.result import Prediction
from fermisea.prediction.table import unit_of
from fermisea.utilities.arrays import FloatArray

PathLike = str | os.PathLike[str]

_METADATA = "fermisea/snapshot"

_DOS_TOLERANCE = 1e-4
"""Largest difference between the integral of the LDOS and the DOS, relative to the highest DOS."""


@dataclass(frozen=True, eq=False)
class Fields:
    """Content of an openPMD file at one electronic temperature; missing data are None.

    Attributes:
        atoms: the structure, periodic.
        grid: grid of density and LDOS.
        density: (nx, ny, nz), 1/Angstrom^3.
        ldos: (nx, ny, nz, energies), 1/(eV Angstrom^3).
        energy_grid: energies of the LDOS.
        attributes: attributes of the iteration, such as ``electronTemperature`` in K.
    """

    atoms: Atoms | None
    grid: RealSpaceGrid | None
    density: FloatArray | None
    ldos: npt.NDArray[np.floating] | None
    energy_grid: EnergyGrid | None
    attributes: dict[str, Any]


def write_snapshot(path: PathLike, snapshot: Snapshot) -> Path:
    """Writes density, LDOS and DOS, atoms and forces of a snapshot, and all data needed to read it back.

    Raises:
        InputError: if the file cannot be written.
    """
    data = snapshot.to_xarray()
    with new_series(path, _version()) as file:
        iteration = add_iteration(file, 0)
        set_attributes(iteration, {"electronTemperature": snapshot.electron_temperature})
        add_mesh(iteration, "density", snapshot.grid, snapshot.density, DENSITY)
        _add_ldos(file, iteration, snapshot.grid, data["ldos"].values, snapshot.energy_grid)
        _add_dos(iteration, snapshot.energy_grid, snapshot.dos)
        add_atoms(iteration, snapshot.atoms, snapshot.reference.forces)
        attributes = {
            name: value.item() if isinstance(value, np.generic) else value for name, value in data.attrs.items()
        }
        if snapshot.reference.stress is not None:
            attributes["stress"] = snapshot.reference.stress.tolist()
        file[_METADATA] = np.bytes_(json.dumps(attributes))
    return Path(path)


def read_snapshot(path: PathLike, *, allow_closure_error: bool = False) -> Snapshot:
    """Returns the snapshot from a file of ``write_snapshot``.

    Args:
        path: path of the file.
        allow_closure_error: whether an LDOS whose F differs from F of the DFT code by more than 5 meV/atom gives a
            warning instead of an error.

    Raises:
        FileFormatError: for a damaged file, or a file of another program.
        InputError: for an LDOS that does not give F of the DFT code.
    """
    import xarray as xr  # noqa: PLC0415  # takes a quarter of a second

    with open_series(path) as file:
        if _METADATA not in file:
            raise FileFormatError(
                f"{path}: an openPMD file of another program; read its fields with openpmd.read_fields, or a file of "
                "MALA with 'fermisea convert mala LDOS.h5 INFO.json'"
            )
        attributes = json.loads(file[_METADATA][()])
        fields = _fields(file, "0")
        dos = read_record(file["data/0/meshes/DOS"], DOS)
        force = file.get("data/0/particles/atoms/force")
        forces = None if force is None else read_record(force, FORCE, "xyz")
    if fields.atoms is None or fields.grid is None or fields.density is None or fields.ldos is None:
        raise FileFormatError(f"{path}: density, LDOS or atoms are missing; write the snapshot again")
    _check_dos(path, fields.grid.voxel, fields.ldos, dos)
    variables: dict[str, Any] = {
        "ldos": (("x", "y", "z", "energy"), fields.ldos),
        "density": (("x", "y", "z"), fields.density),
        "dos": (("energy",), dos),
        "positions": (("atom", "cartesian"), fields.atoms.positions),
        "atomic_numbers": (("atom",), fields.atoms.numbers),
        "cell": (("lattice_vector", "cartesian"), fields.grid.lattice),
    }
    if forces is not None:
        variables["forces"] = (("atom", "cartesian"), forces)
    try:
        stress = attributes.pop("stress", None)
        if stress is not None:
            variables["stress"] = (("lattice_vector", "cartesian"), np.array(stress, dtype=float))
        data = xr.Dataset(variables, attrs=attributes)
    except (AttributeError, TypeError, ValueError) as error:
        raise FileFormatError(f"{path}: its parts are inconsistent ({error}); write the snapshot again") from error
    snapshot = Snapshot.from_xarray(data, str(path))
    check_closure([snapshot], [str(path)], allow=allow_closure_error)
    return snapshot


def write_prediction(path: PathLike, prediction: Prediction, ldos: npt.NDArray[np.floating] | None = None) -> Path:
    """Writes a prediction: one iteration for each electronic temperature, with density and observables.

    Args:
        path: path of the file.
        prediction: prediction with or without densities.
        ldos: LDOS from ``Model.ldos`` on the grid of the prediction, for the first iteration.

    Raises:
        InputError: for an LDOS on another grid, densities that several processes share, or if the file cannot be
            written.
    """
    if prediction.has_density and prediction.processes.count > 1:
        raise InputError(
            f"{path}: {prediction.processes.count} processes share the densities; write them with "
            "fermisea.interop.density_file.write_density, or predict with density=False"
        )
    energy_grid = prediction.density_of_states.energy_grid
    expected = (*prediction.grid.shape, energy_grid.size)
    if ldos is not None and ldos.shape != expected:
        raise InputError(f"LDOS: got shape {ldos.shape}, expected the grid and energies of the prediction, {expected}")
    with new_series(path, _version()) as file:
        for index, (result, row) in enumerate(zip(prediction.results, prediction.rows(), strict=True)):
            iteration = add_iteration(file, index)
            set_attributes(iteration, _attributes(row))
            if prediction.has_density:
                add_mesh(iteration, "density", prediction.grid, result.density, DENSITY)
            if index == 0 and ldos is not None:
                _add_ldos(file, iteration, prediction.grid, ldos, energy_grid)
            _add_dos(iteration, energy_grid, prediction.dos)
            forces = None if prediction.mechanics is None else prediction.mechanics[index].forces
            add_atoms(iteration, prediction.atoms, forces)
    return Path(path)


def read_fields(path: PathLike) -> list[Fields]:
    """Returns the content of an openPMD file, one entry for each iteration in order; also for files of MALA.

    Raises:
        FileFormatError: for a damaged file, or a file that is not openPMD.
    """
    with open_series(path) as file:
        return [_fields(file, key) for key in sorted(file["data"], key=int)]


def _check_dos(path: PathLike, voxel: float, ldos: npt.NDArray[np.floating], dos: FloatArray) -> None:
    """Raises FileFormatError unless the LDOS integrates to the DOS of the file; HDF5 checksums omit the units."""
    integral = voxel * ldos.reshape(-1, ldos.shape[-1]).sum(axis=0, dtype=np.float64)
    if dos.shape != integral.shape:
        raise FileFormatError(
            f"{path}: the DOS has shape {dos.shape}, expected {integral.shape}; write the snapshot again"
        )
    worst = int(np.argmax(np.abs(integral - dos)))
    if abs(integral[worst] - dos[worst]) > _DOS_TOLERANCE * np.abs(dos).max():
        raise FileFormatError(
            f"{path}: the LDOS at energy {worst} integrates to {integral[worst]:.6g} 1/eV, expected the DOS of "
            f"the file, {dos[worst]:.6g}; write the snapshot again"
        )


def _version() -> str:
    import fermisea  # noqa: PLC0415  # not while it is being imported

    return fermisea.__version__


def _add_ldos(
    file: h5py.File, iteration: h5py.Group, grid: RealSpaceGrid, ldos: npt.NDArray[np.floating], energies: EnergyGrid
) -> None:
    components = {str(k): np.asarray(ldos[..., k], dtype=np.float32) for k in range(energies.size)}
    add_mesh(iteration, "LDOS", grid, components, LDOS)
    set_attributes(
        iteration["meshes/LDOS"], {"energyStart": energies.start, "energySpacing": energies.spacing, "energyUnit": "eV"}
    )
    file.attrs["is_mala_data"] = np.uint8(1)  # MALA refuses an LDOS without this attribute


def _add_dos(iteration: h5py.Group, energies: EnergyGrid, dos: FloatArray) -> None:
    add_spectrum(iteration, "DOS", energies.start, energies.spacing, dos, DOS)


def _attributes(row: Mapping[str, float]) -> dict[str, Any]:
    """Returns a row of a prediction as attributes of an iteration, with the unit of NAME as NAME_unit."""
    values: dict[str, Any] = {"electronTemperature": row["electron_temperature"]}
    for name, value in row.items():
        if name != "electron_temperature":
            values |= {name: value, f"{name}_unit": unit_of(name)}
    return values


def _fields(file: h5py.File, key: str) -> Fields:
    iteration = file[f"data/{key}"]
    meshes = meshes_of(file, key)
    density = np.asarray(read_record(meshes["density"], DENSITY)) if "density" in meshes else None
    ldos, energy_grid = None, None
    if "LDOS" in meshes:
        record = meshes["LDOS"]
        ldos = read_numbered(record, LDOS)
        if "energyStart" in record.attrs:
            head = record.attrs
            energy_grid = EnergyGrid(float(head["energyStart"]), float(head["energySpacing"]), ldos.shape[-1])
    mesh = next((meshes[name] for name in ("density", "LDOS") if name in meshes), None)
    atoms, grid = None, None
    if mesh is not None and "latticeVectors" in mesh.attrs:
        cell = np.asarray(mesh.attrs["latticeVectors"], dtype=float).reshape(3, 3)
        shape = density.shape if density is not None else ldos.shape[:3] if ldos is not None else ()
        grid = RealSpaceGrid(tuple(map(tuple, cell)), tuple(shape))
    species = iteration.get("particles/atoms")
    if grid is not None and species is not None:
        numbers = read_record(species["atomicNumber"], NUMBER)
        positions = read_record(species["position"], LENGTH, "xyz") + read_record(
            species["positionOffset"], LENGTH, "xyz"
        )
        atoms = Atoms(numbers, positions, cell=grid.lattice, pbc=True)
    attributes = {name: iteration.attrs[name] for name in iteration.attrs}
    return Fields(atoms, grid, density, ldos, energy_grid, attributes)
