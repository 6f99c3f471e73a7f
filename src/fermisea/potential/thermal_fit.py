"""Fit of a potential at every tau_e to changes of F, forces and stress with tau_e, by constrained least squares."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from fermisea import units
from fermisea.data.dataset import Dataset
from fermisea.data.snapshot import Snapshot
from fermisea.descriptors import Descriptor, PowerSpectrum, Products, WithVolume
from fermisea.errors import InputError
from fermisea.physics.window import LOWEST_TEMPERATURE
from fermisea.potential.design import design_of
from fermisea.potential.equations import Targets, Weights
from fermisea.potential.fit import ENERGY_WEIGHT, STRESS_WEIGHT
from fermisea.potential.heat import HeatBasis
from fermisea.potential.least_squares import fit_linear
from fermisea.potential.model import RegularModel
from fermisea.potential.nonnegative import nearest_nonnegative
from fermisea.potential.posterior import Posterior
from fermisea.potential.thermal import ThermalPotential, ThermalTerms
from fermisea.utilities.arrays import FloatArray

_PER_HALVING = 4
"""Number of electronic temperatures of labels within a factor of two."""

_SHARPEST = 0.2
"""Lowest k_B tau_e of labels over the energy resolution of the LDOS; below, the sharpened integration fails."""

_STIFFNESS, _BESIDE_VOLUME = 7.0, 1.0
"""Defaults of ``stiffness`` of :func:`fit_thermal`, of a power spectrum alone and beside powers of the volume.

