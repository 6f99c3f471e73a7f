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
    highest = max((cutoff or UNKNOWN for cutoff in known.values()), default=UNKNOWN)
    for sentence in unknown_cutoffs(known, highest):
        warnings.warn(sentence, stacklevel=4)
    return highest


def unknown_cutoffs(known: Mapping[str, float | None], highest: float) -> list[str]:
    """Returns a sentence if a default cutoff is not known to be converged.

    Args:
        known: converged cutoff of each pseudopotential by name, eV; None if it is not known.
        highest: default cutoff, eV.
    """
    unknown = [name for name, cutoff in known.items() if cutoff is None]
    if not unknown:
        return []
    names = ", ".join(unknown)
    text = f"cutoff: none was given, and the converged cutoff of {names} is not known; took {highest:g} eV"
    return [f"{text}, compare F with a higher cutoff"]


def warn_of_low_cutoff(potentials: Mapping[str, Pseudopotential], cutoff: float, functional: str) -> None:
    """Warns of pseudopotentials for which a cutoff, eV, is too low."""
    known = {potential.name: potential.cutoff for potential in potentials.values()}
    for sentence in low_cutoffs(known, cutoff, functional):
        warnings.warn(sentence, stacklevel=4)


def low_cutoffs(known: Mapping[str, float | None], cutoff: float, functional: str) -> list[str]:
    """Returns a sentence for each pseudopotential for which a cutoff is too low, with softer ones of the shipped table.

    Args:
        known: converged cutoff of each pseudopotential by name, eV; None if it is not known.
        cutoff: plane-wave cutoff, eV.
        functional: exchange-correlation functional.
    """
    sentences = []
    for name, converged in known.items():
        if converged is None or cutoff >= LOW * converged:
            continue
        others = _softer(name, converged, functional)
        choice = (
            " or use " + " or ".join(f"{other} ({value:g} eV)" for other, value in others.items()) if others else ""
        )
        sentences.append(
            f"cutoff: got {cutoff:g} eV, but with {name} F is converged to 10 meV/atom at {converged:g} eV; raise the "
            f"cutoff{choice}"
        )
    return sentences


def _softer(name: str, cutoff: float, functional: str) -> dict[str, float]:
    """Returns the cutoffs, eV, of the shipped pseudopotentials of the same element that need less than ``cutoff``."""
    symbol = name.rpartition(" ")[2].partition("-")[0]
    known = cutoffs(functional)
    return {other: value for other, value in known.items() if other.partition("-")[0] == symbol and value < cutoff}
