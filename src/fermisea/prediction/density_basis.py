"""A few fields that give the density at any Fermi level near an estimated one.

The density is linear in its weights, n(r) = v . (h(r), 1) with v = (W^T w, b . w), and the integration weights w are
smooth in mu and tau_e. The vectors v of some Fermi levels around the guess, for all temperatures, span a space of few
dimensions; once the exact Fermi level is known, its v is expanded in a basis of that space. The remainder measures the
error of the expansion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from fermisea.utilities.arrays import FloatArray

LEVELS = 16
"""Number of Fermi levels around an estimate."""

_SAFETY = 1e-3
"""Weight of the plain norm of a vector, relative to the norm of its field on the sample."""


@dataclass(frozen=True)
class Norm:
    """The size of the fields of vectors v, measured on a sample of points.

    Attributes:
        sample: (h(r), 1) of some points, (points, width + 1), float64.
    """

    sample: Tensor

    def matrix(self, vectors: Tensor) -> Tensor:
        """Returns a matrix whose columns are as long as the fields of ``vectors``, (width + 1, n): root mean squares.

        A small fraction of the plain length of a vector is added, for contributions missing in the sample.
        """
        fields = self.sample @ vectors / len(self.sample) ** 0.5
        plain = _SAFETY * torch.linalg.norm(self.sample) / self.sample.numel() ** 0.5
        return torch.cat([fields, plain * vectors])


@dataclass(frozen=True)
class DensityBasis:
    """Fields that are orthonormal within rounding.

    Attributes:
        vectors: v of each field, (width + 1, fields), float64.
        norm: norm in which the fields are orthonormal.
    """

    vectors: Tensor
    norm: Norm

    @classmethod
    def spanning(cls, vectors: Tensor, norm: Norm, tolerance: float) -> Self:
        """Returns a basis for the fields of ``vectors``, (width + 1, n), down to a fraction of the largest field."""
        _, values, turns = torch.linalg.svd(norm.matrix(vectors), full_matrices=False)
        kept = values > tolerance * values[0]
        return cls(vectors @ (turns[kept].T / values[kept]), norm)

    def expand(self, vector: Tensor) -> tuple[Tensor, float]:
        """Returns coefficients, (fields,), and the relative error of the field of ``vector``, (width + 1,)."""
        target = self.norm.matrix(vector[:, None])[:, 0]
        # the smallest fields are orthogonal only within rounding, so projections are not accurate enough
        coefficients = torch.linalg.lstsq(self.norm.matrix(self.vectors), target[:, None]).solution[:, 0]
        rest = self.norm.matrix((vector - self.vectors @ coefficients)[:, None])
        return coefficients, float(torch.linalg.norm(rest) / torch.linalg.norm(target))


def levels_around(level: float, half_width: float) -> FloatArray:
    """Returns Fermi levels for interpolation within ``half_width`` of an estimate, eV: Chebyshev points."""
    return level + half_width * np.cos(np.pi * (np.arange(LEVELS) + 0.5) / LEVELS)
