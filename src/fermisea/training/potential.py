"""Interatomic potential of a model in training: at tau_ref from free energies, and its change with tau_e."""

from __future__ import annotations

import math

from fermisea.data.dataset import Dataset
from fermisea.potential import (
    RegularModel,
    ThermalTerms,
    fit_correction,
    fit_regular,
    fit_thermal,
    highest_label,
    label_temperatures,
    labels_of,
    with_products,
)
from fermisea.training.config import TrainingConfig

_ENOUGH = 8
"""Smallest number of structures for a potential at every tau_e."""


def has_anchor(training: Dataset, config: TrainingConfig) -> bool:
    """Whether a regular model is requested and free energies are available."""
    return config.anchor and len(training) >= 2 and training[0].total_energy_obstacle is None


def fit_anchor(training: Dataset, config: TrainingConfig) -> RegularModel:
    """Returns the regular model of training structures with the settings of a configuration.

    Args:
        training: snapshots with total free energies, at one tau_ref.
        config: training configuration.

    Raises:
        InputError: for fewer than two structures, or data without total free energies.
    """
    spectrum, structures = config.make_anchor_descriptor(sorted(training.ions)), [s.atoms for s in training]
    products = config.anchor_products
    linear = fit_regular(training, with_products(spectrum, products, structures) if products else spectrum)
    return fit_correction(training, linear, config.anchor_hidden, seed=config.seed) if config.anchor_hidden else linear


def fit_change(
    training: Dataset,
    anchor: RegularModel | None,
    config: TrainingConfig,
    lowest: float = 0.0,
    beyond: float | None = None,
    limit: float = math.inf,
) -> ThermalTerms | None:
    """Returns the change of the anchor with tau_e, if requested and if structures and energy window allow it.

    Args:
        training: snapshots.
        anchor: potential at tau_ref.
        config: training configuration.
        lowest: lowest tau_e that is needed, K.
        beyond: highest tau_e to which free electrons above the energy window may extend the potential, as far as they
            are accurate enough, K; None for the limit of the window.
        limit: highest tau_e that is needed, K.
    """
    if anchor is None or not config.potential or len(training) < _ENOUGH:
        return None
    highest = min(snapshot.highest_electron_temperature for snapshot in training)
    if beyond is not None:
        highest = max(highest, highest_label(training, beyond))
    highest = min(highest, limit)
    if highest <= anchor.electron_temperature:
        return None
    resolution = max(training.broadening.standard_deviation, training.energy_grid.spacing)
    temperatures = label_temperatures(resolution, highest, lowest)
    descriptor = config.make_potential_descriptor([snapshot.atoms for snapshot in training])
    return fit_thermal(anchor, temperatures, labels_of(training, temperatures), descriptor=descriptor).terms
