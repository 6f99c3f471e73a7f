"""The openPMD standard, version 1.1.0, in HDF5: series, iterations, mesh records and particles; writing and reading.

Fields are meshes. Where the lattice vectors are not along x, y and z, the geometry is "other:lattice"; the attribute
``latticeVectors`` of every mesh holds the lattice vectors as rows, in ``gridUnitSI``.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from ase import Atoms

from fermisea.errors import FileFormatError, InputError
from fermisea.grid import RealSpaceGrid
from fermisea.units import ELECTRONVOLT, METRE_PER_ANGSTROM
from fermisea.utilities.files import atomic_path
from fermisea.utilities.hdf5 import check_size, open_hdf5

Dimension = tuple[int, int, int, int, int, int, int]
"""Exponents of length, mass, time, current, temperature, amount and luminous intensity."""

LENGTH: tuple[Dimension, float] = ((1, 0, 0, 0, 0, 0, 0), METRE_PER_ANGSTROM)
FORCE: tuple[Dimension, float] = ((1, 1, -2, 0, 0, 0, 0), ELECTRONVOLT / METRE_PER_ANGSTROM)
DENSITY: tuple[Dimension, float] = ((-3, 0, 0, 0, 0, 0, 0), METRE_PER_ANGSTROM**-3)
LDOS: tuple[Dimension, float] = ((-5, -1, 2, 0, 0, 0, 0), METRE_PER_ANGSTROM**-3 / ELECTRONVOLT)
DOS: tuple[Dimension, float] = ((-2, -1, 2, 0, 0, 0, 0), 1 / ELECTRONVOLT)
NUMBER: tuple[Dimension, float] = ((0, 0, 0, 0, 0, 0, 0), 1.0)
"""Dimension and SI value of the units of the package."""

_SAME_CONSTANTS = 1e-6
"""Largest relative difference of equal units, which may come from older constants."""

_AXES: tuple[list[str], ...] = ([], ["x", "y", "z"], ["a", "b", "c"], ["energy"])
"""Labels of the axes that a record may have; particles have none."""

_ROOT = {
    "openPMD": "1.1.0",
    "openPMDextension": np.uint32(0),
    "basePath": "/data/%T/",
    "meshesPath": "meshes/",
    "particlesPath": "particles/",
    "iterationEncoding": "groupBased",
    "iterationFormat": "/data/%T/",
    "software": "fermisea",
}


@contextmanager
def new_series(path: str | os.PathLike[str], software_version: str) -> Iterator[h5py.File]:
    """Yields an empty series in memory, which is written to ``path`` atomically at the end of the block.

    Raises:
        InputError: if the file cannot be written.
    """
    image = io.BytesIO()
    with h5py.File(image, "w") as file:  # in memory: HDF5 crashes when the disk is full
        set_attributes(file, _ROOT | {"softwareVersion": software_version})
        set_attributes(file, {"date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S +0000")})
        yield file
    with atomic_path(path) as temporary:
        temporary.write_bytes(image.getbuffer())


@contextmanager
def open_series(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Yields a series for reading.

    Raises:
        FileFormatError: for a file that is missing, damaged, or not openPMD, or that refers to other files.
        StorageError: if the file cannot be read now.
    """
    path = Path(path)
    try:
        with open_hdf5(path) as file:
            if "openPMD" not in file.attrs:
                raise FileFormatError(
                    f"{path}: not an openPMD file, its root has no attribute openPMD; give a file of the openPMD "
                    "standard"
                )
            yield file
    except InputError:
        raise
    except FileNotFoundError as error:
        raise FileFormatError(f"{path}: no such file, expected an openPMD file") from error
    except (OSError, LookupError, TypeError, ValueError, RuntimeError, AttributeError, ArithmeticError) as error:
        detail = " ".join(str(error).split())
        raise FileFormatError(f"{path}: not readable as openPMD in HDF5 ({detail}); copy the file again") from error


