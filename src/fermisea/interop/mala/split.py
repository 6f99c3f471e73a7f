"""Combination of the parts of a split energy grid of MALA into one grid.

A part ends at the first energy of the next one; this energy is taken once, from the next part.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fermisea.errors import InputError
from fermisea.grid import EnergyGrid


@dataclass(frozen=True)
class Part:
    """A part of an energy grid.

    Attributes:
        start: first energy, eV.
        spacing: energy spacing, eV.
        size: number of energies, including the first energy of the next part.
    """

    start: float
    spacing: float
    size: int

    @property
    def stop(self) -> float:
        """Last energy, eV."""
        return self.start + self.spacing * (self.size - 1)


@dataclass(frozen=True, eq=False)
class JoinedGrid:
    """Equally spaced energies from several parts.

    Attributes:
        grid: energy grid with the smallest spacing of all parts.
        parts: parts in order.
        interpolation: matrix of the linear interpolation from the stored energies to the grid, (grid.size, stored),
            which is exact for MALA's integrals; None if the stored energies are the grid.
    """

    grid: EnergyGrid
    parts: tuple[Part, ...]
    interpolation: npt.NDArray[np.float64] | None

    @property
    def stored(self) -> int:
        """Number of energies stored by MALA."""
        return sum(part.size for part in self.parts) - len(self.parts) + 1


def join(grids: EnergyGrid | Part | Sequence[EnergyGrid | Part]) -> JoinedGrid:
    """Returns one grid for the parts, ascending in energy.

    Raises:
        InputError: for parts that do not join, or spacings that are not multiples of the smallest one.
    """
    if isinstance(grids, EnergyGrid | Part):
        grids = [grids]
    parts = tuple(Part(grid.start, grid.spacing, grid.size) for grid in grids)
    if not parts or any(not (part.spacing > 0 and part.size > 1) for part in parts):
        raise InputError(f"energy grid: got the parts {list(parts)}, expected at least one, with spacings above 0")
    finest = min(part.spacing for part in parts)
    for left, right in itertools.pairwise(parts):
        if abs(left.stop - right.start) > 1e-4 * finest:
            raise InputError(
                f"energy grid: a part ends at {left.stop:g} eV and the next begins at {right.start:g} eV, expected the "
                "same energy in both (MALA omits it in the first part)"
            )
    ratios = [part.spacing / finest for part in parts]
    if any(abs(ratio - round(ratio)) > 1e-6 * ratio for ratio in ratios):
        raise InputError(
            f"energy grid: got spacings {[part.spacing for part in parts]} eV, expected multiples of the smallest one"
        )
    size = sum(round(ratio) * (part.size - 1) for ratio, part in zip(ratios, parts, strict=True)) + 1
    grid = EnergyGrid(parts[0].start, finest, size)
    if all(round(ratio) == 1 for ratio in ratios):
        return JoinedGrid(grid, parts, None)
    energies = np.concatenate(
        [part.start + part.spacing * np.arange(part.size - 1) for part in parts] + [np.array([parts[-1].stop])]
    )
    columns = [np.interp(grid.energies, energies, unit) for unit in np.eye(energies.size)]
    return JoinedGrid(grid, parts, np.stack(columns, axis=1))
