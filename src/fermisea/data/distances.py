"""Distances between atoms of a periodic structure."""

from __future__ import annotations

import itertools

import numpy as np
from ase import Atoms
from scipy.spatial import KDTree

from fermisea.descriptors.neighbors import find_neighbors
from fermisea.utilities.arrays import FloatArray, IntArray

_SAME = 1e-9
"""Distance between an atom and itself, from rounding, Angstrom."""


def pairs(atoms: Atoms, reach: float, members: slice = slice(None)) -> tuple[IntArray, IntArray, FloatArray]:
    """Returns first atom, second atom and distance (Angstrom) of all pairs up to ``reach``, through the faces too.

    Each pair occurs twice, once from each side.

    Args:
        atoms: periodic structure.
        reach: largest distance, Angstrom.
        members: range of the first atoms; by default all.
    """
    if reach <= 0:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0)
    images = find_neighbors(atoms, reach, None)
    fractions = atoms.positions[members] @ images.inverse
    own = (fractions - np.floor(fractions)) @ images.lattice
    found = KDTree(own).sparse_distance_matrix(KDTree(images.positions), reach, output_type="ndarray")
    first = found["i"].astype(np.int64) + members.indices(len(atoms))[0]
    second, lengths = images.atoms[found["j"]], found["v"]
    other = (first != second) | (lengths > _SAME)
    return first[other], second[other], lengths[other]


def shortest_distances(atoms: Atoms, reach: float) -> dict[str, float]:
    """Returns the shortest distance below ``reach`` of each pair of elements, such as ``Al-Al``, Angstrom."""
    first, second, lengths = pairs(atoms, reach)
    symbols = np.array(atoms.get_chemical_symbols())
    found = {}
    for one, other in itertools.combinations_with_replacement(sorted(set(symbols)), 2):
        chosen = lengths[(symbols[first] == one) & (symbols[second] == other)]
        if chosen.size:
            found[f"{one}-{other}"] = float(chosen.min())
    return found
