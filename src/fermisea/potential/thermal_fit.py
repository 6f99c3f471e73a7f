"""Fit of a potential at every tau_e to changes of F, forces and stress with tau_e, in closed form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from fermisea.data.dataset import Dataset
from fermisea.errors import InputError
from fermisea.potential.design import design_of
from fermisea.potential.fit import ENERGY_WEIGHT, STRESS_WEIGHT
from fermisea.potential.heat import HeatBasis
from fermisea.potential.least_squares import Targets, Weights, fit_linear
from fermisea.potential.model import RegularModel
from fermisea.potential.nonnegative import nearest_nonnegative
from fermisea.potential.thermal import ThermalPotential
from fermisea.utilities.arrays import FloatArray

_INTERVALS = 6
_LABELS = 16
"""Number of equally spaced tau_e at which a snapshot is labelled, besides the low ones."""

_LOW = (500.0, 1000.0, 2000.0)
"""Further tau_e of labels, K, which fix the heat capacity at low tau_e."""

_ABSOLUTE = 1e-3
"""Change of F, eV/atom, below which errors of labels have equal weights, and above which relative errors have."""


@dataclass(frozen=True)
class Labels:
    """Changes of one structure between tau_ref and other electronic temperatures.

    Attributes:
        atoms: the structure.
        free_energy: F(tau_e) - F(tau_ref) of the cell, (nT,), eV.
        forces: the same difference of the forces, (nT, atoms, 3), eV/Angstrom; None if unknown.
        stress: the same difference of the stress, (nT, 3, 3), eV/Angstrom^3; None if unknown.
    """

    atoms: Atoms
    free_energy: FloatArray
    forces: FloatArray | None = None
    stress: FloatArray | None = None


def label_temperatures(highest: float) -> FloatArray:
    """Returns the electronic temperatures of labels, K, ascending, up to ``highest``."""
    even = highest * np.arange(1, _LABELS + 1) / _LABELS
    return np.array(sorted({t for t in _LOW if t < even[0]} | set(even.tolist())))


def labels_of(
    dataset: Dataset, electron_temperatures: FloatArray, progress: Callable[[int, int], None] | None = None
) -> list[Labels]:
    """Returns the changes of F from the LDOS of each snapshot, in the second-order form.

    Args:
        dataset: snapshots with total free energies.
        electron_temperatures: tau_e of the labels, K.
        progress: callback with the number of snapshots done and the total number of snapshots.

    Raises:
        InputError: for data without total free energies.
        WindowError: for a tau_e above the limit of the energy window of a snapshot.
    """
    found = []
    for index, snapshot in enumerate(dataset):
        values = snapshot.free_energy([dataset.electron_temperature, *electron_temperatures])
        found.append(Labels(snapshot.atoms, values[1:] - values[0]))
        if progress is not None:
            progress(index + 1, len(dataset))
    return found


def fit_thermal(
    regular: RegularModel,
    electron_temperatures: FloatArray,
    labels: Sequence[Labels],
    *,
    energy_weight: float = ENERGY_WEIGHT,
    stress_weight: float = STRESS_WEIGHT,
    intervals: int = _INTERVALS,
) -> ThermalPotential:
    """Returns the potential whose changes with tau_e fit the labels, by constrained least squares.

    The functions of tau_e are combined so that their values at the tau_e of the labels are orthonormal. The fit then
    separates into one ridge regression for each function, with a cross-validated ridge parameter. If a coefficient of
    C_e / tau_e is negative for a structure of the labels, all coefficients are projected onto the nearest solution
    without negative ones, in the metric of the least squares.

    Args:
        regular: regular model at tau_ref, whose descriptor is used.
        electron_temperatures: tau_e of the labels, K; the largest is the highest tau_e of the potential.
        labels: changes of F, and of forces and stress where they are known.
        energy_weight: weight of energies over sqrt(atoms), 1/Angstrom, relative to a force component.
        stress_weight: the same weight of stress times volume; 0 excludes the stress.
        intervals: number of intervals of the splines in tau_e.

    Raises:
        InputError: for fewer than two structures, too few tau_e, or labels of another shape.
    """
    if len(labels) < 2:
        raise InputError(f"potential: got labels of {len(labels)} structures, expected at least two")
    temperatures = np.asarray(electron_temperatures, dtype=np.float64)
    basis = HeatBasis(float(temperatures.max()), intervals)
    if len(temperatures) < basis.size:
        raise InputError(f"potential: got {len(temperatures)} electronic temperatures, expected at least {basis.size}")
    counts = np.array([len(item.atoms) for item in labels])
    energies = np.array([item.free_energy for item in labels])
    scale = 1 / (_ABSOLUTE + np.abs(energies / counts[:, None]).mean(0))
    shares = basis.free_energy(temperatures) - basis.free_energy(regular.electron_temperature)
    rotation, triangle = np.linalg.qr(scale[:, None] * shares)
    project = rotation.T * scale  # labels -> coefficients of the orthonormal functions
    designs = [design_of(regular.descriptor, regular.elements, item.atoms) for item in labels]
    symbols = [item.atoms.get_chemical_symbols() for item in labels]
    weights = Weights(energy_weight, stress_weight)
    fits = []
    for row in project:
        targets = [_targets(item, row) for item in labels]
        fits.append(fit_linear(designs, targets, symbols, regular.elements, weights))
    solution = np.array([np.concatenate([fit.constants, fit.coefficients.ravel()]) for fit in fits])
    rows = np.array([np.concatenate([design.counts, design.energy]) for design in designs])
    solution = nearest_nonnegative(solution, rows, np.linalg.inv(triangle))
    change = np.linalg.solve(triangle, solution)
    elements = len(regular.elements)
    coefficients = change[:, elements:].reshape(basis.size, elements, regular.descriptor.features)
    errors = {
        "structures": len(labels),
        "energy_weight": energy_weight,
        "stress_weight": stress_weight,
        "ridges": [fit.ridge for fit in fits],
    }
    return ThermalPotential(regular, basis, coefficients, change[:, :elements].copy(), errors)


def _targets(labels: Labels, row: FloatArray) -> Targets:
    """Returns the projection of labels onto one function of tau_e."""
    forces = None if labels.forces is None else np.tensordot(row, labels.forces, 1)
    virial = None if labels.stress is None else np.tensordot(row, labels.stress, 1) * labels.atoms.get_volume()
    return Targets(float(row @ labels.free_energy), forces, virial)
