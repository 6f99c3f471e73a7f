"""The domain of a trained model, from its training structures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fermisea.data.dataset import Dataset
from fermisea.descriptors import Products
from fermisea.model.model import Model
from fermisea.physics.window import LOWEST_TEMPERATURE
from fermisea.prediction.domain import Domain
from fermisea.prediction.plausibility import domain_warnings_ignored

_PREDICTED = 8
"""Largest number of training structures whose F from the LDOS is compared with the anchor."""

_BELOW, _APART = 0.95, 2.0
"""tau_e at which LDOS and potential are compared: relative to the limits of both, and at least relative to tau_ref."""


def training_domain(model: Model, training: Dataset) -> Domain:
    """Returns the domain of a model that has no domain yet.

    Surroundings are described by the descriptor of the anchor, or of the LDOS if there is no anchor.

    Args:
        model: trained model.
        training: its training structures.
    """
    whole = model.total_energy_obstacle is None
    descriptor = model.descriptor if model.anchor is None else model.anchor.descriptor
    if isinstance(descriptor, Products):
        descriptor = descriptor.spectrum
    chosen = np.unique(np.linspace(0, len(training) - 1, _PREDICTED).round().astype(int))
    pairs = [] if model.anchor is None else [_differences(model, training, index) for index in chosen]
    return Domain.of(
        [snapshot.atoms for snapshot in training],
        descriptor,
        electron_temperature=(LOWEST_TEMPERATURE, model.highest_electron_temperature),
        grid_spacing=model.grid_spacing,
        free_energies=[snapshot.reference.free_energy for snapshot in training] if whole else None,
        anchor_shifts=[shift for shift, _ in pairs],
        anchor_error=0.0 if model.anchor is None else model.anchor.left_out_error,
        spreads=None if model.anchor is None else model.anchor.provenance.get("left_out_spreads"),
        hot_difference=_hot_difference(model, [hot for _, hot in pairs]),
    )


def _hot_difference(model: Model, pairs: Sequence[tuple[float, float] | None]) -> float | None:
    """Returns the relative difference of changes of F with tau_e, with the error of the potential; None without it."""
    known = [pair for pair in pairs if pair is not None]
    if not known or model.thermal is None:
        return None
    differences, changes = np.array(known).T
    squares = np.mean(np.square(differences / changes))
    left_out = float(model.thermal.left_out_error(_compared(model))) / np.abs(changes).mean()
    found = float(np.sqrt(squares + left_out**2))
    return found if math.isfinite(found) else None


def _compared(model: Model) -> float:
    """Returns a tau_e, K, far from tau_ref: a little below the limits of LDOS and potential, or else below tau_ref."""
    tau_ref, potential = model.reference_electron_temperature, math.inf
    if model.thermal is not None:
        potential = model.thermal.basis.highest
    highest = _BELOW * min(model.highest_electron_temperature, potential)
    return highest if highest >= _APART * tau_ref else max(tau_ref / _APART, LOWEST_TEMPERATURE)


def _differences(model: Model, training: Dataset, index: int) -> tuple[float, tuple[float, float] | None]:
    """Returns differences between potentials and LDOS for one training structure, eV/atom.

    Returns:
        F of the anchor minus F from the LDOS; and, if there is a potential, F(tau_e) - F(tau_ref) of the LDOS minus the
        same change of the potential at ``_compared``, with this change.
    """
    snapshot, tau_ref = training[index], model.reference_electron_temperature
    temperatures = [tau_ref] if model.thermal is None else [tau_ref, _compared(model)]
    with domain_warnings_ignored():
        predicted = model.predict(
            snapshot.atoms,
            temperatures,
            snapshot.grid,
            uncertainty=False,
            allow_beyond_window=True,
            allow_outside=True,
        )
    atoms, last = len(snapshot.atoms), predicted.results[-1]
    shift = predicted.anchor_shift / atoms
    if model.thermal is None:
        return shift, None
    change = last.potential_free_energy - predicted.results[0].potential_free_energy
    return shift, ((last.free_energy_change - change) / atoms, change / atoms)
