"""Fields on a grid in MALA's files: numpy arrays and openPMD meshes in HDF5."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fermisea import units
from fermisea.errors import FileFormatError, InputError
from fermisea.interop.openpmd_file import DENSITY, LDOS, meshes_of, open_series, read_numbered
from fermisea.utilities.files import unreadable

LDOS_UNITS: Mapping[str, float] = {
    "1/(eV*A^3)": 1.0,
    "1/(eV*Bohr^3)": units.BOHR**-3,
    "1/(Ry*Bohr^3)": 1 / (units.RYDBERG * units.BOHR**3),
}
"""Factors to 1/(eV Angstrom^3), by MALA's names of units."""

HDF5_SUFFIXES = (".h5", ".hdf5")

_UNITS = {"LDOS": LDOS, "Density": DENSITY}


def read_field(path: str | os.PathLike[str], mesh: str) -> npt.NDArray[np.floating]:
    """Returns the field in a ``.npy`` or openPMD file, (nx, ny, nz, components).

    A numpy array is memory-mapped, not read, and changes to it stay in memory; an openPMD mesh is read and converted to
    1/(eV Angstrom^3) (LDOS) or 1/Angstrom^3 (density) from the unit stated in the file.

    Args:
        path: the file, opened read-only.
        mesh: ``"LDOS"`` or ``"Density"``: name of the mesh in openPMD.

    Raises:
        InputError: if the file does not exist.
        FileFormatError: if the file does not contain the field.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected a field of MALA (.npy or .h5)")
    field = _openpmd(path, mesh) if path.suffix in HDF5_SUFFIXES else _numpy(path)
    if field.ndim == 3:
        field = field[..., None]
    if field.ndim != 4:
        raise FileFormatError(f"{path}: got shape {field.shape}, expected (nx, ny, nz, components)")
    return field


def _numpy(path: Path) -> npt.NDArray[np.floating]:
    try:
        field = np.load(path, mmap_mode="c", allow_pickle=False)
    except Exception as error:  # numpy's reader of headers raises many kinds of exceptions
        detail = " ".join(str(error).split())[:100]
        damaged = FileFormatError(f"{path}: not a complete .npy file of plain numbers ({detail}); copy the file again")
        raise unreadable(path, error) or damaged from error
    if not isinstance(field, np.ndarray) or field.dtype.kind != "f":
        raise FileFormatError(
            f"{path}: holds {getattr(field, 'dtype', 'several arrays')}, expected one array of floats"
        )
    return field


def _openpmd(path: Path, mesh: str) -> npt.NDArray[np.floating]:
    with open_series(path) as file:
        iterations = list(file["data"])
        if len(iterations) != 1:
            raise FileFormatError(f"{path}: holds {len(iterations)} iterations, expected one snapshot")
        meshes = meshes_of(file, iterations[0])
        if mesh not in meshes:
            raise FileFormatError(f"{path}: holds {', '.join(meshes) or 'no mesh'}, expected the mesh {mesh}")
        return read_numbered(meshes[mesh], _UNITS[mesh])
