"""Interatomic potential of a model in training: at tau_ref from free energies, and its change with tau_e."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from fermisea.data.dataset import Dataset
from fermisea.model.labels import network_labels
from fermisea.model.model import Model
from fermisea.networks.ensemble import Ensemble
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
from fermisea.prediction.plausibility import domain_warnings_ignored
from fermisea.training.config import TrainingConfig
from fermisea.training.state import TrainingState
from fermisea.utilities.arrays import FloatArray
from fermisea.utilities.torchrun import Processes

_ENOUGH = 8
"""Smallest number of structures for a potential at every tau_e."""


def has_anchor(training: Dataset, config: TrainingConfig) -> bool:
    """Returns whether a regular model is requested and free energies are available."""
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
    descriptor = with_products(spectrum, products, structures) if products else spectrum
    linear = fit_regular(training, descriptor, force_scale=config.anchor_force_scale)
    return fit_correction(training, linear, config.anchor_hidden, seed=config.seed) if config.anchor_hidden else linear


def fit_change(
    training: Dataset,
    anchor: RegularModel | None,
    config: TrainingConfig,
    lowest: float = 0.0,
    beyond: float | None = None,
    limit: float = math.inf,
    forces: Callable[[FloatArray], Sequence[FloatArray]] | None = None,
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
        forces: function of tau_e, (nT,), K, that returns the changes of the forces between tau_ref and tau_e for each
            structure, (nT, atoms, 3), eV/Angstrom; called if the configuration requests them.
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
    labels = labels_of(training, temperatures)
    if config.potential_forces and forces is not None:
        changes = forces(temperatures)
        labels = [replace(label, forces=change) for label, change in zip(labels, changes, strict=True)]
    return fit_thermal(anchor, temperatures, labels, descriptor=descriptor).terms


def changes_of_forces(
    model: Model,
    training: Dataset,
    electron_temperatures: FloatArray,
    processes: Processes,
    tell: Callable[[TrainingState], None],
) -> list[FloatArray]:
    """Returns the changes of the forces between tau_ref and tau_e that the LDOS of a model gives.

    The networks of an ensemble take the structures in turn. Their errors differ, so that most of them cancel in a fit
    to many structures, at the cost of a single network.

    Args:
        model: model with trained networks.
        training: snapshots at the tau_ref of the model.
        electron_temperatures: tau_e, (nT,), K.
        processes: processes that share the work.
        tell: callback with the progress.

    Returns:
        An array for each snapshot, (nT, atoms, 3), eV/Angstrom.
    """
    started, network = time.perf_counter(), model.network
    members = network.members if isinstance(network, Ensemble) else (network,)
    singles = [replace(model, network=copy.deepcopy(member).cpu(), anchor=None, thermal=None) for member in members]
    temperatures = electron_temperatures.tolist()
    found = [torch.zeros(len(temperatures), len(snapshot.atoms), 3, dtype=torch.float64) for snapshot in training]
    for index, snapshot in enumerate(training):
        if processes.mine(index):
            single = singles[index % len(singles)]
            with domain_warnings_ignored():
                (labels,) = network_labels(
                    single, [snapshot.atoms], temperatures, grids=[snapshot.grid], allow_outside=True
                )
            found[index] += torch.as_tensor(labels.forces)
        tell(TrainingState("forces", index + 1, len(training), seconds=time.perf_counter() - started))
    for index, forces in enumerate(found):
        processes.send(forces, index)
    return [forces.numpy() for forces in found]
