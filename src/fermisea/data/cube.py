"""Reader of Gaussian cube files: one field on the grid of a cell, with its atoms.

The format has two comment lines; the number of atoms and the origin; three lines with a number of points and the step
between them; one line for each atom; the values, z fastest. Lengths are in bohr, or in Angstrom if the numbers of
points are negative. The format does not define the unit of the values.
"""

from __future__ import annotations

import io
import os
import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from fermisea.errors import FileFormatError, InputError
from fermisea.grid import RealSpaceGrid
from fermisea.units import BOHR, field_factor
from fermisea.utilities.arrays import FloatArray
from fermisea.utilities.numerals import integer, real_numbers

_SHORT_EXPONENT = re.compile(r"(?<=\d)([+-]\d{3})(?!\d)")
"""Fortran omits the letter before an exponent of three digits: 0.12345-101."""

_FARTHEST = 1000.0
"""Largest distance of an atom from the origin of the grid, in cells; unwrapped molecular dynamics stays below."""


@dataclass(frozen=True, eq=False)
class Cube:
    """Content of a cube file.

    Attributes:
        atoms: elements, positions relative to the origin of the grid, and cell, Angstrom, periodic.
        grid: grid of the values.
        values: (nx, ny, nz), in the unit of the file.
        comment: first two lines.
    """

    atoms: Atoms
    grid: RealSpaceGrid
    values: FloatArray
    comment: tuple[str, str]

    def field(self, unit: str, constants: str = "codata2018") -> FloatArray:
        """Returns the values in 1/Angstrom^3 or 1/(eV Angstrom^3), (nx, ny, nz).

        Args:
            unit: unit of the values in the file, one of ``units.FIELD_UNITS``.
            constants: one of ``units.CONSTANTS``.

        Raises:
            InputError: for an unknown unit or set of constants.
        """
        return self.values * field_factor(unit, constants)


def read_cube(path: str | os.PathLike[str]) -> Cube:
    """Returns the field in a cube file.

    Raises:
        FileFormatError: for a file that is missing, truncated, not a cube file, or has several fields.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read ({error.strerror}), expected a cube file") from error
    stream = io.StringIO(text)
    comment = stream.readline().strip(), stream.readline().strip()
    if "castep2cube" in comment[1]:
        raise FileFormatError(f"{path}: written by castep2cube, which repeats the first points at the end; remove them")
    try:
        atoms, grid = _read_header(stream)
    except (InputError, ValueError, IndexError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise FileFormatError(
            f"{path}: the header is not the header of a cube file ({reason}); write the file again"
        ) from error
    values = _read_values(path, stream.read(), grid)
    if not np.isfinite(values).all():
        raise FileFormatError(f"{path}: got values that are not finite, expected finite numbers; write the file again")
    return Cube(atoms, grid, values.reshape(grid.shape), comment)


def _read_header(stream: io.StringIO) -> tuple[Atoms, RealSpaceGrid]:
    words = stream.readline().split()
    count, origin = integer(words[0]), real_numbers(words[1:4])
    if count < 0 or (len(words) > 4 and integer(words[4]) != 1):
        raise InputError("several fields in one file, expected one")
    if origin.shape != (3,) or not np.isfinite(origin).all():
        raise InputError("no finite origin in the third line")
    rows = [line.split() for line in islice(stream, 3)]
    points = [integer(row[0]) for row in rows]
    unit = 1.0 if all(n < 0 for n in points) else BOHR
    if min(points) < 0 < max(points):
        raise InputError(f"numbers of points {points} have different signs, expected all positive or all negative")
    n, m, k = map(abs, points)
    steps = np.array([real_numbers(row[1:4]) for row in rows])
    cell = steps * np.abs(points)[:, None] * unit
    grid = RealSpaceGrid(tuple(map(tuple, cell)), (n, m, k))
    lines = list(islice(stream, count))
    if len(lines) < count:
        raise InputError(f"{len(lines)} of {count} atoms")
    numbers, positions = np.empty(count, dtype=int), np.empty((count, 3))
    for index, line in enumerate(lines):
        row = line.split()
        if len(row) != 5:
            raise InputError(f"atom {index + 1}: {line.strip()}")
        numbers[index], positions[index] = integer(row[0]), real_numbers(row[2:])
    if not np.isfinite(positions).all() or (numbers < 0).any() or (numbers >= len(chemical_symbols)).any():
        raise InputError("positions that are not finite or unknown elements")
    atoms = Atoms(numbers, (positions - origin) * unit, cell=cell, pbc=True)
    far = np.abs(atoms.cell.scaled_positions(atoms.positions)).max(axis=1, initial=0.0) > _FARTHEST
    if far.any():
        raise InputError(
            f"atom {int(np.argmax(far)) + 1} lies more than {_FARTHEST:g} cells from the origin of the grid"
        )
    return atoms, grid


def _read_values(path: Path, text: str, grid: RealSpaceGrid) -> FloatArray:
    words = text.split()
    # some codes write no line end after the last number; a truncated number is shorter than all others
    cut = len(words) > 1 and not text[-1].isspace() and len(words[-1]) < min(map(len, words[:-1]))
    if len(words) != grid.size or cut:
        state = "too long, or several fields in one file" if len(words) > grid.size else "truncated"
        shape = " x ".join(map(str, grid.shape))
        raise FileFormatError(
            f"{path}: got {len(words)} values, expected {grid.size} ({shape}): {state}; copy the file again"
        )
    try:
        return real_numbers(words)
    except ValueError:
        pass
    try:
        return real_numbers([_SHORT_EXPONENT.sub(r"E\1", word) for word in words])
    except ValueError as error:
        raise FileFormatError(
            f"{path}: got text among its values ({error}), expected numbers; write the file again"
        ) from error
