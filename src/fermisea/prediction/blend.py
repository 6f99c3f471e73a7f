"""A prediction from the predictions of several tau_ref, blended at each electronic temperature."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from fermisea.physics.blend import Share, blended
from fermisea.physics.observables import ThermalObservables
from fermisea.prediction.forces import Mechanics
from fermisea.prediction.plausibility import distinct
from fermisea.prediction.result import Prediction
from fermisea.prediction.uncertainty import Uncertainty
from fermisea.utilities.arrays import FloatArray

Shares = Mapping[float, Mapping[int, Share]]
"""For each tau_e, K, the weights of the predictions by their indices."""


def blended_prediction(
    parts: Mapping[int, Prediction], shares: Shares, electron_temperatures: Sequence[float], *, scalar: bool
) -> Prediction:
    """Returns the prediction at each tau_e from the predictions of each tau_ref with a weight there.

    Its DOS is the one of the largest weight at the lowest tau_e. The warnings of the parts are collected.

    Args:
        parts: predictions for lists of tau_e on the same grid with the same origin of F, by the indices of their
            tau_ref.
        shares: weights at each tau_e.
        electron_temperatures: tau_e in the order of the results, K.
        scalar: whether the tau_e was a single number.
    """
    places = {
        index: {result.electron_temperature: place for place, result in enumerate(part.results)}
        for index, part in parts.items()
    }
    coldest = shares[min(electron_temperatures)]
    main = parts[max(coldest, key=lambda index: coldest[index].weight)]
    order = sorted(parts)

    def at(t: float, value: Callable[[Prediction, int], float]) -> float:
        return math.fsum(share.weight * value(parts[i], places[i][t]) for i, share in shares[t].items())

    def result(t: float) -> ThermalObservables:
        own = shares[t]
        return blended([parts[i].results[places[i][t]] for i in own], list(own.values()))

    def mechanics(t: float) -> Mechanics:
        found = [(share.weight, (parts[i].mechanics or ())[places[i][t]]) for i, share in shares[t].items()]
        forces, stress = sum(w * m.forces for w, m in found), sum(w * m.stress for w, m in found)
        return Mechanics(np.asarray(forces), np.asarray(stress))

    known = {t: result(t) for t in dict.fromkeys(electron_temperatures)}
    coldest_part = parts[order[0]]
    return replace(
        main,
        results=tuple(known[t] for t in electron_temperatures),
        reference_electron_temperature=coldest_part.reference_electron_temperature,
        further_references=tuple(parts[i].reference_electron_temperature for i in order[1:]),
        scalar=scalar,
        errors={
            name: tuple(at(t, lambda part, k: part.errors[name][k]) for t in electron_temperatures)  # noqa: B023
            for name in main.errors
        },
        uncertainty=_spread(parts, places, shares, electron_temperatures, main, scalar=scalar),
        anchor=coldest_part.anchor,
        anchor_std=np.array([at(t, lambda part, _: float(part.anchor_std)) for t in electron_temperatures]),
        mechanics=None if main.mechanics is None else tuple(mechanics(t) for t in electron_temperatures),
        warnings=distinct([sentence for i in order for sentence in parts[i].warnings]),
    )


def _spread(
    parts: Mapping[int, Prediction],
    places: Mapping[int, Mapping[float, int]],
    shares: Shares,
    electron_temperatures: Sequence[float],
    main: Prediction,
    *,
    scalar: bool,
) -> Uncertainty | None:
    """Returns the spread over networks, each of which is blended with the network of the same number at other tau_ref.

    Deviations of densities are added in magnitude.
    """
    spreads = {index: part.uncertainty for index, part in parts.items() if part.uncertainty is not None}
    if len(spreads) < len(parts) or main.uncertainty is None:
        return None

    def member(number: int, t: float) -> ThermalObservables:
        found = [spreads[i].members[number][places[i][t]] for i in shares[t]]
        return blended(found, list(shares[t].values()))

    def deviation(t: float) -> FloatArray:
        """Returns the deviation of the density."""
        found = [share.weight * spreads[i].density[places[i][t]] for i, share in shares[t].items()]
        return np.asarray(sum(found))

    densities = [deviation(t) for t in electron_temperatures]
    return replace(
        main.uncertainty,
        members=tuple(
            tuple(member(number, t) for t in electron_temperatures) for number in range(len(main.uncertainty.members))
        ),
        density=densities[0] if scalar else np.stack(densities),
        scalar=scalar,
    )