def set_attributes(item: Any, values: Mapping[str, Any]) -> None:
    """Sets attributes; text has a fixed length, as expected by readers of the standard."""
    for name, value in values.items():
        if isinstance(value, str):
            item.attrs[name] = np.bytes_(value.encode("ascii", "replace"))
        elif isinstance(value, Sequence) and value and isinstance(value[0], str):
            item.attrs[name] = np.array(value, dtype="S")
        else:
            item.attrs[name] = value


def text(value: Any) -> str:
    """Returns an attribute as one line of text."""
    return value.decode() if isinstance(value, bytes) else " ".join(str(value).split())


def add_iteration(file: h5py.File, index: int) -> h5py.Group:
    """Returns a new iteration of a series; all iterations have the same time."""
    group = file.create_group(f"/data/{index}")
    set_attributes(group, {"time": 0.0, "dt": 1.0, "timeUnitSI": 1.0})
    return group


def add_mesh(
    iteration: h5py.Group,
    name: str,
    grid: RealSpaceGrid,
    components: Mapping[str, Any] | Any,
    unit: tuple[Dimension, float],
) -> None:
    """Adds a field on a grid: one array (nx, ny, nz), or several by name."""
    record = iteration.require_group("meshes")
    cell = grid.lattice
    straight = bool((cell == np.diag(np.diag(cell))).all() and (np.diag(cell) > 0).all())
    attributes = {
        "geometry": "cartesian" if straight else "other:lattice",
        "axisLabels": ["x", "y", "z"] if straight else ["a", "b", "c"],
        "gridSpacing": np.array(grid.spacing),
        "gridGlobalOffset": np.zeros(3),
        "latticeVectors": cell.ravel(),
        "comment": "Point (i, j, k) of the periodic grid lies at i/nx a + j/ny b + k/nz c; a, b, c are latticeVectors.",
    }
    _add_record(record, name, components, unit, attributes | {"gridUnitSI": METRE_PER_ANGSTROM}, np.zeros(3))


def add_spectrum(
    iteration: h5py.Group, name: str, start: float, spacing: float, values: Any, unit: tuple[Dimension, float]
) -> None:
    """Adds a one-dimensional mesh over equally spaced energies (eV)."""
    attributes = {
        "geometry": "cartesian",
        "axisLabels": ["energy"],
        "gridSpacing": np.array([spacing]),
        "gridGlobalOffset": np.array([start]),
        "gridUnitSI": ELECTRONVOLT,
        "comment": "The axis is an energy; gridUnitSI converts it to joules.",
    }
    _add_record(iteration.require_group("meshes"), name, values, unit, attributes, np.zeros(1))


def add_atoms(iteration: h5py.Group, atoms: Atoms, forces: npt.NDArray[np.float64] | None = None) -> None:
    """Adds the atoms as particles with position, atomicNumber and, in eV/Angstrom, force."""
    species = iteration.require_group("particles").create_group("atoms")
    _add_record(species, "position", dict(zip("xyz", atoms.positions.T, strict=True)), LENGTH, {})
    _add_record(species, "atomicNumber", atoms.numbers.astype(np.int64), NUMBER, {})
    offset = species.create_group("positionOffset")
    set_attributes(offset, {"unitDimension": np.array(LENGTH[0], dtype=float), "timeOffset": np.float32(0)})
    for axis in "xyz":
        constant = {"value": 0.0, "shape": np.array([len(atoms)], dtype=np.uint64), "unitSI": METRE_PER_ANGSTROM}
        set_attributes(offset.create_group(axis), constant)
    if forces is not None:
        _add_record(species, "force", dict(zip("xyz", np.asarray(forces).T, strict=True)), FORCE, {})


def meshes_of(file: h5py.File, key: str) -> Mapping[str, Any]:
    """Returns the meshes of an iteration by name."""
    meshes: Mapping[str, Any] = file[f"data/{key}"].get(text(file.attrs.get("meshesPath", "meshes/")).strip("/ "), {})
    return meshes


