"""Frozen cores: the highest frozen shell of a pseudopotential, and the tau_e at which it begins to ionise.

A pseudopotential describes the valence electrons only; at every tau_e the core stays as it is in the cold atom. Where
k_B tau_e exceeds a fifth of the binding energy of the highest frozen shell, electrons of this shell would be excited,
and free energy, entropy, heat capacity and pressure lack them. ``shells.json`` in this folder holds the binding
energies and their source.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from ase.data import atomic_numbers

from fermisea.units import BOLTZMANN

SHARE = 0.2
"""Highest k_B tau_e over the binding energy of the highest frozen shell."""

_CAPACITY = {"s": 2, "p": 6, "d": 10, "f": 14}

_BELOW_4F = ("1s", "2s", "2p", "3s", "3p", "3d", "4s", "4p", "4d")
"""Shells of all cores up to 46 electrons, in their order."""

_BEFORE_4F = 46
_XENON = 54
_FIRST_4F = 58
"""Atomic number of cerium."""

_TRIVALENT = 11
"""Valence charge of a trivalent lanthanide with frozen 4f electrons: 5s2 5p6 5d1 6s2."""

_ROUNDING = 1e-6


@dataclass(frozen=True)
class FrozenShell:
    """The highest frozen shell of a pseudopotential: the shell of its core with the smallest binding energy.

    Attributes:
        symbol: element.
        name: principal quantum number and angular momentum, such as "2p".
        ionisation_energy: energy that removes an electron from the shell of the cold atom or solid, eV.
    """

    symbol: str
    name: str
    ionisation_energy: float

    @property
    def highest_electron_temperature(self) -> float:
        """tau_e (K) at which k_B tau_e is a fifth of the ionisation energy."""
        return SHARE * self.ionisation_energy / BOLTZMANN

    @property
    def limit(self) -> str:
        """The highest tau_e as text, with three digits."""
        return f"about {float(f'{self.highest_electron_temperature:.3g}'):.0f} K"


def frozen_shell(symbol: str, valence: float) -> FrozenShell | None:
    """Returns the highest frozen shell of a pseudopotential; None if it has no core, or for an unknown element.

    Args:
        symbol: element.
        valence: number of valence electrons.
    """
    known = _binding_energies().get(symbol, {})
    core = [shell for shell in core_shells(atomic_numbers.get(symbol, 0), valence) if shell in known]
    if not core:
        return None
    name = min(core, key=lambda shell: known[shell])
    return FrozenShell(symbol, name, known[name])


def core_shells(number: int, valence: float) -> tuple[str, ...]:
    """Returns the frozen shells of a pseudopotential, also those that are frozen in part.

    The core of Z - q electrons is filled up to 4d in the usual order. Beyond, 4f comes before 5s and 5p, except in the
    core of xenon and in elements without 4f electrons: of hafnium with twelve electrons, 4f is frozen, not 5s and 5p.

    Args:
        number: atomic number Z.
        valence: number of valence electrons q.
    """
    electrons = math.ceil(number - valence - _ROUNDING)
    xenon = number < _FIRST_4F or (electrons == _XENON and round(valence) != _TRIVALENT)
    last = ("5s", "5p", "4f") if xenon else ("4f", "5s", "5p")
    shells = []
    for shell in (*_BELOW_4F, *last, "5d", "6s", "6p", "5f"):
        if electrons <= 0:
            break
        shells.append(shell)
        electrons -= _CAPACITY[shell[1]]
    return tuple(shells)


def ionised_cores(valence: Mapping[str, float], electron_temperatures: Iterable[float]) -> list[str]:
    """Returns a sentence for each element with a frozen shell that begins to ionise at the highest tau_e.

    Args:
        valence: number of valence electrons of each element.
        electron_temperatures: tau_e, K.
    """
    hottest = max((t for t in electron_temperatures if not math.isnan(t)), default=0.0)
    sentences = []
    for symbol in sorted(valence):
        shell = frozen_shell(symbol, valence[symbol])
        if shell is None or hottest <= shell.highest_electron_temperature:
            continue
        sentences.append(
            f"frozen core: k_B tau_e at {hottest:g} K is {BOLTZMANN * hottest:.3g} eV, above a fifth of the binding "
            f"energy of the frozen {shell.name} shell of {symbol} ({shell.ionisation_energy:g} eV); the "
            f"ionisation of this shell, which begins at {shell.limit}, is missing; use a pseudopotential with more "
            "valence electrons"
        )
    return sentences


def warn_of_ionised_cores(valence: Mapping[str, float], *electron_temperatures: float) -> None:
    """Warns of frozen shells that begin to ionise at a tau_e (K).

    Args:
        valence: number of valence electrons of each element.
        electron_temperatures: tau_e, K.
    """
    for sentence in ionised_cores(valence, electron_temperatures):
        warnings.warn(sentence, stacklevel=1)  # one place in the code, so that Python shows it once


@cache
def _binding_energies() -> Mapping[str, Mapping[str, float]]:
    """Returns the binding energy (eV) of each shell of each element."""
    text = resources.files("fermisea.pseudopotentials").joinpath("shells.json").read_text(encoding="utf-8")
    energies: dict[str, dict[str, float]] = json.loads(text)["binding_energies"]
    return energies
