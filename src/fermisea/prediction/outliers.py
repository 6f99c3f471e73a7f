"""Local outlier factor of a structure: its distance from the nearest training structures over their own distances.

A single distribution cannot describe data with several phases: an expanded crystal lies between the crystals and the
liquids of the training data, but near none of them. Source: M. M. Breunig, H.-P. Kriegel, R. T. Ng, J. Sander, LOF:
identifying density-based local outliers, Proc. ACM SIGMOD 2000, 93; here with the mean distance to the nearest
neighbours as the measure of density.

A linear interatomic potential knows how far it extrapolates: by the spread of F from its coefficients (E. V.
Podryabinkin, A. V. Shapeev, Comput. Mater. Sci. 140, 171 (2017), for another measure of the same matrix). Where this
spread is known, it takes the place of the distance. It is compared with the spread that is interpolated between the
nearest training structures, each left out of the fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from fermisea.utilities.arrays import FloatArray, plain_numbers

ENOUGH = 24
"""Smallest number of structures for distances between them."""

_NEAREST, _NEAREST_SPREADS = 2, 5
"""Number of neighbours for distances and for spreads."""

_FLOOR = 1e-3
"""Smallest variance of thermal fluctuations along a direction, as a fraction of their total variance."""

_TOUCHING = 1e-9
"""Addition to each distance in a weight, so that all weights are finite, in units of thermal fluctuations."""

_CLOSEST = 0.4
"""Smallest distance between neighbours, relative to the median, so that nearly equal structures count as one."""

_SMALLEST = 0.3
"""Smallest interpolated spread, relative to the median."""

_QUANTILE = 0.9
"""Quantile of the factors of the training structures, each compared with the others."""

_LARGEST, _LARGEST_SPREADS = 1.75, 1.25
"""Upper bound of this quantile, relative to the median, for distances and for spreads.

The only structure of its kind has a large factor, which does not describe the others."""

_MARGIN, _MARGIN_SPREADS = 1.3, 1.1
"""Limit of a factor over this quantile, for distances and for spreads.

