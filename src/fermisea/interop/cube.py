"""Gaussian cube files: :func:`read_cube` and :func:`write_cube`."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ase import Atoms

from fermisea.data.cube import Cube, read_cube
from fermisea.errors import InputError
from fermisea.units import BOHR, field_factor
from fermisea.utilities.arrays import FloatArray
from fermisea.utilities.files import atomic_path

__all__ = ["Cube", "read_cube", "write_cube"]

_COLUMNS = 6


def write_cube(
    path: str | os.PathLike[str],
    atoms: Atoms,
    values: npt.ArrayLike,
    unit: str = "1/bohr^3",
    *,
    comment: str = "",
) -> Path:
    """Writes a field as a cube file with lengths in bohr and 12 digits, atomically.

    Args:
        path: path of the file; an existing file is replaced.
        atoms: the structure; the grid spans its cell.
        values: field, (nx, ny, nz), 1/Angstrom^3 or 1/(eV Angstrom^3).
        unit: unit of the values in the file, one of ``units.FIELD_UNITS``; "1/(Ry bohr^3)" for an LDOS as from
            ``pp.x``.
        comment: description of the field, for the second line.

    Raises:
        InputError: for values that are not a field, or a file that cannot be written.
    """
    path = Path(path)
    field = np.asarray(values, dtype=np.float64)
    if field.ndim != 3 or not np.isfinite(field).all():
        raise InputError(f"{path}: got values of shape {field.shape}, expected finite values on a grid (nx, ny, nz)")
    scaled = field / field_factor(unit)
    steps = atoms.cell.array / np.array(field.shape)[:, None] / BOHR
    lines = [f"{atoms.get_chemical_formula()}, lengths in bohr, values in {unit}", " ".join(comment.split())]
    lines.append(f"{len(atoms):5d}" + 3 * f"{0.0:18.12f}")
    lines += [f"{n:5d}" + _row(step) for n, step in zip(field.shape, steps, strict=True)]
    for number, position in zip(atoms.numbers, atoms.positions / BOHR, strict=True):
        lines.append(f"{number:5d}{number:18.12f}" + _row(position))
    with atomic_path(path) as temporary, temporary.open("w", encoding="ascii", errors="replace") as stream:
        stream.write("\n".join(lines) + "\n")
        form = " %.12E" * field.shape[2]
        for column in scaled.reshape(-1, field.shape[2]):
            text = form % tuple(column)
            words = text.split()
            for start in range(0, len(words), _COLUMNS):
                stream.write(" ".join(f"{word:>19}" for word in words[start : start + _COLUMNS]) + "\n")
    return path


def _row(values: FloatArray) -> str:
    return "".join(f"{value:18.12f}" for value in values)
