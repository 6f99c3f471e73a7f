"""Structures of a campaign that stand out from the others: worth a look before they are trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from fermisea.campaign.run import Outcome

FAR = 6.0
"""Distances from the median, in standard deviations as the median of distances gives them, that make an outlier."""

CLOSURE = 1e-3
"""Closure error, eV per atom, above which an LDOS does not give back the free energy of its own calculation."""

_ENOUGH = 5
"""Structures below which there is nothing to stand out from."""


def outliers(outcomes: Iterable[Outcome]) -> dict[str, list[str]]:
    """Returns by name of the structure in what it stands out.

    Free energies are compared per atom among structures of one composition and ionic temperature, SCF iterations among
    all; closure errors also stand out by themselves, above ``CLOSURE``.
    """
    chosen = [outcome for outcome in outcomes if outcome.snapshot is not None]
    found: dict[str, list[str]] = {}
    groups: dict[tuple[str, float | None], list[Outcome]] = {}
    for outcome in chosen:
        assert outcome.snapshot is not None  # noqa: S101  # chosen above
        key = (outcome.snapshot.atoms.get_chemical_formula(empirical=True), outcome.snapshot.ion_temperature)
        groups.setdefault(key, []).append(outcome)
    for group in groups.values():
        _compare(group, _free_energy, lambda v, m: f"F = {v:.4f} eV/atom, the others' median is {m:.4f}", 1e-3, found)
    _compare(chosen, _iterations, lambda v, m: f"{v:.0f} SCF iterations, the others' median is {m:.0f}", 1.0, found)
    for outcome in chosen:
        error = outcome.record.closure_error
        if error is not None and abs(error) > CLOSURE * outcome.record.atoms:
            text = f"its LDOS misses its own free energy by {1000 * error / outcome.record.atoms:+.2f} meV/atom"
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
    """Adds who lies far from the median; ``least`` is the smallest standard deviation that is believed."""
    values = np.array([value(outcome) for outcome in group])
    if np.isfinite(values).sum() < _ENOUGH:
        return
    middle = float(np.nanmedian(values))
    deviation = max(1.4826 * float(np.nanmedian(np.abs(values - middle))), least)
    for outcome, number in zip(group, values, strict=True):
        if abs(number - middle) > FAR * deviation:
            found.setdefault(outcome.name, []).append(words(float(number), middle))
