"""Structure of trajectories: pair distribution function g(r) and static structure factor S(q)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.neighborlist import neighbor_list

from fermisea.errors import InputError
from fermisea.grid import check_structure
from fermisea.utilities.arrays import FloatArray, IntArray

_SHORTEST_RANGE = 6.0
"""Smallest default range of g(r), Angstrom."""

_MOST_PAIRS = 1e8
"""Largest expected number of ordered pairs of a frame within the range of g(r)."""

_MOST_VECTORS = 1e8
"""Largest number of reciprocal vectors of a frame, in the box around the sphere of S(q)."""


@dataclass(frozen=True)
class Peak:
    """A maximum.

    Attributes:
        position: position of the maximum, Angstrom or 1/Angstrom.
        height: value of the maximum.
    """

    position: float
    height: float


@dataclass(frozen=True, eq=False)
class PairDistribution:
    """Pair distribution function g(r), the mean over the frames of a trajectory.

    Attributes:
        distance: centres of the bins of distance r, (n,), Angstrom.
        g: g(r), (n,): density of atoms at the distance r from an atom over the mean density of the frame.
        neighbours: mean number of atoms within the outer edge of each bin around an atom, (n,).
        partial: g_ab(r), (n,), of each pair of elements such as ``"Al-Cu"``; with the fractions c of the elements,
            g = sum over ordered pairs of c_a c_b g_ab.
        spacing: width of a bin, Angstrom.
        half_width: half of the smallest distance of opposite cell faces, Angstrom; at larger distances an atom also
            meets its own periodic images.
        frames: number of frames.
    """

    distance: FloatArray
    g: FloatArray
    neighbours: FloatArray
    partial: Mapping[str, FloatArray]
    spacing: float
    half_width: float
    frames: int

    @property
    def first_peak(self) -> Peak | None:
        """First maximum above 1; None if g(r) does not exceed 1 and fall below 1 again in its range."""
        limits = self._first_shell()
        return None if limits is None else _peak(self.distance, self.g, limits[0], limits[1])

    @property
    def first_minimum(self) -> float | None:
        """Distance of the lowest g(r) between the first two peaks, Angstrom; None without two peaks.

        Where g(r) is zero between two shells of a cold crystal, this is the middle of the gap.
        """
        index = self._minimum()
        return None if index is None else float(self.distance[index])

    @property
    def coordination_number(self) -> float | None:
        """Mean number of atoms within the first minimum; None without two peaks."""
        index = self._minimum()
        if index is None:
            return None
        before = self.neighbours[index - 1] if index else 0.0
        return float((before + self.neighbours[index]) / 2)

    def _first_shell(self) -> tuple[int, int] | None:
        """Returns the first bin above 1 and the next one below 1."""
        above = self.g > 1
        if not above.any():
            return None
        first = int(above.argmax())
        return None if above[first:].all() else (first, first + int(above[first:].argmin()))

    def _minimum(self) -> int | None:
        """Returns the bin of the first minimum."""
        limits = self._first_shell()
        if limits is None or not (self.g[limits[1] :] > 1).any():
            return None
        end = limits[1] + int((self.g[limits[1] :] > 1).argmax())
        valley = self.g[limits[1] : end]
        lowest = np.flatnonzero(valley == valley.min())
        return limits[1] + int(lowest[len(lowest) // 2])


@dataclass(frozen=True, eq=False)
class StructureFactor:
    """Static structure factor S(q), the mean over frames and over the reciprocal vectors of each shell.

    Attributes:
        wavevector: mean length of the reciprocal vectors of each shell, (n,), 1/Angstrom; shells without a vector are
            left out.
        s: S(q) = <|sum_j exp(i q.r_j)|^2> / N, (n,), of all atoms with equal weights.
        vectors: number of reciprocal vectors of each shell in all frames, (n,), without their negatives.
        partial: S_ab(q) = <Re sum_j exp(i q.r_j) sum_k exp(-i q.r_k)> / sqrt(N_a N_b), (n,), of each pair of elements
            such as ``"Al-Cu"``, j of a and k of b; with the fractions c of the elements, S = sum over ordered pairs of
            sqrt(c_a c_b) S_ab (Ashcroft and Langreth, Phys. Rev. 156, 685 (1967)).
        frames: number of frames.
    """

    wavevector: FloatArray
    s: FloatArray
    vectors: IntArray
    partial: Mapping[str, FloatArray]
    frames: int

    @property
    def main_peak(self) -> Peak:
        """Highest maximum, the first one in simple liquids."""
        return _peak(self.wavevector, self.s, 0, len(self.s))


def pair_distribution(
    frames: Atoms | Sequence[Atoms], *, highest: float | None = None, spacing: float = 0.05
) -> PairDistribution:
    """Returns g(r) of a structure or trajectory, for cells of any shape and of varying volume.

    All periodic images count, so g(r) tends to 1 at large distances at any range. Each frame is normalised with its own
    density, as at constant pressure.

    Args:
        frames: one structure, or frames of the same atoms.
        highest: largest distance, Angstrom; the default is half of the smallest distance of opposite cell faces, at
            least 6 Angstrom.
        spacing: width of a bin, Angstrom.

    Raises:
        InputError: for an invalid frame, frames of different atoms, or a range without pairs or with too many.
    """
    frames = _frames(frames)
    half_width = min(_half_width(atoms) for atoms in frames)
    reach = max(half_width, _SHORTEST_RANGE) if highest is None else highest
    bins = _bins("largest distance", reach, spacing, "Angstrom")
    edges = spacing * np.arange(bins + 1)
    shells = 4 / 3 * np.pi * np.diff(edges**3)
    kinds = sorted(set(frames[0].symbols))
    numbers = {kind: int((frames[0].symbols == kind).sum()) for kind in kinds}
    mean: dict[tuple[str, str], FloatArray] = {pair: np.zeros(bins) for pair in itertools.product(kinds, kinds)}
    counted = np.zeros(bins)
    for atoms in frames:
        volume = atoms.get_volume()
        expected = len(atoms) ** 2 / volume * 4 / 3 * np.pi * edges[-1] ** 3
        if expected > _MOST_PAIRS:
            raise InputError(
                f"g(r): {len(atoms)} atoms have about {expected:.1g} pairs within {edges[-1]:g} Angstrom, expected at "
                f"most {_MOST_PAIRS:.0g}; request a smaller distance"
            )
        first, second, distance = neighbor_list("ijd", atoms, float(edges[-1]))
        bin_of = np.minimum((distance / spacing).astype(np.int64), bins - 1)
        type_of = np.searchsorted(kinds, np.array(atoms.get_chemical_symbols()))
        pair_of = len(kinds) * type_of[first] + type_of[second]
        counts = np.bincount(pair_of * bins + bin_of, minlength=len(mean) * bins).reshape(len(mean), bins)
        counted += counts.sum(axis=0)
        for (a, b), row in zip(mean, counts, strict=True):
            mean[a, b] += row * volume / (numbers[a] * numbers[b]) / shells / len(frames)
    if not counted.any():
        raise InputError(
            f"g(r): no two atoms are within {edges[-1]:g} Angstrom of each other; request a larger distance, in "
            "Angstrom"
        )
    total = len(frames[0])
    values = sum(numbers[a] * numbers[b] / total**2 * row for (a, b), row in mean.items())
    return PairDistribution(
        distance=(edges[1:] + edges[:-1]) / 2,
        g=np.asarray(values),
        neighbours=np.cumsum(counted) / (total * len(frames)),
        partial={f"{a}-{b}": row for (a, b), row in mean.items() if a <= b},
        spacing=spacing,
        half_width=half_width,
        frames=len(frames),
    )


def structure_factor(
    frames: Atoms | Sequence[Atoms], *, highest: float = 10.0, spacing: float = 0.05
) -> StructureFactor:
    """Returns S(q) of a structure or trajectory, by the sum over all reciprocal vectors of the periodic cell.

    No Fourier transform of g(r) enters, so there is no error of truncation. The vectors follow the cell where the
    volume varies. The smallest q is the shortest reciprocal vector.

    Args:
        frames: one structure, or frames of the same atoms.
        highest: largest q, 1/Angstrom.
        spacing: width of a shell, 1/Angstrom.

    Raises:
        InputError: for an invalid frame, frames of different atoms, or a range without vectors or with too many.
    """
    frames = _frames(frames)
    shells = _bins("largest wavevector", highest, spacing, "1/Angstrom")
    kinds = sorted(set(frames[0].symbols))
    numbers = {kind: int((frames[0].symbols == kind).sum()) for kind in kinds}
    pairs = list(itertools.combinations_with_replacement(kinds, 2))
    sums = {pair: np.zeros(shells) for pair in pairs}
    lengths, vectors = np.zeros(shells), np.zeros(shells, dtype=np.int64)
    for atoms in frames:
        reciprocal = 2 * np.pi * atoms.cell.reciprocal().array
        most = np.floor(shells * spacing * atoms.cell.lengths() / (2 * np.pi)).astype(int)  # as h_i = G.a_i / 2 pi
        if np.prod(2.0 * most + 1) > _MOST_VECTORS:
            raise InputError(
                f"S(q): the cell has about {np.prod(2.0 * most + 1):.1g} reciprocal vectors up to {highest:g} "
                f"1/Angstrom, expected at most {_MOST_VECTORS:.0g}; request a smaller wavevector"
            )
        phases = {kind: _phases(atoms[atoms.symbols == kind], most) for kind in kinds}
        second, third = (np.arange(-n, n + 1) for n in most[1:])
        for h in range(most[0] + 1):
            plane = h * reciprocal[0] + second[:, None, None] * reciprocal[1] + third[:, None] * reciprocal[2]
            size = np.linalg.norm(plane, axis=-1)
            used = size < shells * spacing
            if h == 0:  # one of each q and -q
                used &= (second[:, None] > 0) | ((second[:, None] == 0) & (third > 0))
            shell = (size[used] / spacing).astype(np.int64)
            vectors += np.bincount(shell, minlength=shells)
            lengths += np.bincount(shell, size[used], minlength=shells)
            waves = {kind: ((x[h] * y) @ z.T)[used] for kind, (x, y, z) in phases.items()}
            for a, b in pairs:
                product = (waves[a] * waves[b].conj()).real / math.sqrt(numbers[a] * numbers[b])
                sums[a, b] += np.bincount(shell, product, minlength=shells)
    some = vectors > 0
    if not some.any():
        raise InputError(
            f"S(q): the cell has no reciprocal vector up to {highest:g} 1/Angstrom; request a larger wavevector, in "
            "1/Angstrom"
        )
    partial = {pair: row[some] / vectors[some] for pair, row in sums.items()}
    total = len(frames[0])
    values = sum(
        (1 if a == b else 2) * math.sqrt(numbers[a] * numbers[b]) / total * row for (a, b), row in partial.items()
    )
    return StructureFactor(
        wavevector=lengths[some] / vectors[some],
        s=np.asarray(values),
        vectors=vectors[some],
        partial={f"{a}-{b}": row for (a, b), row in partial.items()},
        frames=len(frames),
    )


def _frames(frames: Atoms | Sequence[Atoms]) -> Sequence[Atoms]:
    """Returns checked frames of the same atoms in any order."""
    listed = [frames] if isinstance(frames, Atoms) else list(frames)
    if not listed:
        raise InputError("structure: got no frames, expected at least one")
    for number, atoms in enumerate(listed):
        check_structure(atoms, f"frame {number}", allow_contacts=True)
        if sorted(atoms.numbers) != sorted(listed[0].numbers):
            raise InputError(
                f"frame {number}: got the atoms {atoms.get_chemical_formula()}, expected "
                f"{listed[0].get_chemical_formula()} as in frame 0; give frames of the same atoms"
            )
    return listed


def _bins(name: str, highest: float, spacing: float, unit: str) -> int:
    """Returns the number of bins up to ``highest``."""
    if not (math.isfinite(highest) and math.isfinite(spacing) and 0 < spacing <= highest):
        raise InputError(
            f"{name}: got {highest} and a spacing of {spacing}, expected positive numbers in {unit}, the spacing at "
            "most as large"
        )
    return max(round(highest / spacing), 1)


def _half_width(atoms: Atoms) -> float:
    """Returns half of the smallest distance of opposite cell faces, Angstrom."""
    return float(1 / (2 * np.linalg.norm(atoms.cell.reciprocal().array, axis=1).max()))


def _phases(atoms: Atoms, most: IntArray) -> list[npt.NDArray[np.complex128]]:
    """Returns exp(2 pi i h s) of the scaled positions s, (h, atoms), along each lattice vector, from 0 or -h."""
    scaled = atoms.cell.scaled_positions(atoms.positions)
    lowest = (0, -most[1], -most[2])
    return [
        np.exp(2j * np.pi * np.outer(np.arange(start, stop + 1), s))
        for start, stop, s in zip(lowest, most, scaled.T, strict=True)
    ]


def _peak(places: FloatArray, values: FloatArray, start: int, stop: int) -> Peak:
    """Returns the maximum between two bins, from a parabola through its bin and the two beside it."""
    top = start + int(values[start:stop].argmax())
    if not 0 < top < len(values) - 1:
        return Peak(float(places[top]), float(values[top]))
    (x0, x1, x2), (y0, y1, y2) = places[top - 1 : top + 2], values[top - 1 : top + 2]
    left, right = (y1 - y0) / (x1 - x0), (y2 - y1) / (x2 - x1)
    curvature = (right - left) / (x2 - x0)
    if curvature >= 0:
        return Peak(float(x1), float(y1))
    middle = float((x0 + x1) / 2 - left / (2 * curvature))
    return Peak(middle, float(y1 + (middle - x1) * (left + curvature * (middle - x0))))
