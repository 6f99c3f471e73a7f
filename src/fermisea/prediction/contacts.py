"""Distances between atoms, and structures with atoms too close for a calculation."""

from __future__ import annotations

import itertools
import math

import numpy as np
from ase import Atoms
from ase.geometry import minkowski_reduce
from scipy.spatial import KDTree

from fermisea.descriptors.neighbors import find_neighbors
from fermisea.utilities.arrays import FloatArray, IntArray

_SAME = 1e-9
"""Distance between an atom and itself, from rounding, Angstrom."""


def pairs(atoms: Atoms, reach: float) -> tuple[IntArray, IntArray, FloatArray]:
    """Returns first atom, second atom and distance (Angstrom) of all pairs up to ``reach``, through the faces too.

    Each pair occurs twice, once from each side.
    """
    if reach <= 0:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0)
    images = find_neighbors(atoms, reach, None)
    fractions = atoms.positions @ images.inverse
    own = (fractions - np.floor(fractions)) @ images.lattice
    found = KDTree(own).sparse_distance_matrix(KDTree(images.positions), reach, output_type="ndarray")
    first, second, lengths = found["i"].astype(np.int64), images.atoms[found["j"]], found["v"]
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


def contact(atoms: Atoms, least: float) -> str | None:
    """Describes two atoms that are closer than ``least`` (Angstrom); None if there are none.

    Volume and lattice are checked first, because the number of periodic images in a tiny cell is unbounded.
    """
    volume = atoms.get_volume() / len(atoms)
    if volume < least**3 / math.sqrt(2):  # below the closest packing of spheres of this diameter
        return f"the volume is {volume:.3g} Å³ per atom"
    length = float(np.linalg.norm(minkowski_reduce(atoms.cell.array, pbc=True)[0], axis=1).min())
    if length < least:
        return f"the periodic images of an atom are {length:.2f} Å apart"
    first, second, lengths = pairs(atoms, least)
    if not lengths.size:
        return None
    index = int(np.argmin(lengths))
    pair = " and ".join(f"{atom} ({atoms.symbols[atom]})" for atom in (int(first[index]), int(second[index])))
    return f"atoms {pair} are {lengths[index]:.2f} Å apart"