Measured for aluminium from the crystal to the liquid, relative to the limit of distances: 49 unseen structures of the
same kinds, of up to 256 atoms, at most 0.93; crystals with a lattice constant 12 % larger 1.1 to 1.4, with a shear of
12 % 1.4 to 1.6, surfaces 2. Relative to the limit of spreads: 174 of 180 unseen structures of the same kinds at most 1,
30 of 40 divacancies and interstitial atoms above 1 (``benchmarks/false_alarms.py``); crystals under the strains of 12 %
in ``benchmarks/large_strains.py`` 1.02 to 5.0."""


@dataclass(frozen=True, eq=False)
class Outliers:
    """Positions of the training structures in the space of mean descriptors, in units of thermal fluctuations.

    Attributes:
        mean: origin, (features,).
        axes: directions, scaled by the inverse fluctuations, (features, components).
        places: positions of the training structures, (structures, components).
        limit: largest factor of a structure that resembles the training structures.
        spreads: spread of F of each training structure, left out of the fit of the potential, eV/atom; None if unknown.
        spread_limit: largest factor of spreads of a structure that resembles the training structures.
    """

    mean: FloatArray
    axes: FloatArray
    places: FloatArray
    limit: float
    spreads: FloatArray | None = None
    spread_limit: float = 1.0

    @classmethod
    def of(cls, rows: Sequence[FloatArray], spreads: Sequence[float] | None = None) -> Self | None:
        """Returns the positions of structures; None for too few, or if the atoms within each are alike.

        Args:
            rows: averaged descriptors of the atoms of each structure, (atoms, features).
            spreads: as the attribute.
        """
        if len(rows) < ENOUGH:
            return None
        values = np.concatenate(rows)
        mean = values.mean(axis=0)
        inside = np.concatenate([row - row.mean(axis=0) for row in rows])
        variances, vectors = np.linalg.eigh(inside.T @ inside / len(inside))
        if not variances.sum() > 0:
            return None
        axes = vectors / np.sqrt(np.maximum(variances, 0.0) + _FLOOR * float(variances.sum()))
        places = np.array([(row.mean(axis=0) - mean) @ axes for row in rows])
        found = cls(mean, axes, places, 1.0)
        factors = [found._factor(place, number) for number, place in enumerate(places)]
        limit = max(1.0, _MARGIN * _usual(factors, _LARGEST))
        if spreads is None:
            return cls(mean, axes, places, limit)
        found = cls(mean, axes, places, limit, np.array(spreads))
        factors = [found._spread_factor(place, spreads[n], n) for n, place in enumerate(places)]
        return replace(found, spread_limit=max(1.0, _MARGIN_SPREADS * _usual(factors, _LARGEST_SPREADS)))

    def unlikeness(self, mean: FloatArray, spread: float | None = None) -> float:
        """Returns the factor of a structure relative to the limit; above 1 it is unlike the training structures.

        Args:
            mean: mean over its atoms of their averaged descriptors, (features,).
            spread: spread of its F from the coefficients of the potential, eV/atom; None if unknown.
        """
        place = (mean - self.mean) @ self.axes
        if self.spreads is None or spread is None:
            return self._factor(place) / self.limit
        return self._spread_factor(place, spread) / self.spread_limit

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data for JSON; numbers have seven digits."""
        names = ("mean", "axes", "places", "limit", *(("spreads", "spread_limit") if self.spreads is not None else ()))
        return {name: plain_numbers(getattr(self, name), 7) for name in names}

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any], features: int) -> Self:
        """Returns the positions from the result of ``to_dict``.

        Raises:
            KeyError, TypeError: for other data.
            ValueError: if sizes are inconsistent.
        """
        mean, axes, places = (np.array(entries[name], dtype=np.float64) for name in ("mean", "axes", "places"))
        if mean.shape != (features,) or axes.shape != (features, features) or places.shape[1:] != (features,):
            raise ValueError("domain: descriptor and places of the training structures differ in size")
        if len(places) < ENOUGH:
            raise ValueError(f"domain: got the places of {len(places)} training structures")
        found = cls(mean, axes, places, float(entries["limit"]))
        if "spreads" not in entries:
            return found
        spreads = np.array(entries["spreads"], dtype=np.float64)
        if spreads.shape != (len(places),) or not (spreads > 0).all():
            raise ValueError("domain: got spreads of the training structures that are not one positive number each")
        return replace(found, spreads=spreads, spread_limit=float(entries["spread_limit"]))

    def _factor(self, place: FloatArray, skip: int | None = None) -> float:
        """Returns the mean distance from the neighbours over the mean distance of the neighbours from theirs."""
        distances = self._distances(place, skip)
        nearest = np.argsort(distances)[:_NEAREST]
        return float(distances[nearest].mean() / self._own[nearest].mean())

    def _spread_factor(self, place: FloatArray, spread: float, skip: int | None = None) -> float:
        """Returns a spread over the spread interpolated between the neighbours, weighted by 1/distance^2.

        Source of the weights: D. Shepard, Proc. 23rd ACM National Conference 1968, 517.
        """
        assert self.spreads is not None  # noqa: S101  # the callers know them
        distances = self._distances(place, skip)
        nearest = np.argsort(distances)[:_NEAREST_SPREADS]
        usual = np.average(self.spreads[nearest], weights=(distances[nearest] + _TOUCHING) ** -2.0)
        return spread / max(float(usual), _SMALLEST * float(np.median(self.spreads)))

    def _distances(self, place: FloatArray, skip: int | None) -> FloatArray:
        """Returns the distances of a place from the training structures, (structures,), without the one to skip."""
        distances = np.linalg.norm(self.places - place, axis=1)
        if skip is not None:
            distances[skip] = np.inf
        return np.asarray(distances)

    @cached_property
    def _own(self) -> FloatArray:
        """Mean distance of each training structure from its neighbours, (structures,)."""
        distances = np.linalg.norm(self.places[:, None] - self.places[None], axis=2)
        np.fill_diagonal(distances, np.inf)
        own = np.sort(distances, axis=1)[:, :_NEAREST].mean(axis=1)
        return np.maximum(own, _CLOSEST * np.median(own))


def _usual(factors: Sequence[float], largest: float) -> float:
    """Returns the quantile of the factors of the training structures, at most ``largest`` times their median."""
    return min(float(np.quantile(factors, _QUANTILE)), largest * float(np.median(factors)))