The change of F with tau_e depends on the mean surroundings more than F itself. With 24 strained structures of
aluminium, errors of left-out structures at 14 and 34 kK fall from 3.3 and 8.1 to 1.7 and 2.8 meV/atom. Powers of the
volume per atom describe this dependence better, and then all degrees are penalised alike.
"""

_FREE = 0.01
"""Factor of the coefficients of powers of the volume in the penalty of the ridge."""

_VALUES = 2**25
"""Largest number of density values of one snapshot that are held at once."""

_ABSOLUTE, _RELATIVE = 1e-3, 1e-3
"""Error of a label, eV/atom, and relative to the change of F, in the weights of the fit."""


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


def label_temperatures(resolution: float, highest: float, lowest: float = 0.0) -> FloatArray:
    """Returns the electronic temperatures of labels, (nT,), K, ascending, with a constant ratio, up to ``highest``.

    Args:
        resolution: energy resolution of the LDOS, eV, which limits the lowest tau_e: the standard deviation of the
            broadening, or the spacing of the energies if it is larger.
        highest: highest tau_e, K.
        lowest: lowest tau_e that is needed, K.

    Raises:
        InputError: for a resolution or a tau_e that is not above zero.
    """
    if not (resolution > 0 and highest > 0):
        raise InputError(
            f"labels: got an energy resolution of {resolution:g} eV and tau_e up to {highest:g} K, expected values "
            "above 0; give the broadening or spacing of the LDOS, and the limit of its window"
        )
    lowest = min(max(_SHARPEST * resolution / units.BOLTZMANN, LOWEST_TEMPERATURE, lowest), highest / 2)
    steps = math.floor(_PER_HALVING * math.log2(highest / lowest))
    return np.asarray(highest * 2.0 ** (np.arange(-steps, 1) / _PER_HALVING))


def highest_label(dataset: Dataset, wanted: float) -> float:
    """Returns the highest tau_e (K), up to ``wanted``, of labels whose error from states above the window is small.

    Small is an estimated error of the tail within the error of a label that the weights of the fit assume. The result
    is 0 if there is no such tau_e above tau_ref.

    Args:
        dataset: snapshots.
        wanted: highest tau_e that is needed, K.
    """
    tau_e = wanted
    while tau_e > dataset.electron_temperature and not all(_well_continued(snapshot, tau_e) for snapshot in dataset):
        tau_e /= 2 ** (1 / (2 * _PER_HALVING))
    return tau_e if tau_e > dataset.electron_temperature else 0.0


def _well_continued(snapshot: Snapshot, electron_temperature: float) -> bool:
    """Returns whether the error of the tail of a snapshot is small at a tau_e, K."""
    dos, electrons, t = snapshot.density_of_states, snapshot.electrons, electron_temperature
    if dos.tail is None:
        return False

    def band_free_energy(t: float) -> float:
        level = dos.fermi_level(electrons, t)
        return dos.band_energy(level, t) - t * dos.entropy(level, t)

    change = band_free_energy(t) - band_free_energy(snapshot.electron_temperature)
    error = dos.tail_error(dos.fermi_level(electrons, t), t)
    return error <= _ABSOLUTE * len(snapshot.atoms) + _RELATIVE * abs(change)


def labels_of(
    dataset: Dataset, electron_temperatures: FloatArray, progress: Callable[[int, int], None] | None = None
) -> list[Labels]:
    """Returns the changes of F from the LDOS of each snapshot, in the second-order form.

    Args:
        dataset: snapshots with total free energies.
        electron_temperatures: tau_e of the labels, (nT,), K.
        progress: callback with the number of snapshots done and the total number of snapshots.

    Raises:
        InputError: for data without total free energies.
        WindowError: for a tau_e above the limit of the energy window of a snapshot.
    """
    found = []
    for index, snapshot in enumerate(dataset):
        wanted = [dataset.electron_temperature, *electron_temperatures]
        step = max(1, _VALUES // snapshot.grid.size)
        parts = [snapshot.free_energy(wanted[start : start + step]) for start in range(0, len(wanted), step)]
        values = np.concatenate(parts)
        found.append(Labels(snapshot.atoms, values[1:] - values[0]))
        if progress is not None:
            progress(index + 1, len(dataset))
    return found


def fit_thermal(
    regular: RegularModel,
    electron_temperatures: FloatArray,
    labels: Sequence[Labels],
    *,
    descriptor: Descriptor | None = None,
    energy_weight: float = ENERGY_WEIGHT,
    stress_weight: float = STRESS_WEIGHT,
    stiffness: float | None = None,
) -> ThermalPotential:
    """Returns the potential whose changes with tau_e fit the labels, by constrained least squares.

    The functions of tau_e are combined so that their values at the tau_e of the labels are orthonormal. The fit then
    separates into one ridge regression for each function, with one cross-validated ridge parameter. If a coefficient of
    C_e / tau_e is negative for a structure of the labels, all coefficients are projected onto the nearest solution
    without negative ones, in the metric of the least squares.

    The provenance holds, at each tau_e of the labels, the root mean square error of the change of F for left-out
    structures, eV/atom, the estimated error of the pressure, and the mean change of F per volume, eV/Angstrom^3.

    Args:
        regular: regular model at tau_ref.
        electron_temperatures: tau_e of the labels, (nT,), K, ascending; the last is the highest tau_e of the potential.
        labels: changes of F, and of forces and stress where they are known.
        descriptor: descriptor of the change with tau_e; None for the descriptor of the regular model.
        energy_weight: weight of energies over sqrt(atoms), 1/Angstrom, relative to a force component.
        stress_weight: the same weight of stress times volume; 0 excludes the stress.
        stiffness: factor of the coefficients in the penalty of the ridge, from each degree of the power spectrum to the
            next, where a product has the sum of both degrees; without effect for a bispectrum. By default 7, or 1
            beside powers of the volume.

    Raises:
        InputError: for fewer than two structures, too few or unsuitable tau_e, or invalid weights.
    """
    if len(labels) < 2:
        raise InputError(f"potential: got labels of {len(labels)} structures, expected at least two")
    descriptor = descriptor or regular.descriptor
    temperatures = np.asarray(electron_temperatures, dtype=np.float64)
    if stiffness is None:
        stiffness = _BESIDE_VOLUME if isinstance(descriptor, WithVolume) else _STIFFNESS
    _check(regular, temperatures, energy_weight, stress_weight, stiffness)
    basis = HeatBasis.between(float(temperatures.min()), float(temperatures.max()))
    if len(temperatures) < basis.size:
        raise InputError(f"potential: got {len(temperatures)} electronic temperatures, expected at least {basis.size}")
    counts = np.array([len(item.atoms) for item in labels])
    energies = np.array([item.free_energy for item in labels])
    scale = 1 / (_ABSOLUTE + _RELATIVE * np.abs(energies / counts[:, None]).mean(0))
    shares = basis.free_energy(temperatures) - basis.free_energy(regular.electron_temperature)
    rotation, triangle = np.linalg.qr(scale[:, None] * shares)
    project = rotation.T * scale  # labels -> coefficients of the orthonormal functions
    designs = [
        design_of(
            descriptor,
            regular.elements,
            item.atoms,
            derivatives=item.forces is not None or item.stress is not None,
        )
        for item in labels
    ]
    symbols = [item.atoms.get_chemical_symbols() for item in labels]
    weights = Weights(energy_weight, stress_weight)
    targets = [[_targets(item, row) for item in labels] for row in project]
    fits, posterior, _ = fit_linear(
        designs, targets, symbols, regular.elements, weights, factors=_factors(descriptor, stiffness)
    )
    solution = np.array([np.concatenate([fit.constants, fit.coefficients.ravel()]) for fit in fits])
    rows = np.array([np.concatenate([design.counts, design.energy]) for design in designs])
    combination = np.linalg.inv(triangle)
    change = combination @ nearest_nonnegative(solution, rows, combination)
    elements = len(regular.elements)
    left_out = np.array([fit.left_out_energy_error for fit in fits], dtype=np.float64)
    provenance: dict[str, Any] = {
        "structures": len(labels),
        "energy_weight": energy_weight,
        "stress_weight": stress_weight,
        "ridge": fits[0].ridge,
        "electron_temperatures": temperatures.tolist(),
        "left_out_errors": np.sqrt(np.square(rotation / scale[:, None]) @ np.square(left_out)).tolist(),
    }
    factor, noise = (combination @ part @ combination.T for part in (posterior.factor, posterior.noise))
    terms = ThermalTerms(
        descriptor,
        basis,
        change[:, elements:].reshape(basis.size, elements, descriptor.features),
        change[:, :elements].copy(),
        provenance,
        Posterior(posterior.covariance, factor, noise),
    )
    potential = ThermalPotential(regular, terms)
    deviations = [potential.pressure_std(item.atoms, temperatures) for item in labels]
    provenance["pressure_errors"] = np.sqrt(np.mean(np.square(deviations), axis=0)).tolist()
    volumes = np.array([item.atoms.get_volume() for item in labels])
    provenance["changes_per_volume"] = np.mean(np.abs(energies) / volumes[:, None], axis=0).tolist()
    return potential


def _factors(descriptor: Descriptor, stiffness: float) -> FloatArray | None:
    """Returns the factor of the coefficient of each feature in the penalty, (features,); None for equal ones."""
    if isinstance(descriptor, WithVolume):
        rest = np.power(stiffness, descriptor.spectrum.degrees(), dtype=np.float64)
        return np.concatenate([np.full(descriptor.degree, _FREE), rest])
    if isinstance(descriptor, PowerSpectrum | Products):
        return np.power(stiffness, descriptor.degrees(), dtype=np.float64)
    return None


def _check(
    regular: RegularModel, temperatures: FloatArray, energy_weight: float, stress_weight: float, stiffness: float
) -> None:
    for name, value, lowest in (
        ("energy_weight", energy_weight, 1e-9),
        ("stress_weight", stress_weight, 0.0),
        ("stiffness", stiffness, 1e-3),
    ):
        if not (math.isfinite(value) and value >= lowest):
            raise InputError(f"{name}: got {value}, expected a finite number of at least {lowest:g}")
    ascending = temperatures.ndim == 1 and temperatures.size and (np.diff(temperatures) > 0).all()
    if not (ascending and temperatures[0] > 0 and temperatures[-1] > regular.electron_temperature):
        raise InputError(
            f"potential: got the electronic temperatures {temperatures.tolist()}, expected ascending ones that end "
            f"above tau_ref = {regular.electron_temperature:g} K"
        )


def _targets(labels: Labels, row: FloatArray) -> Targets:
    """Returns the projection of labels onto one function of tau_e."""
    forces = None if labels.forces is None else np.tensordot(row, labels.forces, 1)
    virial = None if labels.stress is None else np.tensordot(row, labels.stress, 1) * labels.atoms.get_volume()
    return Targets(float(row @ labels.free_energy), forces, virial)
