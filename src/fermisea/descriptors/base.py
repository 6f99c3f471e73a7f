"""What every descriptor offers, and the loop over blocks of points that they share."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
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
    def compute_points(self, atoms: Atoms, points: npt.ArrayLike, dtype: str = "float64") -> npt.NDArray[np.floating]:
        """Returns the descriptors at points, (points, features).

        Args:
            atoms: positions and cell; ``atoms.pbc`` is not looked at.
            points: Cartesian coordinates, (points, 3), Angstrom, inside the cell or not.
            dtype: ``"float64"``, or ``"float32"`` for a result computed in float64 and rounded.

        Raises:
            InputError: for a cell without volume, positions or points that are not finite, an element without a weight.
        """

    @abstractmethod
    def compute(
        self, atoms: Atoms, grid: tuple[int, int, int] | RealSpaceGrid, dtype: str = "float64"
    ) -> npt.NDArray[np.floating]:
        """Returns the descriptors on a grid, (nx, ny, nz, features).

        Args:
            atoms: positions and cell; ``atoms.pbc`` is not looked at.
            grid: shape of a grid that spans the cell of ``atoms``, or a grid with its own cell.
            dtype: as for ``compute_points``.

        Raises:
            InputError: as ``compute_points``.
        """

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Returns the definition as plain values; ``descriptors.from_dict`` turns it back."""


def fill_blocks(
    block: Callable[[FloatArray], FloatArray], points: FloatArray, features: int, dtype: str
) -> npt.NDArray[np.floating]:
    """Returns ``block`` of every few points at a time, (points, features), on all cores that this process may use.

    Args:
        block: from (m, 3) to (m, features); does its work without the interpreter lock.
        points: (points, 3).
        features: columns of the result.
        dtype: of the result, ``"float64"`` or ``"float32"``.

    Raises:
        InputError: for another ``dtype``.
    """
    if np.dtype(dtype) not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise InputError(f"dtype: got {dtype}, expected float64 or float32")
    out = np.empty((len(points), features), dtype=dtype)

    def fill(start: int) -> None:
        out[start : start + _BLOCK] = block(points[start : start + _BLOCK])

    starts = range(0, len(points), _BLOCK)
    threads = min(_threads(), len(starts))
    if threads < 2:
        for start in starts:
            fill(start)
    else:
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(fill, starts):
                pass
    return out


def check_points(points: npt.ArrayLike) -> FloatArray:
    """Returns points as an array, (points, 3).

    Raises:
        InputError: for another shape, or coordinates that are not finite.
    """
    array = np.asarray(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 3 or not np.isfinite(array).all():
        raise InputError(f"points: got an array {array.shape}, expected finite Cartesian coordinates (points, 3)")
    return array


def grid_points(atoms: Atoms, grid: tuple[int, int, int] | RealSpaceGrid) -> tuple[tuple[int, int, int], FloatArray]:
    """Returns the shape of a grid and its points, (points, 3), Angstrom; a shape alone spans the cell of ``atoms``."""
    if not isinstance(grid, RealSpaceGrid):
        shape = tuple(int(n) for n in grid)
        grid = RealSpaceGrid(tuple(tuple(row) for row in atoms.cell.array), shape)  # type: ignore[arg-type]
    return grid.shape, grid.points().reshape(-1, 3)


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
