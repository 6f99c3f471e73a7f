"""Comparison of two descriptions of one structure."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from fermisea.utilities.arrays import FloatArray


def structure_difference(one: Atoms, two: Atoms, tolerance: float) -> str | None:
    """Returns the first difference of two structures in words, or None up to translations by lattice vectors.

    Args:
        one: structure whose values come first in the words.
        two: structure whose values come second.
        tolerance: largest difference of a coordinate, Angstrom.
    """
    if len(one) != len(two):
        return f"{len(one)} and {len(two)} atoms"
    if (one.numbers != two.numbers).any():
        return f"the elements {one.get_chemical_formula()} and {two.get_chemical_formula()}, or another order of them"
    cells = np.abs(one.cell.array - two.cell.array).max(axis=1)
    if not (cells <= tolerance).all():
        vector = int(np.argmax(cells))
        return f"{_coordinates(one.cell[vector])} and {_coordinates(two.cell[vector])} for lattice vector {vector + 1}"
    shift = (one.positions - two.positions) @ np.linalg.inv(two.cell.array)
    distances = np.abs((shift - np.round(shift)) @ two.cell.array).max(axis=1)
    if (distances <= tolerance).all():
        return None
    atom = int(np.argmax(distances))
    return f"{_coordinates(one.positions[atom])} and {_coordinates(two.positions[atom])} for atom {atom + 1}"


def _coordinates(vector: FloatArray) -> str:
    return f"({', '.join(f'{x:.4f}' for x in vector)}) Angstrom"
