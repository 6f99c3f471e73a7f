"""Free electrons above an energy window: the continuation of a local density of states.

High above the Fermi level an LDOS is the one of free electrons in a local potential U(r), proportional to sqrt(eps -
U(r)). Expanded around one bottom U0, with the kinetic energy e = eps - U0, a value at e1 continues as

    d(e2) = sqrt(e1 / e2) d(e1) + c (e2 - e1) / sqrt(e2) = (a + c e2) / sqrt(e2),   a = sqrt(e1) d(e1) - c e1,

where c is the constant of free electrons. With ``a`` averaged over the last energies of the window, the continuation is
affine in the values, and the choice of U0 matters to second order in U(r) - U0 only. Sources: S. Zhang et al., Phys.
Plasmas 23, 042707 (2016); A. Blanchet, J. Clerouin, M. Torrent, F. Soubiran, Comput. Phys. Commun. 271, 108215 (2022).

Spectra approach free electrons slowly: nonlocal pseudopotentials and Bragg reflection change the DOS of aluminium by 5
to 15 % even 30 eV above the Fermi level. The number of all states below the top of the window gives another ``a``, and
so do ranges of half and twice the width; their differences measure the error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fermisea.grid import EnergyGrid
from fermisea.physics.free_electrons import STATES
from fermisea.utilities.arrays import FloatArray

_SPAN = 12.0
"""Largest energy range below the top of the window that is averaged, eV."""

_SHARE = 1 / 3
"""Largest share of the kinetic energies of the window that is averaged."""

ERROR_FACTOR = 3.0
"""Error of the tail over the largest difference between its estimates.

For 12 spectra of strained, rattled and defective aluminium, windows that end 8 to 40 eV above the Fermi level, and
tau_e from 20 to 100 kK, the resulting errors bound 88 % of 527 errors; their median is three times the error.
"""

LEAST_ERROR = 0.04
"""Smallest relative error of the tail."""


@dataclass(frozen=True)
class Tail:
    """Free electrons above an energy window.

    Attributes:
        bottom: lowest energy of the free electrons, U0, eV.
        span: energy range below the top of the window that is averaged, eV.
    """

    bottom: float
    span: float

    @classmethod
    def of(cls, grid: EnergyGrid, density: npt.ArrayLike) -> Tail | None:
        """Returns the tail that continues a density of states; None if it does not resemble free electrons.

        Args:
            grid: energies.
            density: density of states per volume, both spins, (energies,), 1/(eV Angstrom^3).
        """
        energies, values = grid.energies, np.asarray(density, dtype=np.float64)
        bottom, span = grid.start, _SPAN
        for _ in range(2):
            span = min(_SPAN, _SHARE * (grid.stop - bottom))
            chosen = _last(grid, span)
            if values[chosen].min() <= 0:
                return None
            bottom = float(np.mean(energies[chosen] - np.square(values[chosen] / STATES)))
        if not grid.stop - span - bottom > span:
            return None
        return cls(bottom, span)

    def kinetic(self, grid: EnergyGrid) -> FloatArray:
        """Returns eps - U0, (energies,), eV."""
        return grid.energies - self.bottom

    def average(self, grid: EnergyGrid) -> FloatArray:
        """Returns the weights of the values in ``a``, (energies,), eV^(1/2)."""
        return _average(grid, self.bottom, self.span)

    def offset(self, grid: EnergyGrid) -> float:
        """Returns the part of ``a`` per volume that does not depend on the values, eV^(1/2) / (eV Angstrom^3)."""
        return _offset(grid, self.bottom, self.span)

    def disagreement(self, grid: EnergyGrid, dos: FloatArray, volume: float) -> float:
        """Returns the largest difference between ``a`` and its other estimates for the cell, eV^(-1/2).

        Args:
            grid: energies.
            dos: density of states, (energies,), 1/eV.
            volume: volume of the cell, Angstrom^3.
        """

        def from_values(span: float) -> float:
            return float(_average(grid, self.bottom, span) @ dos) + _offset(grid, self.bottom, span) * volume

        kinetic, last = self.kinetic(grid), _last(grid, self.span / 2)
        states = (np.cumsum(dos) - dos / 2) * grid.spacing
        excess = states[last] - 2 / 3 * STATES * volume * kinetic[last] ** 1.5
        from_number = float(np.mean(excess / np.sqrt(kinetic[last]))) / 2
        others = [from_number, *(from_values(factor * self.span) for factor in (0.5, 1.5))]
        return max(abs(other - from_values(self.span)) for other in others)


def _average(grid: EnergyGrid, bottom: float, span: float) -> FloatArray:
    """Returns the weights of the values in ``a`` for a range of energies."""
    chosen = _last(grid, span)
    return np.where(chosen, np.sqrt(np.maximum(grid.energies - bottom, 0.0)), 0.0) / np.count_nonzero(chosen)


def _offset(grid: EnergyGrid, bottom: float, span: float) -> float:
    """Returns the part of ``a`` per volume that does not depend on the values, for a range of energies."""
    return -STATES * float(np.mean(grid.energies[_last(grid, span)] - bottom))


def _last(grid: EnergyGrid, span: float) -> npt.NDArray[np.bool_]:
    """Returns whether each energy lies within ``span`` of the top."""
    return np.asarray(grid.energies >= grid.stop - span - 1e-9)
