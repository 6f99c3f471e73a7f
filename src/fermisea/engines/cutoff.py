"""Default plane-wave cutoff, and the warning of a cutoff that is too low for a pseudopotential."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from fermisea.pseudopotentials import Pseudopotential
from fermisea.pseudopotentials.gth import cutoffs

UNKNOWN = 270.0
"""Default cutoff, eV, with a pseudopotential whose cutoff is not known."""

LOW = 2 / 3
"""Cutoff relative to the converged one below which there is a warning; F is then 40 meV/atom too high in aluminium, and
170 meV/atom in lithium with three electrons."""


def default_cutoff(known: Mapping[str, float | None]) -> float:
    """Returns the cutoff, eV, at which F is converged to 10 meV/atom with all of these pseudopotentials.

    Args:
        known: converged cutoff of each pseudopotential by name, eV; None if it is not known, which gives a warning and
            a cutoff of at least 270 eV.
    """
    unknown = [name for name, cutoff in known.items() if cutoff is None]
    highest = max((cutoff or UNKNOWN for cutoff in known.values()), default=UNKNOWN)
    if unknown:
        warnings.warn(
            f"cutoff: none was given, and the converged cutoff of {', '.join(unknown)} is not known; took "
            f"{highest:g} eV, compare F with a higher cutoff",
            stacklevel=5,
        )
    return highest


def warn_of_low_cutoff(potentials: Mapping[str, Pseudopotential], cutoff: float, functional: str) -> None:
    """Warns of pseudopotentials for which a cutoff, eV, is too low, and names softer ones of the shipped table."""
    for symbol, potential in potentials.items():
        if potential.cutoff is None or cutoff >= LOW * potential.cutoff:
            continue
        others = softer(symbol, potential.cutoff, functional)
        choice = " or use " + " or ".join(f"{name} ({value:g} eV)" for name, value in others.items()) if others else ""
        warnings.warn(
            f"cutoff: got {cutoff:g} eV, but with {potential.name} F is converged to 10 meV/atom at "
            f"{potential.cutoff:g} eV; raise the cutoff{choice}",
            stacklevel=5,
        )


def softer(symbol: str, cutoff: float, functional: str) -> dict[str, float]:
    """Returns the cutoffs, eV, of the shipped pseudopotentials of an element that need less than ``cutoff``."""
    known = cutoffs(functional)
    return {name: value for name, value in known.items() if name.partition("-")[0] == symbol and value < cutoff}
