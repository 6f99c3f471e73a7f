"""The hyperspherical power spectrum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np
from ase import Atoms

from fermisea.descriptors.base import Descriptor, check_definition
from fermisea.descriptors.compiled.pairs import contract_pairs, contract_pairs_vjp
from fermisea.descriptors.evaluator import Contraction, Evaluator, check_dtype
from fermisea.descriptors.harmonics import Expansion
from fermisea.descriptors.neighbors import find_neighbors
from fermisea.errors import InputError
from fermisea.utilities.arrays import IntArray

HIGHEST_SMOOTHNESS = 3
"""Highest power of f_c."""


@dataclass(frozen=True)
class PowerSpectrum(Descriptor):
    """The power spectrum p_{jj'l} = sum_m A_jlm A_j'lm of the surroundings on the three-sphere.

    A_jlm is the sum over neighbours of w f_c(r) Y_jlm(cos theta_0, sin theta_0 r/|r|), the same map as for
    the SNAP bispectrum. Components run over j = 0 .. order, j' = j .. order, l = 0 .. j, l fastest: 35 at order 4, 84
    at order 6. The point itself does not contribute, so all components are zero without atoms within the cutoff; an
    atom at the point is included.

    Attributes:
        order: highest degree j of the harmonics, 0 to 30.
        cutoff: distance beyond which atoms do not contribute, Angstrom.
        weights: weight of each element; ``None`` gives every atom the weight 1, whatever its element.
        rfac0: theta_0 / pi at the cutoff, above 0 and at most 1.
        smoothness: power of f_c, 1 to 3. With 1, as in SNAP, the second derivative jumps at the cutoff, and sums over a
            grid converge as the fourth power of the grid spacing; with 2 the fourth derivative jumps, and a cutoff
            longer by a quarter has an equal effective range.
    """

    order: int
    cutoff: float
    weights: Mapping[str, float] | None = field(default=None, hash=False)
    rfac0: float = 0.99363
    smoothness: int = 1

    kind: ClassVar[str] = "power_spectrum"

    def __post_init__(self) -> None:
        check_definition(self, "order", highest=30)
        if self.smoothness not in range(1, HIGHEST_SMOOTHNESS + 1):
            raise InputError(f"smoothness: got {self.smoothness!r}, expected 1, 2 or 3")

    @property
    def effective_cutoff(self) -> float:
        """Cutoff with smoothness 1 and about the same range, Angstrom: shorter by a fifth for smoothness 2."""
        return self.cutoff / (1 + (self.smoothness - 1) / 4)

    @property
    def features(self) -> int:
        """Number of (j, j', l) with j <= j' <= order and l <= j."""
        return (self.order + 1) * (self.order + 2) * (self.order + 3) // 6

    def degrees(self) -> IntArray:
        """Returns the higher degree j' of each component, (features,)."""
        pairs = ((j, k) for j in range(self.order + 1) for k in range(j, self.order + 1))
        return np.array([k for j, k in pairs for _ in range(j + 1)])

    def evaluator(
        self, atoms: Atoms, dtype: str = "float64", threads: int | None = None, *, own: float = 0.0
    ) -> Evaluator:
        """Returns an evaluator of the power spectrum of one structure; see ``Descriptor.evaluator``."""
        check_dtype(dtype)
        neighbors = find_neighbors(atoms, self.cutoff, self.weights)
        expansion = Expansion(self.order, self.cutoff, self.rfac0, 0.0, -own, self.smoothness)

        contraction = Contraction(
            lambda harmonics, rows, out: contract_pairs(harmonics, rows, self.order, out),
            lambda harmonics, rows, cotangents, out: contract_pairs_vjp(harmonics, rows, self.order, cotangents, out),
        )
        return Evaluator(neighbors, expansion, self.features, contraction, dtype, threads)

    def to_dict(self) -> dict[str, Any]:
        """Returns the definition as plain values."""
        return {"kind": self.kind, **asdict(self)}
