"""Atoms and periodic images within the cutoff of the cell, sorted into bins."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from ase import Atoms

from fermisea.errors import InputError
from fermisea.grid import check_structure
from fermisea.utilities.arrays import FloatArray, IntArray

_BINS = 2
"""Number of bins per cutoff."""

_MOST_BINS = 100
_MOST_IMAGES = 20_000_000


@dataclass(frozen=True)
class Neighbors:
    """Atoms of a periodic structure and all images within the cutoff of the cell, sorted into bins.

    Attributes:
        lattice: lattice vectors as rows, (3, 3), Angstrom.
        positions: atoms and images, sorted by bin, (images, 3), Angstrom.
        weights: weight of each image, (images,).
        first: first atom of each bin, and the number of images at the end, (bins + 1,).
        bins: number of bins along each lattice vector, (3,).
        origin: fractional coordinates of the first bin's corner, (3,).
        inverse_width: number of bins per lattice vector, (3,).
        atoms: atom of each image, (images,).
        shifts: displacement of each image from its atom in lattice vectors, (images, 3).
        count: number of atoms in the structure.
    """

    lattice: FloatArray
    positions: FloatArray
    weights: FloatArray
    first: IntArray
    bins: IntArray
    origin: FloatArray
    inverse_width: FloatArray
    atoms: IntArray
    shifts: IntArray
    count: int

    @cached_property
    def inverse(self) -> FloatArray:
        """Matrix from Cartesian to fractional coordinates, (3, 3), 1/Angstrom."""
        return np.ascontiguousarray(np.linalg.inv(self.lattice))

    @property
    def span(self) -> FloatArray:
        """Inverse distances of opposite faces of the cell, (3,), 1/Angstrom."""
        return np.asarray(np.linalg.norm(self.inverse, axis=0))

    def arrays(self) -> tuple[npt.NDArray[np.generic], ...]:
        """Returns the arrays in the order of the arguments of the compiled loops."""
        return (
            self.inverse,
            self.span,
            self.positions,
            self.weights,
            self.first,
            self.bins,
            self.origin,
            self.inverse_width,
        )


def find_neighbors(atoms: Atoms, cutoff: float, weights: Mapping[str, float] | None) -> Neighbors:
    """Sorts atoms into bins for points anywhere in the cell, which is periodic in all three directions.

    The cell may have any shape and handedness, and may be smaller than the cutoff.

    Args:
        atoms: positions and cell; ``atoms.pbc`` is ignored.
        cutoff: cutoff of the descriptor, Angstrom.
        weights: weight of each element; ``None`` gives every atom the weight 1.

    Raises:
        InputError: for a cell without volume, positions that are not finite, or an element without a weight.
    """
    check_structure(atoms, periodic=False, allow_empty=True, allow_contacts=True)
    lattice = np.array(atoms.cell.array, dtype=np.float64)
    positions = np.asarray(atoms.positions, dtype=np.float64)
    inverse = np.linalg.inv(lattice)
    # cutoff divided by the distance of opposite faces, with a margin for rounding
    reach = cutoff * np.linalg.norm(inverse, axis=0) * (1 + 1e-9)
    expected = len(atoms) * float(np.prod(1 + 2 * reach))
    if expected > _MOST_IMAGES:
        raise InputError(
            f"cell: {expected:.0f} periodic images are within {cutoff} Angstrom of the cell, expected at most "
            f"{_MOST_IMAGES}; check the cell and the cutoff"
        )
    own = positions @ inverse
    fractions, source = _images(own, reach)
    bins = np.array([max(1, min(_MOST_BINS, math.floor((1 + 2 * r) / r * _BINS))) for r in reach], dtype=np.int64)
    inverse_width = bins / (1 + 2 * reach)
    index = np.clip(((fractions + reach) * inverse_width).astype(np.int64), 0, bins - 1)
    flat = (index[:, 0] * bins[1] + index[:, 1]) * bins[2] + index[:, 2]
    order = np.argsort(flat, kind="stable")
    first = np.searchsorted(flat[order], np.arange(int(np.prod(bins)) + 1)).astype(np.int64)
    fractions, source = fractions[order], source[order]
    return Neighbors(
        lattice,
        np.ascontiguousarray(fractions @ lattice),
        weights_of(atoms.get_chemical_symbols(), weights)[source],
        first,
        bins,
        -reach,
        inverse_width,
        source,
        np.rint(fractions - own[source]).astype(np.int64),
        len(atoms),
    )


def weights_of(symbols: Sequence[str], weights: Mapping[str, float] | None) -> FloatArray:
    """Returns the weight of each atom; ``None`` gives all atoms the weight 1.

    Raises:
        InputError: for an element without a weight.
    """
    if weights is None:
        return np.ones(len(symbols))
    unknown = sorted(set(symbols) - set(weights))
    if unknown:
        raise InputError(
            f"element {unknown[0]}: not among the elements of this descriptor, {', '.join(sorted(weights))}; "
            "use a descriptor or model made for this element"
        )
    return np.array([weights[symbol] for symbol in symbols], dtype=np.float64)


def _images(fractions: FloatArray, reach: FloatArray) -> tuple[FloatArray, IntArray]:
    """Returns all images within [-reach, 1 + reach] along each lattice vector, and the atom of each image."""
    images = fractions - np.floor(fractions)
    source = np.arange(len(images))
    for axis in range(3):
        steps = math.ceil(reach[axis]) + 1
        parts, kept = [], []
        for shift in range(-steps, steps + 1):
            moved = images[:, axis] + shift
            inside = (moved >= -reach[axis]) & (moved <= 1 + reach[axis])
            part = images[inside]
            part[:, axis] = moved[inside]
            parts.append(part)
            kept.append(source[inside])
        images, source = np.concatenate(parts), np.concatenate(kept)
    return images, source
