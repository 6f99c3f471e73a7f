"""The SNAP bispectrum in the convention of LAMMPS (compute sna/grid)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from ase import Atoms

from fermisea.descriptors.base import Descriptor, check_definition, is_number
from fermisea.descriptors.compiled.simd import lane_count
from fermisea.descriptors.compiled.triples import contract_triples, contract_triples_vjp
from fermisea.descriptors.coupling import triple_plan, wigner_tables
from fermisea.descriptors.evaluator import Contraction, Evaluator, check_dtype
from fermisea.descriptors.harmonics import Expansion
from fermisea.descriptors.neighbors import find_neighbors
from fermisea.descriptors.wigner import bispectrum_triples
from fermisea.errors import InputError
from fermisea.utilities.arrays import IntArray


@dataclass(frozen=True)
class Bispectrum(Descriptor):
    """The bispectrum of the surroundings on the three-sphere, real and independent of rotations.

        B_{j1 j2 j} = sum conj(u^j_mm') C^{jm}_{j1 m1 j2 m2} C^{jm'}_{j1 m1' j2 m2'} u^j1_m1m1' u^j2_m2m2'

    u^j = 1 + sum over neighbours of w f_c(r) U^j(2 theta_0, r/|r|), with Wigner's U. The 1 represents the point itself,
    as a neighbour of weight 1; without atoms within the cutoff, B_{j1 j2 j} = 2 j + 1. Components run over 2 j1 = 0 ..
    twojmax, j2 <= j1, j1 <= j: 55 at twojmax 8, 91 at 10.

    An atom exactly at the point is included, so that B is continuous there (LAMMPS excludes this atom).

    Sources: A. P. Thompson et al., J. Comput. Phys. 285, 316 (2015); A. P. Bartok et al., Phys. Rev. B 87, 184115
    (2013).

    Attributes:
        twojmax: twice the highest angular momentum, 0 to 14.
        cutoff: distance beyond which atoms do not contribute, Angstrom.
        weights: weight of each element; ``None`` gives every atom the weight 1, whatever its element.
        rfac0: theta_0 / pi at the cutoff, above 0 and at most 1.
        rmin0: distance at which theta_0 = 0, Angstrom; see ``Expansion`` for smaller distances.
    """

    twojmax: int
    cutoff: float
    weights: Mapping[str, float] | None = field(default=None, hash=False)
    rfac0: float = 0.99363
    rmin0: float = 0.0

    kind: ClassVar[str] = "bispectrum"

    def __post_init__(self) -> None:
        check_definition(self, "twojmax", highest=14)
        if not (is_number(self.rmin0) and 0 <= self.rmin0 <= self.cutoff / 2):
            raise InputError(f"rmin0: got {self.rmin0!r} Angstrom, expected 0 to half the cutoff, {self.cutoff / 2}")
        object.__setattr__(self, "rmin0", float(self.rmin0))

    @property
    def features(self) -> int:
        """Number of (j1, j2, j) with j2 <= j1 <= j <= twojmax / 2 that satisfy the triangle inequality."""
        return len(bispectrum_triples(self.twojmax))

    def degrees(self) -> IntArray:
        """Returns twice the highest angular momentum j of each component, (features,)."""
        return np.array([j for _, _, j in bispectrum_triples(self.twojmax)])

    def evaluator(
        self, atoms: Atoms, dtype: str = "float64", threads: int | None = None, *, own: float = 0.0
    ) -> Evaluator:
        """Returns an evaluator of the bispectrum of one structure; see ``Descriptor.evaluator``."""
        check_dtype(dtype)
        neighbors = find_neighbors(atoms, self.cutoff, self.weights)
        centre = 1.0 - own if self.rmin0 == 0 else 1.0  # with rmin0, an atom at the point is excluded anyway
        expansion = Expansion(self.twojmax, self.cutoff, self.rfac0, self.rmin0, centre)
        tables = _tables(self.twojmax, np.dtype(dtype).name)

        contraction = Contraction(
            lambda harmonics, rows, out: contract_triples(harmonics, rows, *tables, out),
            lambda harmonics, rows, cotangents, out: contract_triples_vjp(harmonics, rows, *tables, cotangents, out),
        )
        return Evaluator(neighbors, expansion, self.features, contraction, dtype, threads)

    def to_dict(self) -> dict[str, Any]:
        """Returns the definition as plain values."""
        return {"kind": self.kind, **asdict(self)}


@lru_cache(maxsize=16)
def _tables(twojmax: int, dtype: str) -> tuple[npt.NDArray[np.generic], ...]:
    """Returns the arguments of the compiled contraction: numbers of the given type, places in units of registers."""
    wigner, plan = wigner_tables(twojmax), triple_plan(twojmax)
    lanes = lane_count(np.dtype(dtype).itemsize)
    return (
        wigner.pointers,
        wigner.columns,
        wigner.entries.astype(dtype),
        wigner.places,
        plan.components,
        plan.lows,
        plan.highs,
        plan.weights.astype(dtype),
        plan.lengths,
        plan.first * lanes,
        plan.second * lanes,
        plan.third * lanes,
        plan.factors.astype(dtype),
    )
