"""The linear regular model from DFT free energies, forces and stress, by least squares."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fermisea.data.dataset import Dataset
from fermisea.data.snapshot import Snapshot
from fermisea.descriptors import Descriptor
from fermisea.errors import InputError
from fermisea.potential.design import Design, design_of
from fermisea.potential.model import RegularModel
from fermisea.utilities.arrays import FloatArray

ENERGY_WEIGHT, STRESS_WEIGHT = 30.0, 1.0
"""Weights of an error of 1 eV / sqrt(atoms) in free energy and in stress times volume, relative to 1 eV/Angstrom in a
force. The stress of a plane-wave code is not the derivative of its energies at fixed cutoff, and has a small weight."""

_RIDGES = np.logspace(-12, -2, 21)
_FOLDS = 20


def fit_regular(
    dataset: Dataset,
    descriptor: Descriptor,
    *,
    energy_weight: float = ENERGY_WEIGHT,
    stress_weight: float = STRESS_WEIGHT,
    ridge: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> RegularModel:
    """Returns the linear model from a weighted least-squares fit to free energies, forces and stress.

    Columns are scaled to equal variance over the atoms. The ridge parameter is chosen by cross-validation: each fold
    leaves out a twentieth of the structures, at least one.

    Args:
        dataset: snapshots with free energies of the DFT code at one tau_e; forces and stress are used where available.
        descriptor: descriptor of the surroundings of an atom.
        energy_weight: weight of free energies over sqrt(atoms), 1/eV, relative to 1 Angstrom/eV for a force component.
        stress_weight: the same weight of stress times volume; 0 excludes the stress.
        ridge: ridge parameter relative to the mean diagonal of the normal equations; by default chosen by
            cross-validation.
        progress: callback with the number of structures done and the total number of structures.

    Raises:
        InputError: for data without total free energies, fewer than two structures, or invalid weights.
    """
    for name, value, lowest in (("energy_weight", energy_weight, 1e-9), ("stress_weight", stress_weight, 0.0)):
        if not (math.isfinite(value) and value >= lowest):
            raise InputError(f"{name}: got {value}, expected a finite number of at least {lowest:g}")
    if ridge is not None and not (math.isfinite(ridge) and ridge > 0):
        raise InputError(f"ridge: got {ridge}, expected a finite number above 0")
    if len(dataset) < 2:
        raise InputError("regular model: got one structure, expected at least two with free energies")
    obstacle = dataset[0].total_energy_obstacle
    if obstacle is not None:
        raise InputError(f"regular model: the data have no total free energy ({obstacle})")
    elements = tuple(sorted({symbol for snapshot in dataset for symbol in snapshot.atoms.symbols}))
    designs = []
    for index, snapshot in enumerate(dataset):
        designs.append(design_of(descriptor, elements, snapshot.atoms))
        if progress is not None:
            progress(index + 1, len(dataset))
    counts = np.array([design.counts for design in designs])
    energies = np.array([snapshot.reference.free_energy for snapshot in dataset])
    constants = np.linalg.lstsq(counts, energies, rcond=None)[0]
    centre, scale = _scales(designs, dataset, elements)
    weights = (energy_weight, stress_weight)
    blocks = [
        _block(design, snapshot, constants, centre, scale, weights)
        for design, snapshot in zip(designs, dataset, strict=True)
    ]
    chosen, judged = (ridge, {}) if ridge is not None else _choose(blocks, len(elements))
    solution = _solve(*_total(blocks), chosen, len(elements))
    features = descriptor.features
    coefficients = (solution[len(elements) :] / scale).reshape(len(elements), features)
    shifts = solution[: len(elements)] - (coefficients * centre.reshape(len(elements), features)).sum(1)
    return RegularModel(
        descriptor,
        coefficients,
        constants + shifts,
        elements,
        dataset.electron_temperature,
        {
            "structures": len(dataset),
            "energy_weight": energy_weight,
            "stress_weight": stress_weight,
            "ridge": float(chosen),
            **judged,
        },
    )


@dataclass(frozen=True)
class _Block:
    """Normal equations of one structure, with its errors; the first columns are counts of elements."""

    normal: FloatArray
    right: FloatArray
    energy: FloatArray
    energy_value: float
    forces: FloatArray
    force_values: FloatArray
    atoms: int

    def errors(self, solution: FloatArray) -> tuple[float, float, int]:
        """Returns the error of F, eV/atom, the sum of squared force errors, and the number of force components."""
        forces = self.forces @ solution - self.force_values
        return (float(self.energy @ solution) - self.energy_value) / self.atoms, float(forces @ forces), len(forces)


def _total(blocks: Sequence[_Block]) -> tuple[FloatArray, FloatArray]:
    """Returns the sums of matrices and right-hand sides."""
    return np.sum([block.normal for block in blocks], axis=0), np.sum([block.right for block in blocks], axis=0)


def _block(
    design: Design,
    snapshot: Snapshot,
    constants: FloatArray,
    centre: FloatArray,
    scale: FloatArray,
    weights: tuple[float, float],
) -> _Block:
    energy_weight, stress_weight = weights
    reference, elements, atoms = snapshot.reference, len(design.counts), len(snapshot.atoms)
    by_column = np.repeat(design.counts, len(centre) // elements)
    energy = np.concatenate([design.counts, (design.energy - by_column * centre) / scale])
    value = reference.free_energy - float(design.counts @ constants)

    def rows(values: FloatArray) -> FloatArray:
        flat = values.reshape(-1, values.shape[-1]) / scale
        return np.hstack([np.zeros((len(flat), elements)), flat])

    forces, force_values = np.zeros((0, len(energy))), np.zeros(0)
    if reference.forces is not None:
        forces, force_values = rows(design.forces), np.asarray(reference.forces, dtype=np.float64).ravel()
    parts = [(energy[None] * energy_weight / math.sqrt(atoms), np.array([value]) * energy_weight / math.sqrt(atoms))]
    parts.append((forces, force_values))
    if reference.stress is not None and stress_weight > 0:
        factor = stress_weight / math.sqrt(atoms)
        virial = np.asarray(reference.stress, dtype=np.float64) * snapshot.grid.volume
        parts.append((rows(design.strain) * factor, virial.ravel() * factor))
    matrix, right = (np.concatenate(items) for items in zip(*parts, strict=True))
    return _Block(matrix.T @ matrix, matrix.T @ right, energy, value, forces, force_values, atoms)


def _scales(designs: Sequence[Design], dataset: Dataset, elements: Sequence[str]) -> tuple[FloatArray, FloatArray]:
    """Returns mean and standard deviation of each column over the atoms of its element, (columns,)."""
    centres, scales = [], []
    for element in elements:
        rows = [
            d.sites[np.array(s.atoms.get_chemical_symbols()) == element] for d, s in zip(designs, dataset, strict=True)
        ]
        values = np.concatenate(rows)
        centres.append(values.mean(0))
        scales.append(values.std(0))
    scale = np.concatenate(scales)
    return np.concatenate(centres), np.where(scale > 1e-12 * max(scale.max(), 1e-300), scale, 1.0)


def _solve(normal: FloatArray, right: FloatArray, ridge: float, elements: int) -> FloatArray:
    """Returns the solution; the ridge of the element constants is negligibly small."""
    penalty = np.full(len(right), ridge * normal.trace() / len(right))
    penalty[:elements] *= 1e-6
    return np.asarray(np.linalg.solve(normal + np.diag(penalty), right))


def _choose(blocks: Sequence[_Block], elements: int) -> tuple[float, dict[str, Any]]:
    """Returns the ridge with the smallest cross-validation errors, and these errors."""
    normal, right = _total(blocks)
    folds = [blocks[number::_FOLDS] for number in range(min(_FOLDS, len(blocks)))]
    tried = []
    for ridge in _RIDGES:
        energies, squares, count = [], 0.0, 0
        for fold in folds:
            left_normal, left_right = _total(fold)
            rest = _solve(normal - left_normal, right - left_right, ridge, elements)
            for block in fold:
                energy, force, number = block.errors(rest)
                energies.append(energy)
                squares, count = squares + force, count + number
        energy_error, force_error = float(np.sqrt(np.mean(np.square(energies)))), math.sqrt(squares / max(count, 1))
        tried.append((energy_error, force_error, float(ridge)))
    least_energy, least_force = min(t[0] for t in tried), min(t[1] for t in tried)
    energy_error, force_error, ridge = min(
        tried, key=lambda t: t[0] / max(least_energy, 1e-12) + t[1] / max(least_force, 1e-12)
    )
    return ridge, {"left_out_free_energy_error": energy_error, "left_out_force_error": force_error if count else None}
