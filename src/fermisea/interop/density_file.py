"""Densities of a prediction as a netCDF file, written in pieces: :func:`write_density`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fermisea.errors import InputError, StorageError
from fermisea.physics.registry import OBSERVABLES
from fermisea.utilities.files import atomic_path, check_writable_folder

if TYPE_CHECKING:
    from fermisea.prediction.result import Prediction

_PIECE = 2**26
"""Largest size of a piece, bytes."""


def write_density(path: str | os.PathLike[str], prediction: Prediction) -> Path:
    """Writes the density at each tau_e as a netCDF4 file, atomically.

    The file has the variables ``density`` (electron_temperature, x, y, z), ``cell``, ``positions`` and ``numbers``, in
    1/Angstrom^3 and Angstrom, and opens with ``xarray.open_dataset(path, engine="h5netcdf")``. Where processes share
    the prediction, all of them must call this function; the first one writes the planes of all, piece by piece.

    Args:
        path: path of the file; an existing file is replaced.
        prediction: prediction with a density.

    Raises:
        InputError: for a prediction without a density.
        StorageError: if the file cannot be written, or does not fit on the disk.
    """
    path = Path(path)
    if not prediction.has_density:
        raise InputError(f"{path}: the prediction has no density; predict with density=True")
    processes = prediction.processes
    fields = [np.asarray(result.density) for result in prediction.results]
    size = prediction.grid.size * sum(field.itemsize for field in fields)
    rows = max(1, _PIECE // (int(np.prod(fields[0].shape[1:])) * fields[0].itemsize))
    with _new_file(path, prediction, size) if processes.first else nullcontext() as target:
        for index, field in enumerate(fields):
            start = 0
            for piece in processes.collected(field, rows):
                if target is not None:
                    target[index, start : start + len(piece)] = piece
                start += len(piece)
    return path


@contextmanager
def _new_file(path: Path, prediction: Prediction, size: int) -> Iterator[Any]:
    """Yields the variable ``density`` of a new file, which gets its name at the end of the block."""
    import h5netcdf  # noqa: PLC0415  # only when needed

    free = shutil.disk_usage(check_writable_folder(path.parent)).free
    if free < size:
        raise StorageError(
            f"{path}: got {free / 2**30:.1f} GiB of free space, expected {size / 2**30:.1f} GiB for the density; "
            "choose another folder"
        )
    atoms, results = prediction.atoms, prediction.results
    density = OBSERVABLES["density"]
    with atomic_path(path) as temporary, h5netcdf.File(temporary, "w") as file:
        n, m, k = prediction.grid.shape
        lengths = {"electron_temperature": len(results), "x": n, "y": m, "z": k}
        file.dimensions = lengths | {"atom": len(atoms), "vector": 3, "axis": 3}
        temperatures = np.array([result.electron_temperature for result in results])
        _variable(file, "electron_temperature", ("electron_temperature",), temperatures, "K", "Electronic temperature")
        _variable(file, "cell", ("vector", "axis"), atoms.cell.array, "Angstrom", "Lattice vectors")
        _variable(file, "positions", ("atom", "axis"), atoms.positions, "Angstrom", "Positions of the atoms")
        _variable(file, "numbers", ("atom",), atoms.numbers, "1", "Atomic numbers")
        kind = np.asarray(results[0].density).dtype
        target = file.create_variable("density", ("electron_temperature", "x", "y", "z"), kind, chunks=(1, 1, m, k))
        target.attrs.update(units=density.unit, long_name=density.description)
        file.attrs["warnings"] = list(prediction.warnings) or ["none"]
        yield target


def _variable(
    file: Any, name: str, dimensions: tuple[str, ...], values: npt.NDArray[Any], unit: str, description: str
) -> None:
    variable = file.create_variable(name, dimensions, data=values)
    variable.attrs.update(units=unit, long_name=description)
