"""Estimated errors of a prediction: the spread of its potential or of its networks, and the transfer error."""

from __future__ import annotations

import math

import numpy as np

from fermisea.physics.observables import ThermalObservables
from fermisea.physics.registry import SCALARS
from fermisea.prediction.values import PredictionValues
from fermisea.utilities.arrays import FloatArray


def spreads_of(prediction: PredictionValues) -> dict[str, FloatArray]:
    """Returns the known standard deviations of the scalars of a prediction, (nT,), by name, in their units.

    F, U, S and C_e of a potential have its posterior standard deviation. All else has the standard deviation over the
    networks of an ensemble.
    """
    spread = prediction.uncertainty
    found = {} if spread is None else {name: np.atleast_1d(values) for name, values in spread.scalars().items()}
    if prediction.results[0].uses_potential:
        for name in [o.name for o in SCALARS if o.from_potential and o.spread]:
            found.pop(name, None)
            values = [r.potential.deviations[name] for r in prediction.results if r.potential is not None]
            if not np.isnan(values).any():
                found[name] = np.array(values)
    return found


def uncertainty_of(prediction: PredictionValues) -> FloatArray:
    """Returns the estimated standard error of F, (nT,), eV; NaN without a spread.

    It is the root of the sum of the squares of spread, transfer and blend error and, for F from an LDOS, of the tail
    error and of the error of the anchor, which all networks share. Networks are also wrong together: the spread of F
    from an LDOS is at least its difference from the most accurate F that the model knows.
    """
    transfer = np.array([result.transfer_error for result in prediction.results])
    spread = spreads_of(prediction).get("free_energy", np.full(len(transfer), np.nan))
    spread = np.maximum(spread, [_difference(result) for result in prediction.results])
    if not prediction.results[0].uses_potential:
        spread = np.hypot(spread, [result.tail_error for result in prediction.results])
        spread = np.hypot(spread, prediction.anchor_std if prediction.anchored else 0.0)
    blend = np.nan_to_num([result.blend_error for result in prediction.results])
    return np.hypot(np.hypot(spread, transfer), blend)


def _difference(result: ThermalObservables) -> float:
    """Returns the difference between F and F of the potential, or without one an anchored F, eV; 0 if unknown."""
    known = (result.potential_free_energy, result.anchored_free_energy)
    best = next((value for value in known if not math.isnan(value)), result.free_energy)
    return abs(result.free_energy - best)
