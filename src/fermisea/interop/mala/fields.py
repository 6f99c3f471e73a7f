"""Fields on a grid in MALA's files: numpy arrays and openPMD meshes in HDF5."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from fermisea import units
from fermisea.errors import FileFormatError, InputError

LDOS_UNITS: Mapping[str, float] = {
    "1/(eV*A^3)": 1.0,
    "1/(eV*Bohr^3)": units.BOHR**-3,
    "1/(Ry*Bohr^3)": 1 / (units.RYDBERG * units.BOHR**3),
}
"""Factors to 1/(eV Angstrom^3), by MALA's names."""

HDF5_SUFFIXES = (".h5", ".hdf5")

_DIMENSIONS = {"LDOS": (-5, -1, 2, 0, 0, 0, 0), "Density": (-3, 0, 0, 0, 0, 0, 0)}
_SI = {"LDOS": 1e30 / units.ELECTRONVOLT, "Density": 1e30}
"""1/(eV Angstrom^3) and 1/Angstrom^3 in SI units."""


def read_field(path: str | os.PathLike[str], mesh: str) -> npt.NDArray[np.floating]:
    """Returns the field in a ``.npy`` or openPMD file, (nx, ny, nz, components).

    A numpy array is mapped, not read, and changes to it stay in memory; an openPMD mesh is read and turned into
    1/(eV Angstrom^3) (LDOS) or 1/Angstrom^3 (density) by the unit that it states.

    Args:
        path: the file, opened for reading alone.
        mesh: ``"LDOS"`` or ``"Density"``: name of the mesh in openPMD.

    Raises:
        InputError: if there is no such file.
        FileFormatError: if it holds no such field.
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
    except (OSError, ValueError, EOFError, SyntaxError, MemoryError, OverflowError) as error:
        detail = " ".join(str(error).split())[:100]
        raise FileFormatError(f"{path}: not a whole .npy file of plain numbers ({detail}); copy it again") from error
    if not isinstance(field, np.ndarray) or field.dtype.kind != "f":
        raise FileFormatError(
            f"{path}: holds {getattr(field, 'dtype', 'several arrays')}, expected one array of floats"
        )
    return field


def _openpmd(path: Path, mesh: str) -> npt.NDArray[np.floating]:
    try:
        with h5py.File(path, "r") as file:
            iterations = list(file["data"])
            if len(iterations) != 1:
                raise FileFormatError(f"{path}: holds {len(iterations)} iterations, expected one snapshot")
            meshes = file[f"data/{iterations[0]}/{_text(file, 'meshesPath', 'meshes/')}"]
            if mesh not in meshes:
                raise FileFormatError(f"{path}: holds {', '.join(meshes) or 'no mesh'}, expected the mesh {mesh}")
            return _components(path, meshes[mesh], mesh)
    except (OSError, KeyError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, FileFormatError):
            raise
        detail = " ".join(str(error).split())[:100]
        raise FileFormatError(f"{path}: not a whole openPMD file ({detail}); copy it again") from error


def _components(path: Path, group: Any, mesh: str) -> npt.NDArray[np.floating]:
    names = sorted(group, key=int)
    if names != [str(index) for index in range(len(names))] or not names:
        raise FileFormatError(f"{path}: {mesh} has the components {names[:5]}, expected 0, 1, 2 and so on")
    if tuple(group.attrs["unitDimension"]) != _DIMENSIONS[mesh]:
        raise FileFormatError(f"{path}: the unit of its {mesh} is of another kind, expected that of a {mesh}")
    if _text(group, "dataOrder", "C") != "C" or [_decoded(a) for a in group.attrs["axisLabels"]] != ["x", "y", "z"]:
        raise FileFormatError(f"{path}: {mesh} is not in the order x, y, z, expected that of MALA")
    field = np.empty((*group["0"].shape, len(names)), dtype=group["0"].dtype)
    for index, name in enumerate(names):
        field[..., index] = group[name][...]
        # MALA's constants are older: units that agree to 1e-6 are one
        factor = float(group[name].attrs["unitSI"]) / _SI[mesh]
        if abs(factor - 1) > 1e-6:
            field[..., index] *= factor
    return field


def _text(holder: Any, name: str, default: str) -> str:
    return _decoded(holder.attrs.get(name, default)).strip()


def _decoded(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