def read_numbered(record: Any, unit: tuple[Dimension, float]) -> npt.NDArray[Any]:
    """Returns a mesh with the components "0", "1", ..., (nx, ny, nz, components), in the package's unit.

    Raises:
        FileFormatError: for other components, and as :func:`read_record`.
    """
    names = [str(index) for index in range(len(record))]
    missing = next((name for name in names or ["0"] if name not in record), None)
    if missing is not None:
        raise FileFormatError(
            f"{record.file.filename}: {record.name} has {len(names)} components and none of them is {missing}, "
            "expected 0, 1, 2 and so on; copy the file again"
        )
    return read_record(record, unit, names)


def read_record(record: Any, unit: tuple[Dimension, float], index: Sequence[str] | None = None) -> npt.NDArray[Any]:
    """Returns a record in the units of the package: an array, or one with the components ``index`` last.

    Raises:
        FileFormatError: for another physical dimension, axes in another order, or numbers that are not finite.
    """
    dimension, value = unit
    order = text(record.attrs.get("dataOrder", "C")).strip()
    axes = [text(label) for label in record.attrs.get("axisLabels", [])]
    if order != "C" or axes not in _AXES:
        raise FileFormatError(
            f"{record.file.filename}: {record.name} is not in the order x, y, z: got data order {order} and the axes "
            f"{', '.join(axes)}, expected C and x, y, z; write it again in this order"
        )
    got = tuple(int(power) for power in record.attrs["unitDimension"])
    if got != dimension:
        raise FileFormatError(f"{record.file.filename}: {record.name} has the dimension {got}, expected {dimension}")
    parts = [record] if index is None else [record[name] for name in index]
    shape = parts[0].shape if isinstance(parts[0], h5py.Dataset) else tuple(map(int, parts[0].attrs["shape"]))
    constant = not isinstance(parts[0], h5py.Dataset)
    kind = np.dtype(np.float64) if constant else parts[0].dtype
    name = str(record.file.filename)
    check_size(name, str(record.name), kind.itemsize * math.prod(shape) * len(parts), Path(name).stat().st_size)
    result = np.empty((*shape, len(parts)), dtype=kind)
    for column, part in enumerate(parts):
        factor = float(part.attrs["unitSI"]) / value
        if not 0 < factor < math.inf:
            raise FileFormatError(f"{name}: {part.name} has unitSI {part.attrs['unitSI']}, expected a positive number")
        values = part[...] if isinstance(part, h5py.Dataset) else np.full(shape, part.attrs["value"])
        if values.shape != shape:
            raise FileFormatError(f"{record.file.filename}: {part.name} has shape {values.shape}, expected {shape}")
        with np.errstate(over="ignore", invalid="ignore"):
            result[..., column] = values if abs(factor - 1) < _SAME_CONSTANTS else values * factor
        if kind.kind == "f" and not np.isfinite(result[..., column]).all():
            raise FileFormatError(f"{name}: {part.name} has numbers that are not finite; write the file again")
    return result[..., 0] if index is None else result


def _add_record(
    parent: h5py.Group,
    name: str,
    components: Mapping[str, Any] | Any,
    unit: tuple[Dimension, float],
    attributes: Mapping[str, Any],
    position: npt.NDArray[np.float64] | None = None,
) -> None:
    dimension, value = unit
    own: dict[str, Any] = {"unitDimension": np.array(dimension, dtype=float), "timeOffset": np.float32(0)}
    if position is not None:
        own |= {"dataOrder": "C"}
    each: dict[str, Any] = {"unitSI": value} | ({} if position is None else {"position": position})
    if isinstance(components, Mapping):
        record = parent.create_group(name)
        for key, values in components.items():
            set_attributes(_dataset(record, key, values), each)
    else:
        record = _dataset(parent, name, components)
        set_attributes(record, each)
    set_attributes(record, {**own, **attributes})


def _dataset(parent: h5py.Group, name: str, values: Any) -> h5py.Dataset:
    array = np.ascontiguousarray(values)
    options = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if array.ndim == 3 else {}
    return parent.create_dataset(name, data=array, fletcher32=True, **options)  # with a checksum of each chunk
