"""Zero of energy of an LDOS as a function of the structure, so that the Fermi level moves little on this axis.

Energies of an LDOS are measured from the average potential of the cell, and on this axis the bands move with the
volume. In a free-electron gas of density n they move by hbar^2 (3 pi^2 n)^(2/3) / 2m (N. W. Ashcroft, N. D. Mermin,
Solid State Physics (1976), chapter 2). The zero here is linear in n^(2/3), with a slope from data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from fermisea.errors import InputError
from fermisea.grid import EnergyGrid

_SPREAD = 0.01
"""Smallest range of the volumes of the data, relative to their mean, for a slope from the data."""


@dataclass(frozen=True)
class EnergyAxis:
    """The energy e_ref = offset + slope n^(2/3) from which an LDOS is measured.

    n is the mean density of valence electrons. e_ref depends on a structure through its volume only, so it adds to the
    stress of an absolute energy, but not to the forces.

    Attributes:
        offset: eV.
        slope: eV Angstrom^2.
    """

    offset: float
    slope: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.offset) and math.isfinite(self.slope)):
            raise InputError(f"energy axis: got {self.offset} eV and {self.slope} eV A^2, expected finite numbers")

    @classmethod
    def of(cls, levels: Sequence[float], electrons: Sequence[float], volumes: Sequence[float]) -> Self | None:
        """Returns the axis that follows given Fermi levels by least squares; None if the volumes hardly differ.

        Args:
            levels: Fermi level of each structure, eV.
            electrons: number of valence electrons of each cell.
            volumes: volume of each cell, Angstrom^3.
        """
        density = np.array(electrons) / np.array(volumes)
        if np.ptp(density) < _SPREAD * density.mean():
            return None
        places = density ** (2 / 3)
        slope, offset = np.polyfit(places, np.array(levels), 1)
        return cls(float(offset), float(slope))

    def reference(self, electrons: float, volume: float) -> float:
        """Returns e_ref of a cell, eV."""
        return self.offset + self.slope * (electrons / volume) ** (2 / 3)

    def strain_derivative(self, electrons: float, volume: float) -> float:
        """Returns the derivative of e_ref with respect to each diagonal component of a strain, eV."""
        return -2 / 3 * self.slope * (electrons / volume) ** (2 / 3)

    def absolute(self, grid: EnergyGrid, electrons: float, volume: float) -> EnergyGrid:
        """Returns energies relative to e_ref of a cell as absolute energies."""
        return replace(grid, start=grid.start + self.reference(electrons, volume))
