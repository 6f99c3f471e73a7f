"""The domain of a trained model, from its training structures."""

from __future__ import annotations

import numpy as np

from fermisea.data.dataset import Dataset
from fermisea.model.model import Model
from fermisea.physics.window import LOWEST_TEMPERATURE
from fermisea.prediction.domain import Domain
from fermisea.prediction.plausibility import domain_warnings_ignored

_PREDICTED = 8
"""Largest number of training structures whose F from the LDOS is compared with the anchor."""


def training_domain(model: Model, training: Dataset) -> Domain:
    """Returns the domain of a model that has no domain yet.

    Surroundings are described by the descriptor of the anchor, or of the LDOS if there is no anchor.

    Args:
        model: trained model.
        training: its training structures.
    """
    whole = model.total_energy_obstacle is None
    chosen = np.unique(np.linspace(0, len(training) - 1, _PREDICTED).round().astype(int))
    shifts = [] if model.anchor is None else [_anchor_shift(model, training, index) for index in chosen]
    return Domain.of(
        [snapshot.atoms for snapshot in training],
        model.descriptor if model.anchor is None else model.anchor.descriptor,
        electron_temperature=(LOWEST_TEMPERATURE, model.highest_electron_temperature),
        grid_spacing=model.grid_spacing,
        free_energies=[snapshot.reference.free_energy for snapshot in training] if whole else None,
        anchor_shifts=shifts,
        anchor_error=0.0 if model.anchor is None else model.anchor.left_out_error,
    )


def _anchor_shift(model: Model, training: Dataset, index: int) -> float:
    """Returns F of the anchor minus F from the LDOS for one training structure, eV/atom."""
    snapshot = training[index]
    with domain_warnings_ignored():
        predicted = model.predict(
            snapshot.atoms,
            model.reference_electron_temperature,
            snapshot.grid,
            uncertainty=False,
            allow_beyond_window=True,
            allow_outside=True,
        )
    return predicted.anchor_shift / len(snapshot.atoms)
