"""Number of bands of a run, and what holds the electrons above them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np

from fermisea import units
from fermisea.engines.ldos import free_electron_bands
from fermisea.engines.planewave.filling import Filling
from fermisea.engines.planewave.problem import Problem
from fermisea.engines.planewave.tail import Tail
from fermisea.errors import InputError

EMPTY = 1e-6
"""Largest allowed occupation (0 to 1) of the top band without a tail."""

_ABOVE = 100.0
"""Energy above the Fermi energy of free electrons, eV, up to which there are at least bands below a tail. Without a
tail, the number of bands reaches this energy at 64 kK."""

_DENSE = 8.5
"""The same energy relative to the Fermi energy, which is decisive for electrons denser than in aluminium."""

_ROOM = 0.7
"""Largest number of bands below a tail, relative to the number of plane waves."""

_MOST_BANDS = 10**9
"""Largest number of bands of a setting; no basis has as many plane waves."""

TailChoice = Literal["auto"] | bool


class OccupiedTopError(InputError):
    """The top band is occupied and there is no tail."""


@dataclass(frozen=True)
class BandPlan:
    """Bands of a run.

    Attributes:
        bands: number of bands; at most the number of plane waves of each k-point.
        tail: switch from bands to free electrons, or None.
        fixed: whether the number was chosen by the user; otherwise bands are added while the top band is occupied.
        whole: whether the bands are all states of the basis.
    """

    bands: int
    tail: Tail | None = None
    fixed: bool = False
    whole: bool = False

    def checked(self, problem: Problem, filling: Filling, highest: float) -> Self:
        """Returns the plan itself, or a plan with more bands.

        Args:
            problem: plane waves and tau_e.
            filling: occupations of these bands.
            highest: lowest eigenvalue of the highest band of all k-points, eV.

        Raises:
            OccupiedTopError: if the top band of a fixed number of bands without tail is occupied.
            InputError: if there are not enough plane waves.
        """
        if self.whole:
            return self
        if self.tail is not None and filling.tail_bottom is not None:
            return self if highest >= filling.tail_bottom + self.tail.top else self._more(problem, 1.03)
        if filling.top <= EMPTY:
            return self
        if self.fixed:
            raise OccupiedTopError(
                f"bands: with {self.bands} bands the occupation of the top band at {problem.electron_temperature:g} K "
                f"is {filling.top:.1e}, expected at most {EMPTY:g}; request more bands or a tail, or leave the number "
                "to the engine"
            )
        return self._more(problem, 1.15)

    def _more(self, problem: Problem, factor: float) -> Self:
        fewest = fewest_waves(problem)
        if self.bands >= fewest:
            raise _basis_is_full(problem, math.ceil(factor * self.bands) + 1)
        return replace(self, bands=min(math.ceil(factor * self.bands) + 1, fewest))


def fewest_waves(problem: Problem) -> int:
    """Returns the smallest number of plane waves of all k-points."""
    return min(len(waves) for waves in problem.waves)


def band_plan(problem: Problem, bands: int | Literal["all"] | None, tail: TailChoice) -> BandPlan:
    """Returns the number of bands for the requested accuracy.

    Args:
        problem: electrons, volume, tau_e and plane waves.
        bands: number of bands; "all" for the whole basis; None for a number that depends on tau_e.
        tail: whether there is a tail; "auto" for a tail where the number of bands would otherwise be large. With a
            fixed number, "auto" gives no tail, and :meth:`BandPlan.checked` refuses occupied top bands.

    Raises:
        InputError: if there are not enough plane waves.
    """
    volume, fewest = problem.grid.volume, fewest_waves(problem)
    if bands == "all":
        return BandPlan(max(len(waves) for waves in problem.waves), whole=True)
    if bands is not None:
        chosen = BandPlan(bands, Tail(bands, volume) if tail is True else None, fixed=True)
    else:
        occupied = problem.electrons / 2
        thermal = 18 * units.thermal_energy(problem.electron_temperature)
        empty = free_electron_bands(problem.electrons, volume, thermal)
        chosen = BandPlan(math.ceil(max(empty, 1.2 * occupied, occupied + 4)))
        fewer = min(tail_bands(problem), int(_ROOM * fewest))
        if fewer and (tail is True or (tail == "auto" and fewer < chosen.bands)):
            fewer = min(fewer, chosen.bands)
            chosen = BandPlan(fewer, Tail(fewer, volume))
    if chosen.bands > fewest:
        raise _basis_is_full(problem, chosen.bands)
    return chosen


def tail_energy(problem: Problem) -> float:
    """Returns the kinetic energy up to which bands give F to 0.1 % and the pressure to 0.5 % at every tau_e, eV."""
    return _fermi_energy(problem) + _above(problem)


def tail_bands(problem: Problem) -> int:
    """Returns the number of bands below a tail for F to 0.1 % and the pressure to 0.5 %, at every tau_e."""
    return math.ceil(free_electron_bands(problem.electrons, problem.grid.volume, _above(problem)))


def _fermi_energy(problem: Problem) -> float:
    return units.KINETIC * problem.fermi_momentum**2


def _above(problem: Problem) -> float:
    return max(_ABOVE, _DENSE * _fermi_energy(problem))


def check_bands(bands: object, tail: object) -> None:
    """Refuses numbers of bands and choices of a tail that do not exist.

    Raises:
        InputError: for such values.
    """
    number = isinstance(bands, int | np.integer) and bands is not True and 0 < bands <= _MOST_BANDS
    if not (bands is None or number or (isinstance(bands, str) and bands == "all")):
        raise InputError(
            f"bands: got {bands!r}, expected a whole number from 1 to {_MOST_BANDS:,} or 'all'; omit bands for the "
            "number that tau_e needs"
        )
    if not (isinstance(tail, bool) or (isinstance(tail, str) and tail == "auto")):
        raise InputError(f"tail: got {tail!r}, expected true, false or 'auto'")
    if isinstance(bands, str) and tail is True:
        raise InputError(
            "tail: got a tail and all states of the basis (bands 'all'), which has no tail; omit the tail, or give a "
            "number of bands"
        )


def _basis_is_full(problem: Problem, bands: int) -> InputError:
    fewest = fewest_waves(problem)
    return InputError(
        f"bands: {bands} are needed at tau_e = {problem.electron_temperature:g} K, but a cutoff of "
        f"{problem.cutoff:g} eV gives only {fewest} plane waves; raise the cutoff to about "
        f"{1.1 * problem.cutoff * (bands / fewest) ** (2 / 3):.0f} eV"
    )
