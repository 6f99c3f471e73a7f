"""Symmetries of a prediction, checked for random structures, electronic temperatures and symmetry operations.

On grid points that map onto each other, a symmetry holds up to rounding: the tolerance comes from the type of the
network. A translation by anything but a grid vector holds up to the error of the grid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

import fermisea
from fermisea.prediction.origin import FreeEnergy
from fermisea.prediction.plausibility import domain_warnings_ignored
from test_prediction import random_model

SHAPE = (6, 6, 6)
FINE = (10, 10, 10)
SOLVER = 1e-10
"""Relative tolerance of what is found by iteration, above all the Fermi level."""

ROUNDINGS = 16
"""Allowed relative difference, in units of the rounding error of the network."""

SMALLEST = {"entropy": 1e-2, "heat_capacity": 1e-2, "forces": 1.0, "stress": 0.05}
"""Smallest scale of relative errors, where terms cancel: eV/K (1 eV at 100 K), eV/K, eV/Angstrom, eV/Angstrom^3."""

GRID_ERRORS = {"free_energy": 2e-2, "fermi_level": 5e-3, "entropy": 2e-6, "heat_capacity": 2e-6, "forces": 0.2}
"""Largest effect of the grid ``FINE`` on a cell of four atoms: eV, eV, eV/K, eV/K, eV/Angstrom."""

MODELS = ("float64", "float32", "aluminium")

ORIGINS: Mapping[str, FreeEnergy] = {"aluminium": "anchored"}
"""Origins of F that are not the default: F of the shipped model is to depend on its networks and its potential."""

Values = Mapping[str, np.ndarray]


@cache
def model_of(name: str) -> fermisea.Model:
    """A model with random weights of a type, or the shipped one."""
    return fermisea.load_model(name) if name == "aluminium" else random_model(name)


@st.composite
def structures(draw: Any) -> Atoms:
    """Four displaced aluminium atoms in a strained cell."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    atoms = bulk("Al", "fcc", a=draw(st.floats(3.9, 4.3)), cubic=True)
    atoms.set_cell(
        atoms.cell.array @ (np.eye(3) + draw(st.floats(0, 0.03)) * rng.normal(size=(3, 3))), scale_atoms=True
    )
    atoms.positions += draw(st.floats(0, 0.12)) * rng.normal(size=(4, 3))
    return atoms


temperatures = st.lists(st.floats(100.0, 8000.0), min_size=1, max_size=3, unique=True)
numbers = st.integers(0, 2**32 - 1)


def observables(name: str, atoms: Atoms, tau_e: list[float], shape: tuple[int, int, int]) -> dict[str, np.ndarray]:
    """Everything that is predicted at the electronic temperatures."""
    with domain_warnings_ignored():  # coarse grids and strained cells leave the domain
        prediction = model_of(name).predict(atoms, tau_e, shape, forces=True, free_energy=ORIGINS.get(name))
    names = ("free_energy", "fermi_level", "entropy", "heat_capacity", "electrons", "density", "forces", "stress")
    return {key: np.array(getattr(prediction, key)) for key in names}


def compare(name: str, got: Values, expected: Values) -> None:
    """Fails unless two sets of observables are equal up to rounding."""
    eps = np.finfo(np.float64 if name == "float64" else np.float32).eps
    for key, value in expected.items():
        allowed = (SOLVER + ROUNDINGS * eps) * max(np.abs(value).max(), SMALLEST.get(key, 0.0))
        error = np.abs(got[key] - value).max()
        assert error <= allowed, f"{key}: differs by {error:.3g}, expected at most {allowed:.3g}"


