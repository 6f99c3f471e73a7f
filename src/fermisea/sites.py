"""Sites of a structure: type, extent, partial occupation, and atoms at nearly the same place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial import cKDTree

from fermisea.errors import InputError
from fermisea.utilities.arrays import FloatArray

if TYPE_CHECKING:
    from ase import Atoms

CLOSEST = 0.05
"""Smallest distance of two atoms, Angstrom. Protons at 2 million kelvin come to 0.1 Angstrom."""

_FAR = 1e6
"""Largest coordinate of an atom or a lattice vector, Angstrom; larger coordinates have too few digits."""

_WHOLE = 1e-3
"""Allowed difference of an occupancy from one, from rounding in a file."""


def check_atoms(given: object, name: str = "structure") -> None:
    """Checks that a structure is one ``ase.Atoms``.

    Args:
        given: the structure.
        name: name of the structure in the message.

    Raises:
        InputError: for another object, such as a list of structures or the path of a file.
    """
    from ase import Atoms  # noqa: PLC0415  # slow to import, needed for structures only

    if isinstance(given, Atoms):
        return
    kind = type(given).__name__
    if isinstance(given, list | tuple):
        got, advice = f"a {kind} of length {len(given)}", "treat each structure in a loop"
    elif isinstance(given, str | os.PathLike):
        got, advice = repr(os.fspath(given)), "read a file with fermisea.structures.read_structure"
    else:
        got, advice = "None" if given is None else f"an object of type {kind}", "give a structure of ASE"
    raise InputError(f"{name}: got {got}, expected one ase.Atoms object; {advice}")


def check_extent(atoms: Atoms, name: str = "structure") -> None:
    """Checks that atoms and cell are not so far away, or so large, that positions have too few digits.

    Args:
        atoms: the structure, with finite positions, Angstrom.
        name: name of the structure in the message.

    Raises:
        InputError: for the first such atom, or for the cell.
    """
    if (np.abs(atoms.cell.array) > _FAR).any():
        raise InputError(
            f"{name}: cell: got {atoms.cell.tolist()} Å, expected lattice vectors up to {_FAR:g} Å; correct the cell"
        )
    far = np.flatnonzero((np.abs(atoms.positions) > _FAR).any(axis=1))
    if far.size:
        raise InputError(
            f"{name}: atom {far[0]} ({atoms.symbols[far[0]]}) is at {atoms.positions[far[0]].tolist()} Å, expected "
            f"coordinates up to {_FAR:g} Å; correct its position"
        )


def check_occupancy(atoms: Atoms, name: str = "structure") -> None:
    """Checks that one whole atom is on each site.

    ASE keeps the occupancies of a CIF file in ``atoms.info["occupancy"]``, for each kind of site in
    ``atoms.arrays["spacegroup_kinds"]``, and places the most frequent element on the site. Occupancies of other files
    are arrays of the atoms; an array of zeros stands for an empty column of a PDB file.

    Args:
        atoms: the structure.
        name: name of the structure in the message.

    Raises:
        InputError: for the first site that is partly occupied, or shared by several elements.
    """
    kinds = atoms.info.get("occupancy")
    if isinstance(kinds, Mapping):
        _check_kinds(atoms, kinds, name)
    for values in (atoms.arrays.get("occupancy"), atoms.arrays.get("occupancies")):
        if values is None or values.shape != (len(atoms),) or values.dtype.kind not in "fiu" or not values.any():
            continue
        partial = np.flatnonzero(np.abs(values - 1.0) > _WHOLE)
        if partial.size:
            atom = int(partial[0])
            raise InputError(_partial(atoms, atom, f"{atoms.symbols[atom]} {values[atom]:g}", name))


def _check_kinds(atoms: Atoms, kinds: Mapping[Any, Any], name: str) -> None:
    """Checks the occupancies of the kinds of sites that the structure has."""
    of_atoms = atoms.arrays.get("spacegroup_kinds", np.arange(len(atoms)))
    for kind, elements in kinds.items():
        if not isinstance(elements, Mapping):
            return  # another meaning of the word
        members = np.flatnonzero(of_atoms.astype(str) == str(kind))
        values = {str(symbol): _number(part) for symbol, part in elements.items() if part}
        if members.size and (len(values) != 1 or abs(sum(values.values()) - 1) > _WHOLE):
            found = ", ".join(f"{symbol} {part:g}" for symbol, part in values.items()) or "no element"
            raise InputError(_partial(atoms, int(members[0]), found, name))


def _number(part: Any) -> float:
    """Returns an occupancy; a CIF file states an unknown or a default one, which is 1, by a sign."""
    return 1.0 if str(part).strip() in ("?", ".") else float(part)


def _partial(atoms: Atoms, atom: int, found: str, name: str) -> str:
    place = ", ".join(f"{x:.4g}" for x in atoms.cell.scaled_positions(atoms.positions[atom]))
    return (
        f"{name}: the site of atom {atom} at fractional coordinates ({place}) has the occupancy {found}, expected one "
        "whole atom; build a supercell with whole atoms, and remove the occupancies from it "
        "(atoms.info['occupancy'] in ASE)"
    )


def check_contacts(atoms: Atoms, name: str = "structure") -> None:
    """Checks that no two atoms, or periodic images, are closer than ``CLOSEST``.

    The search is a k-d tree over the cell, O(n log n), with periodicity along all three lattice vectors.

    Args:
        atoms: the structure, with finite positions and a cell with a volume, Angstrom.
        name: name of the structure in the message.

    Raises:
        InputError: for the first pair of atoms, or for a lattice vector shorter than ``CLOSEST``.
    """
    from ase.geometry import minkowski_reduce  # noqa: PLC0415  # slow to import, needed for structures only

    if not len(atoms):
        return
    cell = np.asarray(minkowski_reduce(atoms.cell.array, pbc=True)[0], dtype=np.float64)
    shortest = float(np.linalg.norm(cell, axis=1).min())
    advice = f"expected at least {CLOSEST} Å; correct positions, cell or the unit of length (Å)"
    if shortest < CLOSEST:
        raise InputError(f"{name}: an atom and its periodic image are {shortest:.2g} Å apart, {advice}")
    found = _close_pair(atoms.positions, cell)
    if found is not None:
        one, other, distance = found
        pair = f"atoms {one} ({atoms.symbols[one]}) and {other} ({atoms.symbols[other]})"
        raise InputError(f"{name}: {pair} are {distance:.2g} Å apart, {advice}, or remove one of the two atoms")


def _close_pair(positions: FloatArray, cell: FloatArray) -> tuple[int, int, float] | None:
    """Returns two atoms closer than ``CLOSEST`` and their distance (Angstrom); None if there are none."""
    points, heights = box_coordinates(positions, cell)
    order = np.lexsort(points.T)
    equal = np.flatnonzero((np.diff(points[order], axis=0) == 0).all(axis=1))
    if equal.size:  # many atoms at one place would make many pairs
        one, other = sorted(order[equal[0] : equal[0] + 2].tolist())
        return one, other, 0.0
    tree = cKDTree(points, boxsize=heights)
    pairs = tree.query_pairs(CLOSEST * (1 + 1e-6), p=np.inf, output_type="ndarray")
    apart = (points[pairs[:, 1]] - points[pairs[:, 0]]) / heights
    lengths = np.linalg.norm((apart - np.round(apart)) @ cell, axis=1)
    nearest = int(np.argmin(lengths)) if lengths.size else -1
    if nearest < 0 or lengths[nearest] >= CLOSEST:
        return None
    return int(pairs[nearest, 0]), int(pairs[nearest, 1]), float(lengths[nearest])


def box_coordinates(positions: FloatArray, cell: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Returns coordinates for a periodic k-d tree, (atoms, 3), and the size of its box, (3,), both in Angstrom.

    Coordinates along the lattice vectors are scaled by the distances of opposite faces. A coordinate difference
    then never exceeds the distance of the two atoms. In an orthogonal cell they are Cartesian coordinates.

    Args:
        positions: finite positions, (atoms, 3), Angstrom.
        cell: lattice vectors as rows, (3, 3), Angstrom; the less skewed, the closer are box and Cartesian distances.
    """
    inverse = np.linalg.inv(cell)
    heights = 1 / np.linalg.norm(inverse, axis=0)
    fractions = positions @ inverse
    fractions -= np.floor(fractions)
    fractions[fractions >= 1] = 0.0  # rounding of a tiny negative coordinate
    return np.minimum(fractions * heights, np.nextafter(heights, 0)), heights
