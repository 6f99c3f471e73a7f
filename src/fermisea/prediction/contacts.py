"""Structures with atoms too close for a model."""

from __future__ import annotations

import math

import numpy as np
from ase import Atoms
from ase.geometry import minkowski_reduce

from fermisea.data.distances import pairs


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
