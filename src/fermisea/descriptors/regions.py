"""Regions of space for descriptors in tensor operations: points close to each other, and nearby atoms."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fermisea.errors import InputError
from fermisea.grid import RealSpaceGrid
from fermisea.utilities.arrays import FloatArray

_PAIRS = 2**22
"""Largest number of distances between points and atoms in one block."""

_MOST_IMAGES = 20_000_000


class Crystal:
    """Atoms repeated in all three directions, with a search for images near a region."""

    def __init__(self, positions: Tensor, cell: Tensor, weights: Tensor, cutoff: float) -> None:
        grid = RealSpaceGrid(tuple(map(tuple, cell.detach().cpu().double().numpy())), (1, 1, 1))
        self.positions, self.cell, self.weights = positions, cell, weights
        self.cutoff = cutoff
        self.lattice = grid.lattice
        self.inverse = np.linalg.inv(grid.lattice)
        self.density = len(positions) / grid.volume
        # cutoff divided by the distance of opposite faces, with a margin for rounding
        self._reach = self.cutoff * np.linalg.norm(self.inverse, axis=0) * (1 + 1e-9) + 1e-9
        expected = len(positions) * float(np.prod(1 + 2 * self._reach))
        if expected > _MOST_IMAGES:
            raise InputError(
                f"cell: {expected:.0f} periodic images are within {self.cutoff} Angstrom of the cell, expected at most "
                f"{_MOST_IMAGES}; check the cell and the cutoff"
            )
        device = positions.device
        self._lattice = torch.from_numpy(self.lattice).to(device)
        self._fractions = positions.detach().double() @ torch.from_numpy(self.inverse).to(device)

    @torch.no_grad()
    def images(self, low: FloatArray, high: FloatArray) -> tuple[Tensor, Tensor, Tensor]:
        """Returns all images within the cutoff of a Cartesian box.

        Args:
            low: lowest coordinates of the box, (3,), Angstrom.
            high: highest coordinates of the box, (3,), Angstrom.

        Returns:
            Atom, (images,), cell, (images, 3), and position, (images, 3), of each image, in double precision.
        """
        middle, half = (low + high) / 2 @ self.inverse, (high - low) / 2 @ np.abs(self.inverse)
        margin = half + self._reach
        counts = np.floor(2 * margin).astype(int) + 1
        device = self.positions.device
        bounds = torch.from_numpy(np.stack([middle - margin, middle + margin, low, high])).to(device)
        steps = torch.cartesian_prod(*(torch.arange(n, dtype=torch.float64, device=device) for n in counts.tolist()))
        cells = (torch.ceil(bounds[0] - self._fractions)[:, None] + steps.reshape(-1, 3)).reshape(-1, 3)
        fractions = self._fractions.repeat_interleave(len(steps), dim=0) + cells
        places = fractions @ self._lattice
        outside = (bounds[2] - places).clamp(min=0) + (places - bounds[3]).clamp(min=0)
        near = (fractions <= bounds[1]).all(-1) & (outside.square().sum(-1) < (self.cutoff * (1 + 1e-6)) ** 2)
        found = near.nonzero()[:, 0]
        return found // len(steps), cells[found], places[found]


@torch.no_grad()
def nearest(places: Tensor, points: Tensor, cutoff: float) -> Iterator[tuple[int, Tensor]]:
    """Yields blocks of points with all places within the cutoff, padded to equal length with places beyond it.

    Args:
        places: (places, 3), Angstrom.
        points: (points, 3), Angstrom.
        cutoff: cutoff of the descriptor, Angstrom.

    Yields:
        The index of the first point, and the indices of places, (points, neighbours).
    """
    rows = max(1, _PAIRS // max(1, len(places)))
    for start in range(0, len(points), rows):
        part = points[start : start + rows]
        if len(places):
            square = (part[:, None, 0] - places[:, 0]).square_()
            for axis in (1, 2):
                square += (part[:, None, axis] - places[:, axis]).square_()
            count = int((square < (cutoff * (1 + 1e-6)) ** 2).sum(dim=1).max())
            yield start, square.topk(count, dim=1, largest=False, sorted=False).indices
        else:
            yield start, torch.zeros((len(part), 0), dtype=torch.int64, device=points.device)


def groups(points: FloatArray, most: int, density: float, cutoff: float) -> Iterator[npt.NDArray[np.int64]]:
    """Yields indices of groups of close points, at most ``most`` in each, by halving along the longest side."""
    waiting = [np.arange(len(points))] if len(points) else []
    while waiting:
        index = waiting.pop()
        part = points[index]
        sides = part.max(axis=0) - part.min(axis=0)
        if _is_small(len(index), sides, most, density, cutoff):
            yield index
            continue
        order = np.argpartition(part[:, np.argmax(sides)], len(index) // 2)
        waiting += [index[order[len(index) // 2 :]], index[order[: len(index) // 2]]]


def bricks(
    start: tuple[int, ...], stop: tuple[int, ...], steps: FloatArray, most: int, density: float, cutoff: float
) -> Iterator[tuple[list[int], list[int]]]:
    """Yields first and last (excluded) indices of boxes of at most ``most`` grid points, by halving the longest."""
    waiting = [(list(start), list(stop))] if all(b > a for a, b in zip(start, stop, strict=True)) else []
    lengths = np.linalg.norm(steps, axis=1)
    while waiting:
        low, high = waiting.pop()
        extent = np.array(high) - np.array(low)
        sides = np.ptp(corners(low, high, steps), axis=0)
        if _is_small(int(extent.prod()), sides, most, density, cutoff):
            yield low, high
            continue
        axis = int(np.argmax(np.where(extent > 1, extent * lengths, 0)))
        middle = int(low[axis] + extent[axis] // 2)
        waiting += [
            ([*low[:axis], middle, *low[axis + 1 :]], high),
            (low, [*high[:axis], middle, *high[axis + 1 :]]),
        ]


def _is_small(count: int, sides: FloatArray, most: int, density: float, cutoff: float) -> bool:
    atoms = density * float(np.prod(sides + 2 * cutoff))
    return count == 1 or (count <= most and count * atoms <= _PAIRS)


def corners(low: list[int], high: list[int], steps: FloatArray) -> FloatArray:
    """Returns the Cartesian corners of a box of grid points, (8, 3)."""
    ends = np.array([low, np.array(high) - 1])
    choices = np.indices((2, 2, 2)).reshape(3, -1).T
    return np.asarray(ends[choices, [0, 1, 2]] @ steps)
