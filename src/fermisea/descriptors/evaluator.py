"""Evaluator of a descriptor for one structure: several threads pass bricks of points to the compiled loops."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fermisea.descriptors.compiled.bricks import box_points
from fermisea.descriptors.compiled.expansion import expand, expand_vjp
from fermisea.descriptors.compiled.simd import lane_count
from fermisea.descriptors.harmonics import Expansion, harmonic_tables
from fermisea.descriptors.neighbors import Neighbors
from fermisea.errors import InputError
from fermisea.grid import RealSpaceGrid
from fermisea.utilities.arrays import FloatArray, IntArray
from fermisea.utilities.threads import cores

Array = npt.NDArray[np.floating]
Index = tuple[int, int, int]

_SHARES = 4
"""Smallest number of batches for each thread, so that all threads finish at about the same time."""

_BATCH = 2**20
"""Size of the harmonics that a thread stores between its two steps, bytes."""


@dataclass(frozen=True)
class Contraction:
    """Map from harmonics to descriptors, by compiled loops that run without the interpreter lock.

    Attributes:
        forward: takes harmonics, (bricks, harmonics * lanes), and the rows of the lanes, -1 for none; writes to these
            rows of the last argument, (points, features).
        vjp: additionally takes cotangents, (points, features), and writes the derivatives of their product with the
            descriptors with respect to the harmonics to the last argument.
    """

    forward: Callable[[Array, IntArray, Array], None]
    vjp: Callable[[Array, IntArray, Array, Array], None]


@dataclass(frozen=True)
class Gradients:
    """Derivatives of sum_pk D_pk w_pk, a product of descriptors with cotangents; float64.

    Attributes:
        positions: derivatives with respect to the Cartesian positions of the atoms, (atoms, 3).
        cell: derivatives with respect to the lattice vectors as rows, (3, 3), at fixed Cartesian positions of atoms and
            points; periodic images move.
        points: derivatives with respect to the Cartesian points, (points, 3).
    """

    positions: FloatArray
    cell: FloatArray
    points: FloatArray


class Evaluator:
    """A descriptor of one structure, evaluated at any points."""

    def __init__(
        self,
        neighbors: Neighbors,
        expansion: Expansion,
        features: int,
        contraction: Contraction,
        dtype: str,
        threads: int | None = None,
    ) -> None:
        """Creates an evaluator from the parts of a descriptor.

        Args:
            neighbors: binned atoms and images of the structure.
            expansion: map from neighbours to harmonics.
            features: number of components of a descriptor.
            contraction: map from harmonics to descriptors.
            dtype: type of the results and the computation, ``"float64"`` or ``"float32"``.
            threads: number of threads; by default the number of cores available to this process.
        """
        self._threads = threads
        self.features, self.dtype = features, np.dtype(dtype)
        self._neighbors, self._contraction = neighbors, contraction
        self._arguments = (*neighbors.arrays(), *expansion.arrays(dtype))
        self._centre = expansion.at_centre().astype(dtype)
        tables = harmonic_tables(expansion.order)
        self._leads = tables.leads.astype(dtype)
        self._lanes = lane_count(self.dtype.itemsize)
        self._cutoff, self._size = expansion.cutoff, tables.size * self._lanes

    def points(self, points: npt.ArrayLike) -> Array:
        """Returns the descriptors at Cartesian points, (points, 3) in Angstrom: (points, features).

        Consecutive points should be close in space, because they then share their neighbours.

        Raises:
            InputError: for another shape, or coordinates that are not finite.
        """
        array = _points(points)
        out = np.empty((len(array), self.features), dtype=self.dtype)
        self._sweep(self._list(array), lambda _, bricks: self._contraction.forward(bricks.harmonics, bricks.rows, out))
        return out

    def points_vjp(self, points: npt.ArrayLike, cotangents: npt.ArrayLike) -> Gradients:
        """Returns the derivatives of the descriptors at points, multiplied with cotangents and summed.

        Args:
            points: Cartesian, (points, 3), Angstrom.
            cotangents: (points, features).

        Raises:
            InputError: for arrays of other shapes, or values that are not finite.
        """
        array = _points(points)
        shifts = np.floor(array @ self._neighbors.inverse)
        by_point = np.zeros((len(array), 3))

        def keep(bricks: _Bricks, slopes: FloatArray) -> None:
            real = bricks.rows >= 0
            by_point[bricks.rows[real]] = slopes[real]

        positions, cell = self._vjp(self._list(array), len(array), cotangents, keep)
        return Gradients(positions, cell - shifts.T @ by_point, by_point)

    def box(self, grid: RealSpaceGrid, start: Index, stop: Index) -> Array:
        """Returns the descriptors of the points ``start`` to ``stop`` (excluded) of a grid, in C order.

        Args:
            grid: grid, whose cell may differ from the cell of the structure.
            start: first index along each axis.
            stop: end along each axis.

        Returns:
            (prod(stop - start), features), the last axis of the grid fastest.
        """
        points = math.prod(b - a for a, b in zip(start, stop, strict=True))
        out = np.empty((points, self.features), dtype=self.dtype)
        source = self._box(grid, start, stop)
        self._sweep(source, lambda _, bricks: self._contraction.forward(bricks.harmonics, bricks.rows, out))
        return out

    def box_vjp(
        self, grid: RealSpaceGrid, start: Index, stop: Index, cotangents: npt.ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        """Returns the derivatives of the descriptors on a box of a grid, multiplied with cotangents and summed.

        Args:
            grid: grid on the cell of the structure.
            start: first index along each axis.
            stop: end along each axis.
            cotangents: (prod(stop - start), features), in C order.

        Returns:
            Derivatives with respect to the Cartesian positions of the atoms, (atoms, 3), and to the lattice vectors as
            rows, (3, 3), with which the images of the atoms and the points of the grid move.

        Raises:
            InputError: for cotangents of another shape, or not finite.
        """
        points = math.prod(b - a for a, b in zip(start, stop, strict=True))
        moved: list[FloatArray] = []

        def keep(bricks: _Bricks, slopes: FloatArray) -> None:
            moved.append((bricks.points @ self._neighbors.inverse).T @ slopes)

        positions, cell = self._vjp(self._box(grid, start, stop), points, cotangents, keep)
        return positions, cell + np.sum(moved, axis=0)

    def _list(self, points: FloatArray) -> _Source:
        lanes = self._lanes
        bricks = -(-len(points) // lanes)
        rows = np.arange(bricks * lanes)
        fractions = points[np.minimum(rows, len(points) - 1)] @ self._neighbors.inverse
        inside = (fractions - np.floor(fractions)) @ self._neighbors.lattice
        rows[len(points) :] = -1

        def fill(first: int, places: FloatArray, targets: IntArray) -> None:
            part = slice(first * lanes, first * lanes + len(targets))
            places[:], targets[:] = inside[part], rows[part]

        return _Source(bricks, fill)

    def _box(self, grid: RealSpaceGrid, start: Index, stop: Index) -> _Source:
        first_point = np.array(start, dtype=np.int64)
        extent = np.array(stop, dtype=np.int64) - first_point
        steps = grid.lattice / np.array(grid.shape)[:, None]
        brick = _brick_shape(self._lanes, extent, steps, self._cutoff)
        transform, lattice = steps @ self._neighbors.inverse, self._neighbors.lattice

        def fill(first: int, places: FloatArray, targets: IntArray) -> None:
            box_points(first_point, extent, brick, transform, lattice, first, places, targets)

        return _Source(int(np.prod(-(-extent // brick))), fill)

    def _sweep(self, source: _Source, use: Callable[[int, _Bricks], None]) -> None:
        """Passes a few bricks at a time to ``use``, with the number of the calling thread."""
        batch = max(1, _BATCH // (self._size * self.dtype.itemsize))
        threads = max(1, min(self._threads or cores(), -(-source.bricks // batch)))
        batch = max(1, min(batch, -(-source.bricks // (_SHARES * threads))))
        starts = iter(range(0, source.bricks, batch))

        def work(thread: int) -> None:
            points, rows = np.empty((batch * self._lanes, 3)), np.empty(batch * self._lanes, dtype=np.int64)
            harmonics = np.empty((batch, self._size), dtype=self.dtype)
            for start in starts:
                size = min(batch, source.bricks - start)
                part = slice(size * self._lanes)
                bricks = _Bricks(points[part], rows[part], harmonics[:size])
                source.fill(start, bricks.points, bricks.rows)
                expand(bricks.points, *self._arguments, self._centre, bricks.harmonics)
                use(thread, bricks)

        if threads == 1:
            work(0)
            return
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(work, range(threads)):
                pass

    def _vjp(
        self, source: _Source, points: int, cotangents: npt.ArrayLike, keep: Callable[[_Bricks, FloatArray], None]
    ) -> tuple[FloatArray, FloatArray]:
        """Returns derivatives with respect to positions and cell; ``keep`` gets those with respect to points."""
        given = np.ascontiguousarray(cotangents, dtype=self.dtype)
        if given.shape != (points, self.features) or not np.isfinite(given).all():
            raise InputError(
                f"cotangents: got an array {given.shape}, expected finite values ({points}, {self.features})"
            )
        by_image: dict[int, FloatArray] = {}

        def use(thread: int, bricks: _Bricks) -> None:
            mine = by_image.setdefault(thread, np.zeros_like(self._neighbors.positions))
            slopes = np.empty_like(bricks.harmonics)
            by_point = np.zeros_like(bricks.points)
            self._contraction.vjp(bricks.harmonics, bricks.rows, given, slopes)
            expand_vjp(bricks.points, *self._arguments, self._leads, slopes, mine, by_point)
            keep(bricks, by_point)

        self._sweep(source, use)
        total = np.sum(list(by_image.values()), axis=0) if by_image else np.zeros_like(self._neighbors.positions)
        positions = np.zeros((self._neighbors.count, 3))
        np.add.at(positions, self._neighbors.atoms, total)
        return positions, self._neighbors.shifts.T @ total


@dataclass(frozen=True)
class _Bricks:
    """A few bricks: Cartesian points in the cell, (bricks * lanes, 3), their rows of the result, their harmonics."""

    points: FloatArray
    rows: IntArray
    harmonics: Array


@dataclass(frozen=True)
class _Source:
    """Number of bricks, and a function that writes points and rows of some bricks, from a given brick on."""

    bricks: int
    fill: Callable[[int, FloatArray, IntArray], None]


def _points(points: npt.ArrayLike) -> FloatArray:
    array = np.asarray(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 3 or not np.isfinite(array).all():
        raise InputError(f"points: got an array {array.shape}, expected finite Cartesian coordinates (points, 3)")
    return array


def _brick_shape(lanes: int, extent: IntArray, steps: FloatArray, cutoff: float) -> IntArray:
    """Returns the shape of a brick, in points along each axis, with the smallest total number of neighbours.

    Args:
        lanes: number of points in a brick, a power of 2.
        extent: number of points in the box along each axis.
        steps: vectors from one point to the next, rows, (3, 3), Angstrom.
        cutoff: cutoff of the descriptor, Angstrom.
    """
    halves = range(lanes.bit_length())
    shapes = [np.array([2**a, 2**b, lanes >> (a + b)]) for a in halves for b in halves if lanes >> (a + b)]

    def cost(shape: IntArray) -> float:
        edges = (shape - 1)[:, None] * steps
        radius = max(float(np.linalg.norm(signs @ edges)) for signs in _DIAGONALS) / 2
        return float(np.prod(-(-extent // shape))) * (1 + radius / cutoff) ** 3

    return min(shapes, key=cost)


_DIAGONALS = np.array([[1, 1, 1], [1, 1, -1], [1, -1, 1], [-1, 1, 1]])


def check_dtype(dtype: str) -> None:
    """Raises InputError unless ``dtype`` is float64 or float32."""
    if np.dtype(dtype) not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise InputError(f"dtype: got {dtype}, expected float64 or float32")
