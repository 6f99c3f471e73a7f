"""What every descriptor offers, and the loop over blocks of points that they share."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import atomic_numbers

from fermisea.errors import InputError
from fermisea.grid import RealSpaceGrid

FloatArray = npt.NDArray[np.float64]

_BLOCK = 256
"""Points handed to the compiled loops at once; their intermediates stay in a core's cache."""

_HIGHEST = 30
"""Highest degree: the tables of constants grow with its fifth power."""


class Descriptor(ABC):
    """A vector of numbers at any point of space that says where the atoms around it are.

    It does not change when the structure is rotated, shifted or described in another cell. The cell is periodic in all
    three directions, may have any shape and handedness, and may be smaller than the cutoff.
    """

    @property
    @abstractmethod
    def features(self) -> int:
        """Length of the vector."""

    @abstractmethod
    def evaluator(self, atoms: Atoms, dtype: str = "float64") -> Evaluator:
        """Returns what computes this descriptor for one structure, at as many points and as often as wanted.

        Args:
            atoms: positions and cell; ``atoms.pbc`` is not looked at.
            dtype: ``"float64"``, or ``"float32"``.

        Raises:
            InputError: for a cell without volume, positions that are not finite, an element without a weight.
        """

    def compute_points(self, atoms: Atoms, points: npt.ArrayLike, dtype: str = "float64") -> npt.NDArray[np.floating]:
        """Returns the descriptors at points, (points, features).

        Args:
            atoms: as for ``evaluator``.
            points: Cartesian coordinates, (points, 3), Angstrom, inside the cell or not.
            dtype: as for ``evaluator``.

        Raises:
            InputError: as ``evaluator``, and for points that are not finite.
        """
        return self.evaluator(atoms, dtype).points(points)

    def compute(
        self, atoms: Atoms, grid: tuple[int, int, int] | RealSpaceGrid, dtype: str = "float64"
    ) -> npt.NDArray[np.floating]:
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


@dataclass(frozen=True)
class Evaluator:
    """A descriptor of one structure, ready for points.

    Attributes:
        lattice: lattice vectors of the structure as rows, (3, 3), Angstrom.
        features: length of a descriptor.
        dtype: of the results, ``"float64"`` or ``"float32"``.
        block: descriptors, (m, features), of fractional coordinates, (m, 3); works without the interpreter lock.
    """

    lattice: FloatArray
    features: int
    dtype: str
    block: Callable[[FloatArray], FloatArray]

    def __post_init__(self) -> None:
        if np.dtype(self.dtype) not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise InputError(f"dtype: got {self.dtype}, expected float64 or float32")

    def points(self, points: npt.ArrayLike) -> npt.NDArray[np.floating]:
        """Returns the descriptors at Cartesian points, (points, 3) in Angstrom: (points, features).

        Raises:
            InputError: for another shape, or coordinates that are not finite.
        """
        array = np.asarray(points, dtype=np.float64)
        if array.ndim != 2 or array.shape[1] != 3 or not np.isfinite(array).all():
            raise InputError(f"points: got an array {array.shape}, expected finite Cartesian coordinates (points, 3)")
        fractions = array @ np.linalg.inv(self.lattice)
        out = np.empty((len(array), self.features), dtype=self.dtype)

        def fill(start: int) -> None:
            out[start : start + _BLOCK] = self.block(fractions[start : start + _BLOCK])

        starts = range(0, len(array), _BLOCK)
        threads = min(_threads(), len(starts))
        if threads < 2:
            for start in starts:
                fill(start)
        else:
            with ThreadPoolExecutor(threads) as pool:
                for _ in pool.map(fill, starts):
                    pass
        return out

    def box(
        self, grid: RealSpaceGrid, start: tuple[int, int, int], stop: tuple[int, int, int]
    ) -> npt.NDArray[np.floating]:
        """Returns the descriptors of the points ``start`` to ``stop`` (excluded) of a grid, in C order.

        Args:
            grid: its cell need not be that of the structure.
            start: first index along each axis.
            stop: end along each axis.

        Returns:
            (prod(stop - start), features), the last axis of the grid fastest.
        """
        axes = [np.arange(a, b) / n for a, b, n in zip(start, stop, grid.shape, strict=True)]
        fractions = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        return self.points(fractions @ grid.lattice)


def check_definition(descriptor: Descriptor, size: str) -> None:
    """Checks ``size``, ``cutoff``, ``weights`` and ``rfac0`` of a frozen descriptor and makes them plain numbers.

    Args:
        descriptor: while it is being made.
        size: name of the field that sets the number of features.

    Raises:
        InputError: naming the first that cannot be used.
    """
    fields = vars(descriptor)
    value, cutoff, rfac0, weights = fields[size], fields["cutoff"], fields["rfac0"], fields["weights"]
    if not (isinstance(value, Integral) and 0 <= int(value) <= _HIGHEST):
        raise InputError(f"{size}: got {value!r}, expected an integer from 0 to {_HIGHEST}")
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


def _threads() -> int:
    """Cores that this process may use, or fewer where OMP_NUM_THREADS asks for it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(asked)) if asked.isdigit() and int(asked) > 0 else cores
