"""The linear regular model from DFT free energies, forces and stress, by least squares."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from fermisea.data.dataset import Dataset
from fermisea.data.snapshot import Snapshot
from fermisea.descriptors import Descriptor
from fermisea.errors import InputError
from fermisea.potential.design import design_of
from fermisea.potential.equations import Targets, Weights
from fermisea.potential.least_squares import fit_linear
from fermisea.potential.model import RegularModel

ENERGY_WEIGHT, STRESS_WEIGHT = 30.0, 1.0
"""Weights of an error of 1 eV / sqrt(atoms) in free energy and in stress times volume, relative to 1 eV/Angstrom in a
force."""


def fit_regular(
    dataset: Dataset,
    descriptor: Descriptor,
    *,
    energy_weight: float = ENERGY_WEIGHT,
    stress_weight: float = STRESS_WEIGHT,
    force_scale: float | None = None,
    ridge: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> RegularModel:
    """Returns the linear model from a weighted least-squares fit to free energies, forces and stress.

    Columns are scaled to equal variance over the atoms. The ridge parameter is chosen by cross-validation: each fold
    leaves out a twentieth of the structures, at least one.

    At a fixed cutoff the stress of a plane-wave code is not the derivative of its free energies: the difference is the
    Pulay stress (P. G. Dacosta, O. H. Nielsen, K. Kunc, J. Phys. C 19, 3163 (1986)). It is fitted as a constant virial
    per atom, eV, and is not part of the stress of the model: ``provenance["pulay_virial_per_atom"]``.

    The errors of F of each structure while it is left out of the fit, and their estimated standard deviations, eV/atom,
    are in ``provenance["left_out_free_energies"]``, in the order of the data.

    Args:
        dataset: snapshots with free energies of the DFT code at one tau_e; forces and stress are used where available.
        descriptor: descriptor of the surroundings of an atom.
        energy_weight: weight of free energies over sqrt(atoms), 1/eV, relative to 1 Angstrom/eV for a force component.
        stress_weight: the same weight of stress times volume; 0 excludes the stress.
        force_scale: root mean square of the forces of a structure, eV/Angstrom, at which its squared errors have half
            of the weight: their variance is taken as proportional to 1 + (root mean square / scale)^2. Structures
            without forces have the whole weight. The errors of the cross-validation have equal weights. None gives all
            structures the same weight.
        ridge: ridge parameter relative to the mean diagonal of the normal equations; by default chosen by
            cross-validation.
        progress: callback with the number of structures done and the total number of structures.

    Raises:
        InputError: for data without total free energies, fewer than two structures, or invalid settings.
    """
    for name, value, lowest in (("energy_weight", energy_weight, 1e-9), ("stress_weight", stress_weight, 0.0)):
        if not (math.isfinite(value) and value >= lowest):
            raise InputError(f"{name}: got {value}, expected a finite number of at least {lowest:g}")
    for name, given in (("force_scale", force_scale), ("ridge", ridge)):
        if given is not None and not (math.isfinite(given) and given > 0):
            raise InputError(f"{name}: got {given}, expected a finite number above 0")
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
    symbols = [snapshot.atoms.get_chemical_symbols() for snapshot in dataset]
    targets = [_targets(snapshot, force_scale) for snapshot in dataset]
    (fit,), common, left_out = fit_linear(
        designs, [targets], symbols, elements, Weights(energy_weight, stress_weight), ridge
    )
    posterior = replace(common, factor=common.factor[0, 0], noise=common.noise[0, 0])
    deviations = posterior.deviation(left_out.spreads, [len(snapshot.atoms) for snapshot in dataset])
    judged = {
        "left_out_free_energy_error": fit.left_out_energy_error,
        "left_out_force_error": fit.left_out_force_error,
    }
    return RegularModel(
        descriptor,
        fit.coefficients,
        fit.constants,
        elements,
        dataset.electron_temperature,
        {
            "structures": len(dataset),
            "energy_weight": energy_weight,
            "stress_weight": stress_weight,
            "force_scale": force_scale,
            "ridge": fit.ridge,
            "pulay_virial_per_atom": fit.virial,
            "left_out_spreads": left_out.spreads.tolist(),
            "left_out_free_energies": {"errors": left_out.errors[:, 0].tolist(), "stds": deviations.tolist()},
            **(judged if ridge is None else {}),
        },
        posterior=posterior,
    )


def _targets(snapshot: Snapshot, force_scale: float | None) -> Targets:
    """Returns F, forces and virial of the DFT code, and the weight of the structure."""
    reference = snapshot.reference
    forces = None if reference.forces is None else np.asarray(reference.forces, dtype=np.float64)
    stress = None if reference.stress is None else np.asarray(reference.stress, dtype=np.float64)
    virial = None if stress is None else stress * snapshot.grid.volume
    weight = 1.0
    if forces is not None and force_scale is not None:
        weight = 1 / math.sqrt(1 + float(np.square(forces).mean()) / force_scale**2)
    return Targets(reference.free_energy, forces, virial, weight)
