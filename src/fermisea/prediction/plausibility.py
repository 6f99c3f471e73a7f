"""Requests and predicted energies outside of the domain of a model, and the warnings about them."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ase import Atoms

from fermisea.errors import DomainWarning, InputError
from fermisea.prediction.domain import Domain
from fermisea.prediction.limits import TEMPERATURE
from fermisea.prediction.request import Request
from fermisea.prediction.result import Prediction
from fermisea.utilities.torchrun import ALONE, Processes

_UNBOUND = 10.0
"""Impossible difference from F of the training structures, eV/atom: larger than any cohesive energy."""

_SMALL = 0.01
"""Difference between changes of F with tau_e, eV/atom, that needs no warning."""

_SHIFT = 12.0
"""Largest difference between F from the LDOS and F of the anchor, relative to its spread in the domain.

Unseen structures of fcc aluminium reach 6.4, bcc 20, a vacancy in 32 atoms 61."""


def request_outside(domain: Domain, request: Request) -> tuple[list[str], str | None]:
    """Describes how a request leaves the domain, and a structure that cannot exist, before any computation.

    A tau_e above the energy window is handled by the check of the spectrum.
    """
    grids = [grid for grid in (request.grid, request.dos_grid) if grid is not None]
    outside, impossible = structure_outside(
        domain,
        request.atoms,
        request.electron_temperatures,
        spacing=max(max(grid.spacing) for grid in grids),
        processes=request.processes,
    )
    if impossible is not None:
        return [], impossible
    found = [*request.warnings, *outside]
    if request.forces and not request.forces_of_change and domain.anchor_shift is not None:
        found.append(
            "stress of the LDOS: forces and stress are not anchored; the pressure of F from the LDOS alone can be "
            "wrong by hundreds of GPa; use the anchor"
        )
    return found, None


def structure_outside(
    domain: Domain,
    atoms: Atoms,
    electron_temperatures: Sequence[float],
    *,
    spacing: float | None = None,
    processes: Processes = ALONE,
) -> tuple[list[str], str | None]:
    """Describes how a structure leaves the domain, and why it cannot exist, if it cannot.

    Arguments are the same as for ``Domain.check``. A tau_e above the energy window has no sentence, because the
    check of the spectrum estimates the error of the tail, and refuses a tau_e at which it is too large.
    """
    if (impossible := domain.impossible(atoms)) is not None:
        return [], impossible
    found = domain.check(atoms, electron_temperatures, spacing=spacing, processes=processes)
    return [sentence for sentence in found if not sentence.startswith(TEMPERATURE)], None


def implausible(domain: Domain, prediction: Prediction) -> str | None:
    """Describes an energy that no structure can have, or that is not finite; None if there is none."""
    for result in prediction.results:
        energies = [result.band_energy, result.ldos_entropy, result.fermi_level, *result.free_energies.values()]
        if result.potential is not None:
            energies += [result.potential.free_energy, result.potential.entropy]
        if not all(map(math.isfinite, energies)):
            return (
                f"free energy: the result at {result.electron_temperature:g} K is not a finite number; check the cell "
                "and the positions of the structure"
            )
    if not prediction.has_free_energy:
        return None
    # below tau_ref, F may be far above the F of training, by the change from tau_ref
    highest = max(r.free_energy - max(r.free_energy_change, 0.0) for r in prediction.results)
    lowest = min(r.internal_energy() for r in prediction.results)
    return impossible_energy(domain, len(prediction.atoms), highest, lowest)


def impossible_energy(domain: Domain, atoms: int, highest: float, lowest: float) -> str | None:
    """Describes an energy that no structure can have; None if there is none.

    F falls with tau_e and the internal energy rises. The range of F in training, at tau_ref, therefore bounds F from
    above and the internal energy from below at every higher tau_e.

    Args:
        domain: domain of the model.
        atoms: number of atoms.
        highest: highest F, eV.
        lowest: lowest internal energy, eV.
    """
    if domain.free_energy_per_atom is None:
        return None
    low, high = domain.free_energy_per_atom
    largest, smallest = highest / atoms, lowest / atoms
    if largest < high + _UNBOUND and smallest > low - _UNBOUND:
        return None
    name, value = ("F", largest) if largest >= high + _UNBOUND else ("the internal energy", smallest)
    return (
        f"free energy: {name} is {value:.1f} eV/atom, but F of the training structures is {low:.1f} to {high:.1f} "
        "eV/atom; no structure has such an energy, check cell and positions"
    )


def inconsistent(domain: Domain, prediction: Prediction) -> list[str]:
    """Describes doubts of the computation, and differences between F from the LDOS and from the potentials.

    The differences are those that are larger than in training.
    """
    found = list(prediction.warnings)
    if not prediction.has_free_energy:
        return found
    return found + _anchor_differs(domain, prediction) + _potential_differs(domain, prediction)


def _potential_differs(domain: Domain, prediction: Prediction) -> list[str]:
    """Describes the largest difference between F(tau_e) - F(tau_ref) from the LDOS and from the potential."""
    if domain.hot_difference is None or prediction.anchor is None:
        return []
    atoms, worst, found = len(prediction.atoms), _SHIFT * domain.hot_difference, []
    for result in prediction.results:
        change = result.potential_free_energy - prediction.anchor
        difference, size = result.free_energy_change - change, max(abs(change), abs(result.free_energy_change))
        if abs(difference) > max(worst * size, _SMALL * atoms):
            worst = abs(difference / size)
            limit = f"{100 * _SHIFT * domain.hot_difference:.1f} %"
            ldos, potential = (f"{value / atoms:.3f}" for value in (result.free_energy_change, change))
            sentence = (
                f"hot free energy: F(tau_e) - F(tau_ref) at {result.electron_temperature:g} K is {ldos} eV/atom from "
                f"the LDOS and {potential} from the potential; the difference of {100 * worst:.1f} % is above the "
                f"limit of {limit} from the training structures; at least one of them is wrong"
            )
            found = [sentence]
    return found


def _anchor_differs(domain: Domain, prediction: Prediction) -> list[str]:
    """Describes a difference between F from the LDOS and F of the anchor at tau_ref."""
    if prediction.anchor is None or domain.anchor_shift is None:
        return []
    shift, limit = abs(prediction.anchor_shift) / len(prediction.atoms), _SHIFT * domain.anchor_shift
    if shift <= limit:
        return []
    difference = f"F from the LDOS and F of the anchor differ by {1000 * shift:.0f} meV/atom"
    known = f"more than the limit of {1000 * limit:.0f} meV/atom from the training structures"
    advice = (
        "the structure lies outside the training data, or the grid is too coarse; F from the LDOS is not reliable, and "
        "F(tau_e) - F(tau_ref) may be unreliable too"
    )
    return [f"free energy: {difference}, {known}; {advice}"]


@contextmanager
def domain_warnings_ignored() -> Iterator[None]:
    """Suppresses domain warnings, which the prediction keeps; comparisons with DFT measure the error itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DomainWarning)
        yield


def issue(found: Sequence[str], impossible: str | None, *, allow_outside: bool) -> tuple[str, ...]:
    """Issues each sentence as a :class:`fermisea.DomainWarning` at the caller of the caller, and returns all sentences.

    Raises:
        InputError: for ``impossible``; with ``allow_outside`` it is a warning too.
    """
    if impossible is not None and not allow_outside:
        raise InputError(f"{impossible} (allow_outside=True or --allow-outside turns this error into a warning)")
    sentences = (*found, *(() if impossible is None else (impossible,)))
    for sentence in sentences:
        warnings.warn(sentence, DomainWarning, stacklevel=3)
    return sentences


def kind_of(sentence: str) -> str:
    """Returns the kind of a warning, the same for all sentences that differ in their numbers only."""
    return re.sub(r"[-+\d.,\s]+", " ", sentence)


def distinct(sentences: Sequence[str]) -> tuple[str, ...]:
    """Returns the first sentence of each kind."""
    return tuple({kind_of(sentence): sentence for sentence in reversed(sentences)}.values())[::-1]
