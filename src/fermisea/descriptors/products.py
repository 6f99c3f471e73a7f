"""Products of descriptor components, so that an energy linear in them is a quadratic function of the descriptor.

Source of the idea: M. A. Wood, A. P. Thompson, J. Chem. Phys. 148, 241721 (2018), for the SNAP bispectrum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from ase import Atoms

from fermisea.descriptors.base import Array, Descriptor
from fermisea.descriptors.bispectrum import Bispectrum
from fermisea.descriptors.evaluator import Evaluator, Gradients, Index
from fermisea.descriptors.power_spectrum import PowerSpectrum
from fermisea.errors import InputError
from fermisea.grid import RealSpaceGrid
from fermisea.utilities.arrays import FloatArray, IntArray

_SMALLEST = 0.01
"""Smallest scale of a component, relative to the largest."""

_ROWS = 1024
"""Number of points in one block of derivatives, which limits the memory."""


@dataclass(frozen=True)
class Products(Descriptor):
    """The components of a spectrum, followed by the products z_i z_j, i <= j, of its components of low degree.

    The factors are z = (p - centre) / scale, so that products and components are not nearly proportional.

    Attributes:
        spectrum: a power spectrum or bispectrum.
        order: highest degree of the components that are multiplied, at most the highest degree of the spectrum.
        centre: centre of each of these components.
        scale: scale of each of these components, above 0.
    """

    spectrum: PowerSpectrum | Bispectrum
    order: int
    centre: tuple[float, ...]
    scale: tuple[float, ...]

    kind: ClassVar[str] = "products"

    def __post_init__(self) -> None:
        highest = int(self.spectrum.degrees().max())
        if not 0 <= self.order <= highest:
            raise InputError(f"order: got {self.order}, expected 0 to {highest}, the highest degree of the spectrum")
        for name in ("centre", "scale"):
            values = tuple(map(float, getattr(self, name)))
            object.__setattr__(self, name, values)
            if len(values) != len(self.factors) or not np.isfinite(values).all():
                raise InputError(f"{name}: got {len(values)} values, expected {len(self.factors)} finite numbers")
        if min(self.scale) <= 0:
            raise InputError(f"scale: got {min(self.scale)}, expected numbers above 0")
        object.__setattr__(self, "cutoff", self.spectrum.cutoff)
        object.__setattr__(self, "weights", self.spectrum.weights)

    @classmethod
    def of(cls, spectrum: PowerSpectrum | Bispectrum, order: int, values: FloatArray) -> Self:
        """Returns the descriptor with the centre and scale of given values.

        Args:
            spectrum: a power spectrum or bispectrum.
            order: highest degree of the components that are multiplied.
            values: the spectrum of some atoms, (atoms, features).
        """
        chosen = values[:, spectrum.degrees() <= order]
        spread = chosen.std(axis=0)
        scale = np.maximum(spread, _SMALLEST * spread.max()) if spread.any() else np.ones_like(spread)
        return cls(spectrum, order, tuple(chosen.mean(axis=0).tolist()), tuple(scale.tolist()))

    @cached_property
    def factors(self) -> IntArray:
        """Indices of the components that are multiplied."""
        return np.flatnonzero(self.spectrum.degrees() <= self.order)

    @property
    def effective_cutoff(self) -> float:
        """Effective cutoff of the spectrum, Angstrom."""
        return self.spectrum.effective_cutoff

    @property
    def features(self) -> int:
        """Number of components and products."""
        count = len(self.factors)
        return self.spectrum.features + count * (count + 1) // 2

    def degrees(self) -> IntArray:
        """Returns the degree of each component, and the sum of both degrees of each product, (features,)."""
        single = self.spectrum.degrees()
        first, second = self.pairs
        return np.concatenate([single, single[self.factors[first]] + single[self.factors[second]]])

    @cached_property
    def pairs(self) -> tuple[IntArray, IntArray]:
        """Numbers of the first and second factor of each product."""
        first, second = np.triu_indices(len(self.factors))
        return first, second

    def expanded(self, values: Array) -> Array:
        """Returns components and products, (..., features), from the values of the spectrum."""
        z, (first, second) = self._reduced(values), self.pairs
        return np.concatenate([values, (z[..., first] * z[..., second]).astype(values.dtype)], axis=-1)

    def contracted(self, values: Array, cotangents: npt.ArrayLike) -> FloatArray:
        """Returns the cotangents of the spectrum that belong to cotangents of components and products.

        Args:
            values: spectrum, (points, features of the spectrum).
            cotangents: (points, features).

        Returns:
            (points, features of the spectrum).

        Raises:
            InputError: for cotangents of another shape.
        """
        given, count = np.asarray(cotangents, dtype=np.float64), self.spectrum.features
        if given.shape != (len(values), self.features):
            raise InputError(f"cotangents: got an array {given.shape}, expected ({len(values)}, {self.features})")
        first, second = self.pairs
        found = given[:, :count].copy()
        for start in range(0, len(values), _ROWS):
            part = slice(start, start + _ROWS)
            z = self._reduced(values[part])
            slopes = np.zeros((len(z), len(self.factors), len(self.factors)))
            slopes[:, first, second] = given[part, count:]
            slopes += slopes.transpose(0, 2, 1)
            found[part, self.factors] += np.einsum("pij,pj->pi", slopes, z) / np.array(self.scale)
        return found

    def _reduced(self, values: Array) -> FloatArray:
        return np.asarray((values[..., self.factors] - np.array(self.centre)) / np.array(self.scale))

    def evaluator(
        self, atoms: Atoms, dtype: str = "float64", threads: int | None = None, *, own: float = 0.0
    ) -> Evaluator:
        """Returns an evaluator of components and products of one structure; see ``Descriptor.evaluator``."""
        return _ProductEvaluator(self, self.spectrum.evaluator(atoms, dtype, threads, own=own))

    def to_dict(self) -> dict[str, Any]:
        """Returns the definition as plain values."""
        return {
            "kind": self.kind,
            "spectrum": self.spectrum.to_dict(),
            "order": self.order,
            "centre": list(self.centre),
            "scale": list(self.scale),
        }

    @classmethod
    def from_plain(
        cls, spectrum: Mapping[str, Any], order: int, centre: Sequence[float], scale: Sequence[float]
    ) -> Self:
        """Returns the descriptor from the entries of ``to_dict``.

        Raises:
            InputError: for another kind of spectrum, or values that do not fit to it.
        """
        values = dict(spectrum)
        kinds: dict[str, Callable[..., PowerSpectrum | Bispectrum]] = {
            PowerSpectrum.kind: PowerSpectrum,
            Bispectrum.kind: Bispectrum,
        }
        kind = kinds.get(values.pop("kind", ""))
        if kind is None:
            expected = "expected a power spectrum or bispectrum"
            raise InputError(f"descriptor {cls.kind}: got the spectrum {dict(spectrum)}, {expected}")
        return cls(kind(**values), order, tuple(centre), tuple(scale))


class _ProductEvaluator(Evaluator):
    """Components and products of one structure at any points."""

    def __init__(self, products: Products, inner: Evaluator) -> None:
        """Wraps the evaluator of the spectrum."""
        self._products, self._inner = products, inner
        self.features, self.dtype = products.features, inner.dtype

    def points(self, points: npt.ArrayLike) -> Array:
        return self._products.expanded(self._inner.points(points))

    def points_vjp(self, points: npt.ArrayLike, cotangents: npt.ArrayLike) -> Gradients:
        values = self._inner.points(points)
        return self._inner.points_vjp(points, self._products.contracted(values, cotangents))

    def box(self, grid: RealSpaceGrid, start: Index, stop: Index) -> Array:
        return self._products.expanded(self._inner.box(grid, start, stop))

    def box_vjp(
        self, grid: RealSpaceGrid, start: Index, stop: Index, cotangents: npt.ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        values = self._inner.box(grid, start, stop)
        return self._inner.box_vjp(grid, start, stop, self._products.contracted(values, cotangents))
