"""What every descriptor offers."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import atomic_numbers

from fermisea.descriptors.evaluator import Evaluator
from fermisea.errors import InputError
from fermisea.grid import RealSpaceGrid

Array = npt.NDArray[np.floating]


class Descriptor(ABC):
    """A vector of numbers at any point of space that says where the atoms around it are.

    It does not change when the structure is rotated, shifted or described in another cell. The cell is periodic in all
    three directions, may have any shape and handedness, and may be smaller than the cutoff.
    """

    weights: Mapping[str, float] | None
    """Weight of each element; without them, every atom has the weight 1."""

    @property
    @abstractmethod
    def features(self) -> int:
        """Length of the vector."""

    @abstractmethod
    def evaluator(
        self, atoms: Atoms, dtype: str = "float64", threads: int | None = None, *, own: float = 0.0
    ) -> Evaluator:
        """Returns what computes this descriptor for one structure, at as many points and as often as wanted.

        Args:
            atoms: positions and cell; ``atoms.pbc`` is not looked at.
            dtype: ``"float64"``, or ``"float32"``.
            threads: that share the work; without it, as many as there are cores for this process.
            own: weight of an atom at each of the points that is not to count.

        Raises:
            InputError: for a cell without volume, positions that are not finite, an element without a weight.
        """

    def compute_points(self, atoms: Atoms, points: npt.ArrayLike, dtype: str = "float64") -> Array:
        """Returns the descriptors at points, (points, features).

        Args:
            atoms: as for ``evaluator``.
            points: Cartesian coordinates, (points, 3), Angstrom, inside the cell or not.
            dtype: as for ``evaluator``.

        Raises:
            InputError: as ``evaluator``, and for points that are not finite.
        """
        return self.evaluator(atoms, dtype).points(points)

    def compute(self, atoms: Atoms, grid: tuple[int, int, int] | RealSpaceGrid, dtype: str = "float64") -> Array:
        """Returns the descriptors on a grid, (nx, ny, nz, features).

        Args:
            atoms: as for ``evaluator``.
            grid: shape of a grid that spans the cell of ``atoms``, or a grid with its own cell.
            dtype: as for ``evaluator``.

        Raises:
            InputError: as ``evaluator``.
        """
        if not isinstance(grid, RealSpaceGrid):
            grid = RealSpaceGrid(atoms.cell.array, grid)
        return self.evaluator(atoms, dtype).box(grid, (0, 0, 0), grid.shape).reshape(*grid.shape, self.features)

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Returns the definition as plain values; ``descriptors.from_dict`` turns it back."""


def check_definition(descriptor: Descriptor, size: str, highest: int) -> None:
    """Checks ``size``, ``cutoff``, ``weights`` and ``rfac0`` of a frozen descriptor and makes them plain numbers.

    Args:
        descriptor: while it is being made.
        size: name of the field that sets the number of features.
        highest: largest value of that field.

    Raises:
        InputError: naming the first that cannot be used.
    """
    fields = vars(descriptor)
    value, cutoff, rfac0, weights = fields[size], fields["cutoff"], fields["rfac0"], fields["weights"]
    if not (isinstance(value, Integral) and 0 <= int(value) <= highest):
        raise InputError(f"{size}: got {value!r}, expected an integer from 0 to {highest}")
    if not (is_number(cutoff) and cutoff > 0):
        raise InputError(f"cutoff: got {cutoff!r} Angstrom, expected a finite value above 0")
    if not (is_number(rfac0) and 0 < rfac0 <= 1):
        raise InputError(f"rfac0: got {rfac0!r}, expected a value above 0 and at most 1")
    if not isinstance(weights, Mapping | None):
        raise InputError(f"weights: got {weights!r}, expected a mapping from elements to numbers")
    for element, weight in (weights or {}).items():
        if element not in atomic_numbers:
            raise InputError(f"weights: got the element {element!r}, expected chemical symbols such as Al")
        if not is_number(weight):
            raise InputError(f"weight of {element}: got {weight!r}, expected a finite number")
    plain = None if weights is None else {str(element): float(weight) for element, weight in weights.items()}
    for name, setting in ((size, int(value)), ("cutoff", float(cutoff)), ("rfac0", float(rfac0)), ("weights", plain)):
        object.__setattr__(descriptor, name, setting)


def is_number(value: object) -> bool:
    """Whether a value is a finite real number."""
    return isinstance(value, Real) and math.isfinite(value)
