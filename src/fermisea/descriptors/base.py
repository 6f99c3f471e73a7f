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

from fermisea.descriptors import kernels
from fermisea.descriptors.harmonics import Expansion, harmonic_tables
from fermisea.descriptors.neighbors import Neighbors
from fermisea.descriptors.simd import lane_count
from fermisea.errors import InputError
from fermisea.grid import RealSpaceGrid

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_BATCH = 2**20
"""Bytes of harmonics that one thread holds between the two steps of its work."""


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


Contraction = Callable[[npt.NDArray[np.floating], IntArray, npt.NDArray[np.floating]], None]
"""From harmonics, (bricks, harmonics * lanes), and the rows of the lanes, to those rows of (points, features)."""


class Evaluator:
    """A descriptor of one structure, ready for points; uses all cores that this process may use."""

    def __init__(
        self, neighbors: Neighbors, expansion: Expansion, features: int, contraction: Contraction, dtype: str
    ) -> None:
        """Takes what the descriptor is made of.

        Args:
            neighbors: of the structure.
            expansion: how they become harmonics.
            features: length of a descriptor.
            contraction: from harmonics to descriptors; works without the interpreter lock.
            dtype: of the results and of the work, ``"float64"`` or ``"float32"``.
        """
        self.features, self.dtype = features, np.dtype(dtype)
        self._neighbors, self._contraction = neighbors, contraction
        self._arguments = (*neighbors.arrays(), *expansion.arrays(dtype))
        self._lanes = lane_count(self.dtype.itemsize)
        self._cutoff, self._size = expansion.cutoff, harmonic_tables(expansion.order).size * self._lanes

    def points(self, points: npt.ArrayLike) -> npt.NDArray[np.floating]:
        """Returns the descriptors at Cartesian points, (points, 3) in Angstrom: (points, features).

        Points that follow each other should be neighbours in space: then they share their neighbours.

        Raises:
            InputError: for another shape, or coordinates that are not finite.
        """
        array = np.asarray(points, dtype=np.float64)
        if array.ndim != 2 or array.shape[1] != 3 or not np.isfinite(array).all():
            raise InputError(f"points: got an array {array.shape}, expected finite Cartesian coordinates (points, 3)")
        bricks = -(-len(array) // self._lanes)
        rows = np.arange(bricks * self._lanes)
        rows[len(array) :] = -1
        fractions = (array @ self._neighbors.inverse)[rows]
        inside = (fractions - np.floor(fractions)) @ self._neighbors.lattice

        def bricks_of(first: int, places: FloatArray, targets: IntArray) -> None:
            part = slice(first * self._lanes, first * self._lanes + len(targets))
            places[:], targets[:] = inside[part], rows[part]

        return self._run(bricks, len(array), bricks_of)

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
        first_point = np.array(start, dtype=np.int64)
        extent = np.array(stop, dtype=np.int64) - first_point
        steps = grid.lattice / np.array(grid.shape)[:, None]
        brick = _brick_shape(self._lanes, extent, steps, self._cutoff)
        transform = steps @ self._neighbors.inverse

        def bricks_of(first: int, places: FloatArray, targets: IntArray) -> None:
            kernels.box_points(first_point, extent, brick, transform, self._neighbors.lattice, first, places, targets)

        return self._run(int(np.prod(-(-extent // brick))), int(np.prod(extent)), bricks_of)

    def _run(
        self, bricks: int, points: int, bricks_of: Callable[[int, FloatArray, IntArray], None]
    ) -> npt.NDArray[np.floating]:
        """Returns the descriptors of bricks whose points and rows ``bricks_of`` writes, from one brick on."""
        out = np.empty((points, self.features), dtype=self.dtype)
        batch = max(1, _BATCH // (self._size * self.dtype.itemsize))
        starts = iter(range(0, bricks, batch))

        def work(_: int) -> None:
            places, targets = np.empty((batch * self._lanes, 3)), np.empty(batch * self._lanes, dtype=np.int64)
            harmonics = np.empty((batch, self._size), dtype=self.dtype)
            for start in starts:
                size = min(batch, bricks - start)
                used = size * self._lanes
                bricks_of(start, places[:used], targets[:used])
                kernels.expand(places[:used], *self._arguments, harmonics[:size])
                self._contraction(harmonics[:size], targets[:used], out)

        threads = min(_threads(), -(-bricks // batch))
        if threads < 2:
            work(0)
        else:
            with ThreadPoolExecutor(threads) as pool:
                for _ in pool.map(work, range(threads)):
                    pass
        return out


def _brick_shape(lanes: int, extent: IntArray, steps: FloatArray, cutoff: float) -> IntArray:
    """Returns how many points a brick has along each axis: those that need the fewest neighbours in all.

    Args:
        lanes: points of a brick, a power of 2.
        extent: points of the box along each axis.
        steps: from one point to the next, rows, (3, 3), Angstrom.
        cutoff: Angstrom.
    """
    halves = range(lanes.bit_length())
    shapes = [np.array([2**a, 2**b, lanes >> (a + b)]) for a in halves for b in halves if lanes >> (a + b)]

    def cost(shape: IntArray) -> float:
        edges = (shape - 1)[:, None] * steps
        radius = max(float(np.linalg.norm(signs @ edges)) for signs in _DIAGONALS) / 2
        return float(np.prod(-(-extent // shape))) * (1 + radius / cutoff) ** 3

    return min(shapes, key=cost)


_DIAGONALS = np.array([[1, 1, 1], [1, 1, -1], [1, -1, 1], [-1, 1, 1]])


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


def check_dtype(dtype: str) -> None:
    """Raises InputError unless ``dtype`` is float64 or float32."""
    if np.dtype(dtype) not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise InputError(f"dtype: got {dtype}, expected float64 or float32")


def is_number(value: object) -> bool:
    """Whether a value is a finite real number."""
    return isinstance(value, Real) and math.isfinite(value)


def _threads() -> int:
    """Cores that this process may use, or fewer where OMP_NUM_THREADS asks for it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(asked)) if asked.isdigit() and int(asked) > 0 else cores
