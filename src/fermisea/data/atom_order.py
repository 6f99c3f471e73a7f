"""Order of the atoms in a trajectory: frames that list the same atoms in another order."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from ase import Atoms
from scipy.spatial import cKDTree

from fermisea.errors import InputError
from fermisea.sites import box_coordinates
from fermisea.utilities.arrays import FloatArray, IntArray
from fermisea.utilities.counts import counted

_IDENTITY = ("id", "ids", "atom_id", "particle_id")
"""Names of arrays with a number for each atom."""

_JUMP = 0.5
"""Displacement between two frames, over the distance of neighbouring atoms, above which another order is considered."""

_CLOSE = 0.25
"""Largest root mean square displacement of reordered atoms, over the distance of neighbouring atoms."""

_RATIO = 4.0
"""Ratio of mean square displacements in the order of the file and in the best order that shows another order."""

_MANY = 0.2
"""Fraction of the atoms of a frame in another place that shows another order; atoms of a solid rarely exchange."""


def in_one_order(frames: Sequence[Atoms], first: int = 0) -> list[Atoms]:
    """Returns the frames of a trajectory with the atoms of each frame in the order of the first frame.

    Numbers of the atoms, such as the array ``id`` of a LAMMPS dump file, define the order if all frames have them.
    Otherwise, atoms of two consecutive frames that are far apart are assigned to each other if each of them is nearest
    to a different one in the other frame, with small displacements. Solids fulfil this condition; liquids with frames
    far apart in time do not, and keep the order of the file. A warning reports assigned atoms if their displacement in
    the order of the file is far larger. The common drift of all atoms is no displacement.

    Args:
        frames: frames with equal numbers of atoms.
        first: index of the first frame in its file, for messages.

    Raises:
        InputError: if a frame has other elements, or the same ones in an order that cannot be found.
    """
    for index, frame in enumerate(frames):
        if len(frame) != len(frames[0]) or (np.sort(frame.numbers) != np.sort(frames[0].numbers)).any():
            raise InputError(
                f"trajectory: frame {first + index} has other atoms than frame {first}; cut the file there"
            )
    sorted_frames = _by_identity(frames)
    if sorted_frames is not None:
        return sorted_frames
    steps = [_step(frame, last, first + index) for index, (last, frame) in enumerate(pairwise(frames))]
    moved, best, fraction = (
        np.array([getattr(step, name) for step in steps]) for name in ("moved", "best", "fraction")
    )
    wrong = np.flatnonzero((moved > _RATIO * best) & (fraction > 0))
    if not wrong.size or (moved.sum() <= _RATIO * best.sum() and fraction[wrong].max() <= _MANY):
        return list(frames)
    order = np.arange(len(frames[0]))
    orders = [order] + [order := step.order[order] for step in steps]
    count = sum(bool((own != orders[0]).any()) for own in orders)
    one = int(wrong[np.argmax(fraction[wrong])])
    warnings.warn(
        f"trajectory: the atoms of frame {first + one + 1} are not in the order of frame {first + one} (mean square "
        f"displacement {_squared(moved[one])} in the order of the file, {_squared(best[one])} in the best order); "
        f"{counted(count, 'frame')} {'was' if count == 1 else 'were'} sorted for the correlation time and the mean "
        "square displacement",
        stacklevel=3,
    )
    return [frame[order] for frame, order in zip(frames, orders, strict=True)]


@dataclass(frozen=True, eq=False)
class _Step:
    """Change of the order between two frames.

    Attributes:
        order: atom of the later frame for each atom of the earlier one, (atoms,).
        moved: mean square displacement in the order of the file, Angstrom^2; infinite if the elements differ.
        best: mean square displacement in ``order``, Angstrom^2.
        fraction: fraction of the atoms with another index.
    """

    order: IntArray
    moved: float
    best: float
    fraction: float


def _step(frame: Atoms, last: Atoms, index: int) -> _Step:
    """Returns the order of the atoms of a frame relative to the last frame, whose index is ``index``."""
    order: IntArray | None = np.arange(len(frame))
    if (frame.numbers != last.numbers).any():
        moved = math.inf
        order = _assigned(frame, last, np.ones(len(frame), dtype=bool), np.zeros(3))
        if order is None:
            raise InputError(
                f"trajectory: frame {index + 1} has the same atoms as frame {index} in another order; write all frames "
                "in one order, or with a number for each atom in the column id"
            )
    else:
        displacement, drift = _displacements(frame, last)
        moved = float(np.mean(displacement**2))
        jumped = displacement > _JUMP * _neighbor_distance(last)
        if 2 * np.count_nonzero(jumped) > len(frame):  # the drift of few atoms is unknown
            jumped, drift = np.ones(len(frame), dtype=bool), np.zeros(3)
        if np.count_nonzero(jumped) > 1:
            order = _assigned(frame, last, jumped, drift)
        if order is None or (order == np.arange(len(frame))).all():
            return _Step(np.arange(len(frame)), moved, moved, 0.0)
    best = float(np.mean(_displacements(frame[order], last)[0] ** 2))
    return _Step(order, moved, best, float(np.mean(order != np.arange(len(frame)))))


def _by_identity(frames: Sequence[Atoms]) -> list[Atoms] | None:
    """Returns frames sorted by the numbers of their atoms; None unless all frames have the same different numbers."""
    for name in _IDENTITY:
        if not all(frame.has(name) for frame in frames):
            continue
        numbers = [frame.arrays[name] for frame in frames]
        known = np.unique(numbers[0])
        if known.shape == (len(frames[0]),) and all(np.array_equal(np.sort(own), known) for own in numbers):
            result = [frame[np.argsort(own)] for frame, own in zip(frames, numbers, strict=True)]
            if all((frame.numbers == result[0].numbers).all() for frame in result):
                return result
    return None


def _displacements(frame: Atoms, last: Atoms) -> tuple[FloatArray, FloatArray]:
    """Returns the displacement of each atom since the last frame without the common drift, (atoms,), Angstrom.

    The second value is the drift, the median of the displacements, in lattice vectors, (3,).
    """
    moved = frame.cell.scaled_positions(frame.positions) - last.cell.scaled_positions(last.positions)
    moved -= np.round(moved)
    drift = np.median(moved, axis=0)
    moved -= drift
    moved -= np.round(moved)
    return np.linalg.norm(frame.cell.cartesian_positions(moved), axis=1), drift


def _neighbor_distance(atoms: Atoms) -> float:
    """Returns the median distance of an atom to its nearest neighbour, Angstrom, at most the shortest cell height."""
    points, heights = box_coordinates(atoms.positions, atoms.cell.array)
    if len(atoms) == 1:
        return float(heights.min())
    distances, _ = cKDTree(points, boxsize=heights).query(points, k=[2])
    return float(np.median(distances))


def _assigned(frame: Atoms, last: Atoms, chosen: npt.NDArray[np.bool_], drift: FloatArray) -> IntArray | None:
    """Returns for each atom of the last frame the atom of ``frame`` at its place; None if there is no clear answer.

    Args:
        frame: the frame.
        last: the frame before.
        chosen: whether an atom may have another place, (atoms,); the others keep theirs.
        drift: common displacement of all atoms, in lattice vectors, (3,).
    """
    order = np.arange(len(frame))
    limit = _CLOSE * _neighbor_distance(last)
    total = 0.0
    for number in np.unique(last.numbers[chosen]):
        before, after = (
            np.flatnonzero(chosen & (last.numbers == number)),
            np.flatnonzero(chosen & (frame.numbers == number)),
        )
        old, heights = box_coordinates(last.positions[before], last.cell.array)
        # the cell of the last frame changes little, and fractional coordinates follow it
        scaled = frame.cell.scaled_positions(frame.positions[after]) - drift
        new, _ = box_coordinates(last.cell.cartesian_positions(scaled), last.cell.array)
        distances, found = cKDTree(new, boxsize=heights).query(old, k=[1])
        nearest = np.ravel(found)
        if len(np.unique(nearest)) != len(nearest):
            return None
        order[before] = after[nearest]
        total += float(np.sum(np.square(distances)))
    return order if total <= limit**2 * np.count_nonzero(chosen) else None


def _squared(value: float) -> str:
    return f"{value:.3g} Å²" if np.isfinite(value) else "without meaning"
