"""Powers of the logarithm of the volume per atom beside a descriptor of the surroundings.

The free energy of hot electrons depends on their mean density first, and on the places of the atoms much less. A short
descriptor alone learns this dependence through the distances between neighbours, which gives wrong changes of forces.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from ase import Atoms

from fermisea.descriptors.base import Array, Descriptor, is_number
from fermisea.descriptors.evaluator import Evaluator, Gradients, Index
from fermisea.descriptors.power_spectrum import PowerSpectrum
from fermisea.errors import InputError
from fermisea.grid import RealSpaceGrid
from fermisea.utilities.arrays import FloatArray

HIGHEST_DEGREE = 4
"""Highest power of x."""


@dataclass(frozen=True)
class WithVolume(Descriptor):
    """The powers x, x^2, ... of x = ln(v / v_0), with the volume per atom v of the cell, before a power spectrum.

    The powers are the same at every point of a structure.

    Attributes:
        spectrum: the power spectrum.
        volume_per_atom: v_0, Angstrom^3.
        degree: highest power of x.
    """

    spectrum: PowerSpectrum
    volume_per_atom: float
    degree: int

    kind: ClassVar[str] = "volume"

    def __post_init__(self) -> None:
        if not (is_number(self.volume_per_atom) and self.volume_per_atom > 0):
            raise InputError(f"volume_per_atom: got {self.volume_per_atom!r} Angstrom^3, expected a value above 0")
        if isinstance(self.degree, bool) or not isinstance(self.degree, int) or not 1 <= self.degree <= HIGHEST_DEGREE:
            raise InputError(f"degree: got {self.degree!r}, expected an integer from 1 to {HIGHEST_DEGREE}")
        object.__setattr__(self, "cutoff", self.spectrum.cutoff)
        object.__setattr__(self, "weights", self.spectrum.weights)

    @classmethod
    def of(cls, spectrum: PowerSpectrum, degree: int, structures: Sequence[Atoms]) -> Self:
        """Returns the descriptor whose v_0 is the geometric mean over some structures.

        Args:
            spectrum: the power spectrum.
            degree: highest power of x.
            structures: the structures.
        """
        logarithms = [math.log(abs(float(np.linalg.det(a.cell.array))) / len(a)) for a in structures]
        return cls(spectrum, math.exp(math.fsum(logarithms) / len(logarithms)), degree)

    @property
    def features(self) -> int:
        """Number of powers and components."""
        return self.degree + self.spectrum.features

    def powers(self, atoms: Atoms) -> tuple[FloatArray, FloatArray]:
        """Returns the powers of x of a structure, (degree,), and their derivatives with respect to x."""
        x = math.log(abs(float(np.linalg.det(atoms.cell.array))) / len(atoms) / self.volume_per_atom)
        exponents = np.arange(1, self.degree + 1)
        return np.asarray(x**exponents), np.asarray(exponents * x ** (exponents - 1.0))

    def evaluator(
        self, atoms: Atoms, dtype: str = "float64", threads: int | None = None, *, own: float = 0.0
    ) -> Evaluator:
        """Returns an evaluator of powers and components of one structure; see ``Descriptor.evaluator``."""
        return _VolumeEvaluator(self, atoms, self.spectrum.evaluator(atoms, dtype, threads, own=own))

    def to_dict(self) -> dict[str, Any]:
        """Returns the definition as plain values."""
        return {
            "kind": self.kind,
            "spectrum": self.spectrum.to_dict(),
            "volume_per_atom": self.volume_per_atom,
            "degree": self.degree,
        }

    @classmethod
    def from_plain(cls, spectrum: Mapping[str, Any], volume_per_atom: float, degree: int) -> Self:
        """Returns the descriptor from the entries of ``to_dict``.

        Raises:
            InputError: for another kind of spectrum, or invalid values.
        """
        values = dict(spectrum)
        if values.pop("kind", None) != PowerSpectrum.kind:
            raise InputError(f"descriptor {cls.kind}: got the spectrum {dict(spectrum)}, expected a power spectrum")
        return cls(PowerSpectrum(**values), volume_per_atom, degree)


class _VolumeEvaluator(Evaluator):
    """Powers and components of one structure at any points."""

    def __init__(self, descriptor: WithVolume, atoms: Atoms, inner: Evaluator) -> None:
        """Wraps the evaluator of the power spectrum."""
        self._inner, self._degree = inner, descriptor.degree
        self.features, self.dtype = descriptor.features, inner.dtype
        self._powers, self._slopes = descriptor.powers(atoms)
        self._inverse = np.linalg.inv(np.asarray(atoms.cell.array, dtype=np.float64)).T  # d ln V / d lattice vectors

    def points(self, points: npt.ArrayLike) -> Array:
        return self._beside(self._inner.points(points))

    def points_vjp(self, points: npt.ArrayLike, cotangents: npt.ArrayLike) -> Gradients:
        own, rest, cell = self._split(cotangents, len(np.asarray(points)))
        found = self._inner.points_vjp(points, rest)
        return Gradients(found.positions, found.cell + own * cell, found.points)

    def box(self, grid: RealSpaceGrid, start: Index, stop: Index) -> Array:
        return self._beside(self._inner.box(grid, start, stop))

    def box_vjp(
        self, grid: RealSpaceGrid, start: Index, stop: Index, cotangents: npt.ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        own, rest, inverse = self._split(cotangents, math.prod(b - a for a, b in zip(start, stop, strict=True)))
        positions, cell = self._inner.box_vjp(grid, start, stop, rest)
        return positions, cell + own * inverse

    def _beside(self, values: Array) -> Array:
        powers = np.broadcast_to(self._powers.astype(values.dtype), (*values.shape[:-1], self._degree))
        return np.concatenate([powers, values], axis=-1)

    def _split(self, cotangents: npt.ArrayLike, points: int) -> tuple[float, FloatArray, FloatArray]:
        """Returns the derivative with respect to x, the cotangents of the spectrum, and d x / d lattice vectors."""
        given = np.asarray(cotangents, dtype=np.float64)
        if given.shape != (points, self.features):
            raise InputError(f"cotangents: got an array {given.shape}, expected ({points}, {self.features})")
        own = float(given[:, : self._degree].sum(axis=0) @ self._slopes)
        return own, given[:, self._degree :], self._inverse
