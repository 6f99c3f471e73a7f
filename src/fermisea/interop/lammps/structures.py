"""Structures for the fit of an exported potential: structures of the model, and variants of them within its domain."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import ase.units
import numpy as np
from ase import Atoms
from ase.md.langevin import Langevin

from fermisea.model.blended_potential import BlendedPotential
from fermisea.model.model import Model
from fermisea.model.potential import ModelPotential
from fermisea.potential.calculator import PotentialCalculator
from fermisea.prediction.plausibility import domain_warnings_ignored
from fermisea.utilities.arrays import FloatArray

Potential = ModelPotential | BlendedPotential
"""A potential of a model, with checks of its domain."""

Progress = Callable[[str, int, int], None]
"""Callback with the name of the present work, the number of parts done and their total number."""

_DISPLACEMENTS = (0.05, 0.1, 0.15, 0.2)
"""Standard deviations of random displacements, Angstrom."""

_STRAIN = 0.035
"""Largest strain of each component; the benchmark strains structures by 0.03."""

_SMALLEST = 16
"""Number of atoms below which a structure is repeated for molecular dynamics."""

_TRAJECTORIES, _ION_TEMPERATURES = 6, (300.0, 900.0, 2000.0)
"""Number of trajectories of molecular dynamics, and their ionic temperatures, K."""

_STEPS, _STEP, _SNAPSHOTS = 40, 3.0, 2
"""Number of time steps before each snapshot, their length in fs, and the number of snapshots of a trajectory."""


@dataclass(frozen=True)
class Example:
    """A structure with the results of the potential of the model at several tau_e.

    Attributes:
        atoms: the structure.
        free_energy: F, (nT,), eV.
        forces: (nT, atoms, 3), eV/Angstrom.
        stress: (nT, 3, 3), eV/Angstrom^3.
    """

    atoms: Atoms
    free_energy: FloatArray
    forces: FloatArray
    stress: FloatArray


def structures_of(model: Model) -> list[Atoms]:
    """Returns the different structures of the data of a model, over all tau_ref."""
    found: dict[bytes, Atoms] = {}
    for atoms in (atoms for part in model.parts for atoms in part.structures):
        key = atoms.cell.array.tobytes() + atoms.positions.tobytes() + atoms.numbers.tobytes()
        found.setdefault(key, atoms)
    return list(found.values())


def variants(atoms: Atoms, number: int, random: np.random.Generator) -> Iterator[Atoms]:
    """Yields the structure, and others that are displaced, strained isotropically or sheared, and displaced.

    Every second variant of a small cell is repeated first, so that its atoms do not move with their images.

    Args:
        atoms: a periodic structure.
        number: number of structures.
        random: random numbers.
    """
    yield _moved(atoms, np.zeros((3, 3)), 0.0, random)
    for index in range(number - 1):
        displacement = _DISPLACEMENTS[index % len(_DISPLACEMENTS)]
        repeat = 2 if len(atoms) < _SMALLEST and index % 2 == 0 else 1
        strain = random.uniform(-_STRAIN, _STRAIN, (3, 3))
        kinds = (np.zeros((3, 3)), strain[0, 0] * np.eye(3), (strain + strain.T) / 2)
        kind = index // len(_DISPLACEMENTS) % len(kinds)
        yield _moved(atoms.repeat(repeat), kinds[kind], displacement, random)


def _moved(atoms: Atoms, strain: FloatArray, displacement: float, random: np.random.Generator) -> Atoms:
    other = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=True)
    other.set_cell(other.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    other.positions += displacement * random.standard_normal(other.positions.shape)
    return other


def trajectories(
    structures: Sequence[Atoms], potential: Potential, seed: int, progress: Progress | None = None
) -> Iterator[Atoms]:
    """Yields snapshots of short molecular dynamics with the potential at its lowest tau_ref.

    Args:
        structures: initial structures, from which a few are chosen.
        potential: potential of the model.
        seed: random seed of velocities and random forces.
        progress: callback.
    """
    lowest = potential.parts[0] if isinstance(potential, BlendedPotential) else potential
    chosen = np.unique(np.linspace(0, len(structures) - 1, _TRAJECTORIES).round().astype(int))
    temperatures = itertools.cycle(_ION_TEMPERATURES)
    for done, (index, temperature) in enumerate(zip(chosen, temperatures, strict=False)):
        start = structures[index]
        repeat = 2 if len(start) < _SMALLEST else 1
        moving = Atoms(start.symbols, positions=start.positions, cell=start.cell, pbc=True).repeat(repeat)
        random = np.random.default_rng([seed, int(index)])
        speed = np.sqrt(ase.units.kB * temperature / moving.get_masses())[:, None]
        moving.set_momenta(moving.get_masses()[:, None] * speed * random.standard_normal((len(moving), 3)))
        moving.calc = PotentialCalculator(lowest.thermal.regular)
        friction = 0.01 / ase.units.fs
        step, bath = _STEP * ase.units.fs, {"temperature_K": temperature, "friction": friction}
        dynamics = Langevin(moving, step, **bath, fixcm=False, rng=random)
        for _ in range(_SNAPSHOTS):
            dynamics.run(_STEPS)
            yield Atoms(moving.symbols, positions=moving.positions, cell=moving.cell, pbc=True)
        if progress is not None:
            progress("molecular dynamics", done + 1, len(chosen))


def example_of(potential: Potential, atoms: Atoms, electron_temperatures: Sequence[float]) -> Example | None:
    """Returns the results of the potential for a structure; None if the structure leaves the domain of the model.

    Args:
        potential: potential of the model.
        atoms: the structure.
        electron_temperatures: tau_e, (nT,), K.

    Raises:
        InputError: for a structure with other elements, or without a periodic cell.
    """
    with domain_warnings_ignored():
        found = potential.predict(atoms, list(electron_temperatures), allow_outside=True)
    if found.warnings:
        return None
    return Example(atoms, np.asarray(found.free_energy), found.forces, found.stress)
