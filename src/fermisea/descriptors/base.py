"""Interface of all descriptors."""

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
    """A vector of numbers that describes the atomic surroundings of a point in space.

    A descriptor is invariant under rotation and translation of the structure and under a change of the cell. The cell
    is periodic in all three directions, may have any shape and handedness, and may be smaller than the cutoff.
    """

    cutoff: float
    """Distance beyond which atoms do not contribute, Angstrom."""

    weights: Mapping[str, float] | None
    """Weight of each element; by default every atom has the weight 1."""

    @property
    def effective_cutoff(self) -> float:
        """Cutoff of a descriptor of smoothness 1 with about the same range, Angstrom."""
        return self.cutoff

    @property
    @abstractmethod
    def features(self) -> int:
        """Number of components."""

    @abstractmethod
    def evaluator(
        self, atoms: Atoms, dtype: str = "float64", threads: int | None = None, *, own: float = 0.0
    ) -> Evaluator:
        """Returns an evaluator of this descriptor for one structure, at any number of points.

        Args:
            atoms: positions and cell; ``atoms.pbc`` is ignored.
            dtype: ``"float64"``, or ``"float32"``.
            threads: number of threads; by default the number of cores available to this process.
            own: weight of an atom at each point to be excluded.

        Raises:
            InputError: for a cell without volume, positions that are not finite, an element without a weight.
        """

    def compute_points(self, atoms: Atoms, points: npt.ArrayLike, dtype: str = "float64") -> Array:
        """Returns the descriptors at points, (points, features).

        Args:
            atoms: as for ``evaluator``.
            points: Cartesian coordinates, (points, 3), Angstrom, inside or outside of the cell.
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
        """Returns the definition as plain values for ``descriptors.from_dict``."""


def check_definition(descriptor: Descriptor, size: str, highest: int) -> None:
    """Checks ``size``, ``cutoff``, ``weights`` and ``rfac0`` of a frozen descriptor and converts them to plain numbers.

    Args:
        descriptor: descriptor during its initialisation.
        size: name of the field that sets the number of features.
        highest: largest value of this field.

    Raises:
        InputError: for the first invalid field.
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
