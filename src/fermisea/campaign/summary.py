"""Outliers among the structures of a campaign, to be inspected before training."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from fermisea.campaign.run import Outcome
from fermisea.data.closure import CLOSURE

FAR = 6.0
"""Distance from the median that makes an outlier, in standard deviations (estimated from the median distance)."""

_ENOUGH = 5
"""Smallest number of structures for the detection of outliers."""


def outliers(outcomes: Iterable[Outcome]) -> dict[str, list[str]]:
    """Returns the unusual properties of outliers, by name of the structure.

    Free energies per atom are compared among structures of the same composition and ionic temperature, SCF iterations
    among all structures; a closure error above ``CLOSURE``, or without a value, is always reported.
    """
    chosen = [outcome for outcome in outcomes if outcome.snapshot is not None]
    found: dict[str, list[str]] = {}
    groups: dict[tuple[str, float | None], list[Outcome]] = {}
    for outcome in chosen:
        assert outcome.snapshot is not None  # noqa: S101  # chosen above
        key = (outcome.snapshot.atoms.get_chemical_formula(empirical=True), outcome.snapshot.ion_temperature)
        groups.setdefault(key, []).append(outcome)
    for group in groups.values():
        _compare(
            group, _free_energy, lambda v, m: f"F = {v:.4f} eV/atom, median of the others {m:.4f} eV/atom", 1e-3, found
        )
    _compare(chosen, _iterations, lambda v, m: f"{v:.0f} SCF iterations, median of the others {m:.0f}", 1.0, found)
    for outcome in chosen:
        error = outcome.record.closure_error
        assert outcome.snapshot is not None  # noqa: S101  # chosen above
        if error is None and outcome.snapshot.total_energy_obstacle is None:
            found.setdefault(outcome.name, []).append("the energy window of the LDOS is too small for tau_ref")
        if error is not None and abs(error) > CLOSURE * outcome.record.atoms:
            text = f"closure error (F from the LDOS - F of DFT) {1000 * error / outcome.record.atoms:+.2f} meV/atom"
            found.setdefault(outcome.name, []).append(text)
    return found


def _free_energy(outcome: Outcome) -> float:
    assert outcome.snapshot is not None  # noqa: S101  # see outliers
    return outcome.snapshot.reference.free_energy / len(outcome.snapshot.atoms)


def _iterations(outcome: Outcome) -> float:
    return float(outcome.record.iteration or np.nan)


def _compare(
    group: list[Outcome],
    value: Callable[[Outcome], float],
    words: Callable[[float, float], str],
    least: float,
    found: dict[str, list[str]],
) -> None:
    """Adds the structures far from the median; ``least`` is the smallest standard deviation used."""
    values = np.array([value(outcome) for outcome in group])
    if np.isfinite(values).sum() < _ENOUGH:
        return
    middle = float(np.nanmedian(values))
    deviation = max(1.4826 * float(np.nanmedian(np.abs(values - middle))), least)
    for outcome, number in zip(group, values, strict=True):
        if abs(number - middle) > FAR * deviation:
            found.setdefault(outcome.name, []).append(words(float(number), middle))
