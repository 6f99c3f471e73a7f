"""Local outlier factor of a structure: its distance from the nearest training structures over their own distances.

A single distribution cannot describe data with several phases: an expanded crystal lies between the crystals and the
liquids of the training data, but near none of them. Source: M. M. Breunig, H.-P. Kriegel, R. T. Ng, J. Sander, LOF:
identifying density-based local outliers, Proc. ACM SIGMOD 2000, 93; here with the mean distance to the nearest
neighbours as the measure of density.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from fermisea.utilities.arrays import FloatArray, plain_numbers

ENOUGH = 24
"""Smallest number of structures for distances between them."""

_NEAREST = 2
"""Number of neighbours."""

_FLOOR = 1e-3
"""Smallest variance of thermal fluctuations along a direction, as a fraction of their total variance."""

_CLOSEST = 0.4
"""Smallest distance between neighbours, relative to the median, so that nearly equal structures count as one."""

_QUANTILE, _MARGIN = 0.9, 1.3
"""Limit of the factor: the margin times this quantile over the training structures, each compared with the others.

Measured for aluminium from the crystal to the liquid, relative to the limit: 49 unseen structures of the same kinds, of
up to 256 atoms, at most 0.93; crystals with a lattice constant 12 % larger 1.1 to 1.4, with a shear of 12 % 1.4 to 1.6,
surfaces 2."""


@dataclass(frozen=True, eq=False)
class Outliers:
    """Positions of the training structures in the space of mean descriptors, in units of thermal fluctuations.

    Attributes:
        mean: origin, (features,).
        axes: directions, scaled by the inverse fluctuations, (features, components).
        places: positions of the training structures, (structures, components).
        limit: largest factor of a structure that resembles the training structures.
    """

    mean: FloatArray
    axes: FloatArray
    places: FloatArray
    limit: float

    @classmethod
    def of(cls, rows: Sequence[FloatArray]) -> Self | None:
        """Returns the positions of structures; None for too few.

        Args:
            rows: averaged descriptors of the atoms of each structure, (atoms, features).
        """
        if len(rows) < ENOUGH:
            return None
        values = np.concatenate(rows)
        mean = values.mean(axis=0)
        inside = np.concatenate([row - row.mean(axis=0) for row in rows])
        variances, vectors = np.linalg.eigh(inside.T @ inside / len(inside))
        axes = vectors / np.sqrt(np.maximum(variances, 0.0) + _FLOOR * float(variances.sum()))
        places = np.array([(row.mean(axis=0) - mean) @ axes for row in rows])
        found = cls(mean, axes, places, 1.0)
        factors = [found._factor(place, number) for number, place in enumerate(places)]
        return cls(mean, axes, places, max(1.0, _MARGIN * float(np.quantile(factors, _QUANTILE))))

    def unlikeness(self, row: FloatArray) -> float:
        """Returns the factor of a structure relative to the limit; above 1 it is unlike the training structures.

        Args:
            row: averaged descriptors of its atoms, (atoms, features).
        """
        return self._factor((row.mean(axis=0) - self.mean) @ self.axes) / self.limit

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data for JSON; numbers have seven digits."""
        return {name: plain_numbers(getattr(self, name), 7) for name in ("mean", "axes", "places", "limit")}

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
        return cls(mean, axes, places, float(entries["limit"]))

    def _factor(self, place: FloatArray, skip: int | None = None) -> float:
        """Returns the mean distance from the neighbours over the mean distance of the neighbours from theirs."""
        distances = np.linalg.norm(self.places - place, axis=1)
        if skip is not None:
            distances[skip] = np.inf
        nearest = np.argsort(distances)[:_NEAREST]
        return float(distances[nearest].mean() / self._own[nearest].mean())

    @cached_property
    def _own(self) -> FloatArray:
        """Mean distance of each training structure from its neighbours, (structures,)."""
        distances = np.linalg.norm(self.places[:, None] - self.places[None], axis=2)
        np.fill_diagonal(distances, np.inf)
        own = np.sort(distances, axis=1)[:, :_NEAREST].mean(axis=1)
        return np.maximum(own, _CLOSEST * np.median(own))