def supercell(name: str, atoms: Atoms, tau_e: list[float], seed: int) -> None:
    """A supercell has the same intensive observables, a multiple of the extensive ones, and a periodic density."""
    times = [(2, 1, 1), (1, 2, 1), (1, 1, 3), (2, 2, 1)][seed % 4]
    count, shape = int(np.prod(times)), tuple(np.multiply(SHAPE, times).tolist())
    one, many = observables(name, atoms, tau_e, SHAPE), observables(name, atoms.repeat(times), tau_e, shape)
    for key in ("free_energy", "entropy", "heat_capacity", "electrons"):
        many[key] = many[key] / count
    compare(
        name,
        many,
        one | {"density": np.tile(one["density"], (1, *times)), "forces": np.tile(one["forces"], (1, count, 1))},
    )


def permutation(name: str, atoms: Atoms, tau_e: list[float], seed: int) -> None:
    """The order of the atoms orders the forces and nothing else."""
    order = np.random.default_rng(seed).permutation(len(atoms))
    one, other = observables(name, atoms, tau_e, SHAPE), observables(name, atoms[order], tau_e, SHAPE)
    compare(name, other, one | {"forces": one["forces"][:, order]})


def rotation(name: str, atoms: Atoms, tau_e: list[float], seed: int) -> None:
    """A rigid rotation or reflection of cell and atoms rotates forces and stress."""
    turn = Rotation.random(rng=seed).as_matrix() * (-1) ** (seed % 2)
    turned = Atoms(atoms.numbers, positions=atoms.positions @ turn.T, cell=atoms.cell.array @ turn.T, pbc=True)
    one, other = observables(name, atoms, tau_e, SHAPE), observables(name, turned, tau_e, SHAPE)
    compare(name, other, one | {"forces": one["forces"] @ turn.T, "stress": turn @ one["stress"] @ turn.T})


def grid_translation(name: str, atoms: Atoms, tau_e: list[float], seed: int) -> None:
    """Atoms moved by a vector of the grid, each to another periodic image, move the density on the grid."""
    rng = np.random.default_rng(seed)
    steps, images = rng.integers(0, SHAPE), rng.integers(-2, 3, size=(len(atoms), 3))
    moved = atoms.copy()
    moved.positions += (steps / SHAPE + images) @ atoms.cell.array
    one, other = observables(name, atoms, tau_e, SHAPE), observables(name, moved, tau_e, SHAPE)
    compare(name, other, one | {"density": np.roll(one["density"], steps, axis=(1, 2, 3))})


def translation(name: str, atoms: Atoms, tau_e: list[float], seed: int) -> None:
    """Atoms moved by any vector have the same observables up to the error of the grid, and the same electrons."""
    moved = atoms.copy()
    moved.positions += np.random.default_rng(seed).uniform(-3, 3, size=3)
    one, other = observables(name, atoms, tau_e, FINE), observables(name, moved, tau_e, FINE)
    for key, allowed in GRID_ERRORS.items():
        error = np.abs(one[key] - other[key]).max()
        assert error <= allowed, f"{key}: differs by {error:.3g}, expected at most {allowed:.3g}"
    compare(name, {"electrons": other["electrons"]}, {"electrons": one["electrons"]})


def temperature_order(name: str, atoms: Atoms, tau_e: list[float], seed: int) -> None:
    """Each electronic temperature gives the same observables alone and among others."""
    together, index = observables(name, atoms, tau_e, SHAPE), seed % len(tau_e)
    alone = observables(name, atoms, [tau_e[index]], SHAPE)
    compare(name, alone, {key: value[index : index + 1] for key, value in together.items()})


Check = Callable[[str, Atoms, list[float], int], None]
CHECKS: tuple[Check, ...] = (supercell, permutation, rotation, grid_translation, translation, temperature_order)


def run(check: Check, name: str, examples: int, *, repeatable: bool) -> None:
    """Runs a check for a number of random examples.

    Args:
        check: one of ``CHECKS``.
        name: one of ``MODELS``.
        examples: number of examples.
        repeatable: whether the examples are the same in every run.
    """

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=repeatable,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(structures(), temperatures, numbers)
    def every(atoms: Atoms, tau_e: list[float], seed: int) -> None:
        check(name, atoms, tau_e, seed)

    every()
