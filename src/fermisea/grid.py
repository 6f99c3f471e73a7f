"""Real-space grid, energy grid and the check of structures."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from fermisea.errors import InputError
from fermisea.sites import check_atoms, check_contacts, check_extent, check_occupancy
from fermisea.utilities.arrays import FloatArray

if TYPE_CHECKING:
    from ase import Atoms

_FFT_PRIMES = (2, 3, 5, 7)


def good_fft_size(minimum: int) -> int:
    """Returns the smallest size >= ``minimum`` whose only prime factors are 2, 3, 5 and 7."""
    size = max(1, minimum)
    while True:
        rest = size
        for prime in _FFT_PRIMES:
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return size
        size += 1


Tile = tuple[slice, slice, slice]
"""The points of a grid between two corners: a slice along each axis."""


@dataclass(frozen=True)
class RealSpaceGrid:
    """A periodic grid: point (i, j, k) lies at i/nx a + j/ny b + k/nz c.

    The cell may be triclinic or left-handed; the volume is always positive.

    Attributes:
        cell: lattice vectors as rows, Angstrom, three tuples of three numbers.
        shape: number of points along each lattice vector.
    """

    cell: tuple[tuple[float, float, float], ...]
    shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        try:
            cell = np.asarray(self.cell, dtype=float)
        except (TypeError, ValueError):
            cell = np.empty(0)
        if cell.shape != (3, 3) or not np.isfinite(cell).all():
            raise InputError(
                f"cell: got {cell.tolist() or self.cell}, expected three finite lattice vectors as rows, in Angstrom"
            )
        lengths = np.linalg.norm(cell, axis=1)
        if abs(np.linalg.det(cell)) <= 1e-9 * max(float(np.prod(lengths)), 1e-300):
            raise InputError(
                f"cell: got {cell.tolist()}, a cell without volume; give three linearly independent lattice vectors"
            )
        if not isinstance(self.shape, Iterable) or len(tuple(self.shape)) != 3 or not all(map(_counts, self.shape)):
            raise InputError(f"grid shape: got {self.shape!r}, expected three positive integers such as (24, 24, 24)")
        object.__setattr__(self, "cell", tuple(tuple(float(x) for x in row) for row in cell))
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))

    @classmethod
    def from_spacing(cls, cell: npt.ArrayLike, spacing: float) -> Self:
        """Returns the coarsest FFT-friendly grid whose spacing along each vector is at most ``spacing`` (Angstrom)."""
        if not (math.isfinite(spacing) and spacing > 0):
            raise InputError(f"grid spacing: got {spacing} Angstrom, expected a finite value above 0")
        rows = np.asarray(cell, dtype=float)
        if not np.isfinite(rows).all():
            raise InputError(f"cell: got {rows.tolist()}, expected three finite lattice vectors as rows, in Angstrom")
        sizes = [good_fft_size(math.ceil(float(np.linalg.norm(row)) / spacing - 1e-9)) for row in rows]
        return cls(_rows(rows), (sizes[0], sizes[1], sizes[2]))

    @classmethod
    def from_momentum(cls, cell: npt.ArrayLike, momentum: float) -> Self:
        """Returns the smallest FFT-friendly grid that has every |G| <= ``momentum`` (1/Angstrom) without aliasing."""
        rows = np.asarray(cell, dtype=float)
        sizes = [good_fft_size(2 * int(momentum * float(np.linalg.norm(row)) / (2 * math.pi)) + 1) for row in rows]
        return cls(_rows(rows), (sizes[0], sizes[1], sizes[2]))

    @cached_property
    def lattice(self) -> FloatArray:
        """Lattice vectors as rows, (3, 3), Angstrom."""
        return np.array(self.cell, dtype=float)

    @cached_property
    def reciprocal(self) -> FloatArray:
        """Reciprocal lattice vectors as rows with the factor 2 pi, (3, 3), 1/Angstrom."""
        return np.asarray(2 * np.pi * np.linalg.inv(self.lattice).T)

    @cached_property
    def volume(self) -> float:
        """Cell volume, Angstrom^3, positive for either handedness."""
        return abs(float(np.linalg.det(self.lattice)))

    @property
    def size(self) -> int:
        """Number of grid points."""
        return math.prod(self.shape)

    @property
    def voxel(self) -> float:
        """Volume of one grid point, Angstrom^3."""
        return self.volume / self.size

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance of neighbouring points along each lattice vector, Angstrom."""
        lengths = np.linalg.norm(self.lattice, axis=1)
        a, b, c = (float(length) / n for length, n in zip(lengths, self.shape, strict=True))
        return a, b, c

    def points(self) -> FloatArray:
        """Returns Cartesian positions of all points, (nx, ny, nz, 3), Angstrom."""
        axes = [np.arange(n) / n for n in self.shape]
        fractions = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        return np.asarray(fractions @ self.lattice)

    def integrate(self, field: npt.ArrayLike) -> float:
        """Returns the cell integral of a field on the grid, (nx, ny, nz), in the unit of the field times Angstrom^3."""
        return float(np.sum(field, dtype=np.float64)) * self.voxel

    def tiles(self, chunk: int, planes: slice | None = None) -> Iterator[Tile]:
        """Yields the tiles of the grid: of at most ``chunk`` points, long along the last axis.

        Args:
            chunk: largest number of points of a tile.
            planes: part of the grid along the first axis; by default the whole grid.
        """
        first, end = (0, self.shape[0]) if planes is None else (planes.start, planes.stop)
        shape = end - first, *self.shape[1:]
        z = _even(min(shape[2], max(chunk // 4, 1)), shape[2])
        y = _even(min(shape[1], max(chunk // (2 * z), 1)), shape[1])
        x = max(1, _even(min(shape[0], max(chunk // (y * z), 1)), shape[0]))
        for corner in itertools.product(*(range(0, n, step) for n, step in zip(shape, (x, y, z), strict=True))):
            ends = (min(a + step, n) for a, step, n in zip(corner, (x, y, z), shape, strict=True))
            i, j, k = (slice(a, b) for a, b in zip(corner, ends, strict=True))
            yield slice(i.start + first, i.stop + first), j, k


def _counts(number: object) -> bool:
    """Returns whether a number is whole and positive."""
    return isinstance(number, Real) and float(number).is_integer() and float(number) >= 1


def _even(length: int, whole: int) -> int:
    """Returns an even length unless it is the whole axis."""
    return length if length == whole or length < 2 else length - length % 2


def check_structure(
    atoms: Atoms,
    name: str = "structure",
    *,
    periodic: bool = True,
    allow_empty: bool = False,
    allow_contacts: bool = False,
) -> None:
    """Checks that a calculation can use a structure.

    A structure is an ``ase.Atoms`` with atoms, finite positions, a periodic cell with a volume, one whole atom on each
    site, and no two atoms at nearly the same place, through the faces of the cell too.

    Args:
        atoms: the structure, Angstrom.
        name: name of the structure in the message, for example its file.
        periodic: whether ``atoms.pbc`` must be set along all three lattice vectors.
        allow_empty: whether a cell without atoms passes.
        allow_contacts: whether atoms at nearly the same place pass.

    Raises:
        InputError: for the first of these conditions that the structure does not meet.
    """
    check_atoms(atoms, name)
    if len(atoms) == 0 and not allow_empty:
        raise InputError(f"{name}: got no atoms, expected at least one")
    finite = np.isfinite(atoms.positions).all(axis=1)
    if not finite.all():
        bad = int(np.argmin(finite))
        raise InputError(
            f"{name}: atom {bad} ({atoms.symbols[bad]}) is at {atoms.positions[bad].tolist()}, expected finite "
            "coordinates in Angstrom; correct the position"
        )
    if periodic and not atoms.pbc.all():
        raise InputError(
            f"{name}: got pbc {atoms.pbc.tolist()}, expected periodicity along all three lattice vectors; set "
            "atoms.pbc, or add Lattice and pbc to the file, with vacuum around a molecule"
        )
    try:
        RealSpaceGrid(atoms.cell.array, (1, 1, 1))
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    check_extent(atoms, name)
    check_occupancy(atoms, name)
    if not allow_contacts:
        check_contacts(atoms, name)


def check_grid(grid: RealSpaceGrid, atoms: Atoms) -> None:
    """Raises InputError unless a grid spans the cell of a structure."""
    if not np.allclose(grid.lattice, atoms.cell.array, rtol=0, atol=1e-6):
        raise InputError(
            f"grid: got the cell {grid.cell}, expected the cell of the structure, {atoms.cell.array.tolist()}; give a "
            "shape such as (24, 24, 24), or a grid made with this cell"
        )


@dataclass(frozen=True)
class EnergyGrid:
    """Equally spaced energies.

    Attributes:
        start: first energy, eV.
        spacing: distance of neighbouring energies, eV.
        size: number of energies.
    """

    start: float
    spacing: float
    size: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and math.isfinite(self.spacing) and self.spacing > 0):
            raise InputError(
                f"energy grid: got start {self.start} eV and spacing {self.spacing} eV, expected finite "
                "numbers and a spacing above 0"
            )
        if not float(self.size).is_integer() or self.size < 6:
            raise InputError(f"energy grid: got {self.size} energies, expected a whole number of at least 6")
        object.__setattr__(self, "start", float(self.start))
        object.__setattr__(self, "spacing", float(self.spacing))
        object.__setattr__(self, "size", int(self.size))

    @classmethod
    def between(cls, start: float, stop: float, spacing: float) -> Self:
        """Returns the grid from ``start`` to the multiple of ``spacing`` nearest to ``stop``, all in eV.

        Raises:
            InputError: for energies that do not ascend, or a spacing that is not positive.
        """
        if not (math.isfinite(start) and math.isfinite(stop) and start < stop and spacing > 0):
            raise InputError(
                f"energy grid: got energies from {start} to {stop} eV at a spacing of {spacing} eV, expected ascending "
                "finite energies and a spacing above 0"
            )
        return cls(start, spacing, round((stop - start) / spacing) + 1)

    @property
    def energies(self) -> FloatArray:
        """All energies, (size,), eV."""
        return np.asarray(self.start + self.spacing * np.arange(self.size), dtype=np.float64)

    @property
    def stop(self) -> float:
        """Last energy, eV."""
        return self.start + self.spacing * (self.size - 1)


def _rows(cell: FloatArray) -> tuple[tuple[float, float, float], ...]:
    return tuple((float(row[0]), float(row[1]), float(row[2])) for row in cell)
