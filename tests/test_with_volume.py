"""Powers of the volume per atom beside a power spectrum: values, derivatives, and potentials of hot electrons."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from fermisea import descriptors
from fermisea.descriptors import PowerSpectrum, WithVolume
from fermisea.descriptors.sites import Sites
from fermisea.errors import InputError
from fermisea.grid import RealSpaceGrid
from fermisea.potential import Labels, RegularModel, fit_thermal, label_temperatures
from fermisea.training import TrainingConfig

SPECTRUM = PowerSpectrum(2, 4.5, {"Al": 1.0, "Mg": 0.9})
HIGHEST = 30_000.0


def alloy(seed: int, scale: float = 1.0) -> Atoms:
    """Four atoms of two elements in a triclinic, left-handed cell."""
    atoms = bulk("Al", "fcc", a=4.05 * scale, cubic=True)
    atoms.symbols[1] = "Mg"
    atoms.rattle(0.1, seed=seed)
    strain = np.eye(3) + np.random.default_rng(seed).normal(scale=0.03, size=(3, 3))
    atoms.set_cell((atoms.cell.array @ strain)[[1, 0, 2]], scale_atoms=False)
    return atoms


@pytest.fixture(scope="module")
def descriptor() -> WithVolume:
    return WithVolume.of(SPECTRUM, 3, [alloy(seed) for seed in range(4)])


def test_values_are_powers_of_the_logarithm_before_the_components(descriptor):
    atoms = alloy(9, 1.05)
    x = math.log(atoms.get_volume() / 4 / descriptor.volume_per_atom)
    values = Sites(descriptor, atoms).values()
    assert values[:, :3] == pytest.approx(np.tile([x, x**2, x**3], (4, 1)), rel=1e-12)
    assert np.array_equal(values[:, 3:], Sites(SPECTRUM, atoms).values())
    doubled = Sites(descriptor, atoms * (2, 1, 1)).values()
    assert doubled == pytest.approx(np.tile(values, (2, 1)), rel=1e-9)
    mean = np.mean([math.log(alloy(seed).get_volume() / 4) for seed in range(4)])
    assert math.log(descriptor.volume_per_atom) == pytest.approx(mean)


def test_derivatives_agree_with_differences(descriptor):
    atoms, step = alloy(9, 1.05), 1e-5
    cotangents = np.random.default_rng(0).normal(size=(4, descriptor.features))
    positions, strain = Sites(descriptor, atoms).vjp(cotangents)

    def total(moved: Atoms) -> float:
        return float(np.sum(Sites(descriptor, moved).values() * cotangents))

    for atom, axis in ((0, 0), (1, 2)):
        ends = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * step
            ends.append(total(moved))
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(positions[atom, axis], rel=1e-6, abs=1e-6)
    for row, column in ((0, 0), (1, 2), (2, 2)):
        change = np.zeros((3, 3))
        change[row, column] += step / 2
        change[column, row] += step / 2
        ends = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.set_cell(atoms.cell.array @ (np.eye(3) + sign * change), scale_atoms=True)
            ends.append(total(moved))
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(strain[row, column], rel=1e-6, abs=1e-6)


def test_grids_agree_with_points(descriptor):
    atoms, shape = alloy(9), (3, 4, 2)
    grid = RealSpaceGrid(atoms.cell.array, shape)
    fractions = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).reshape(-1, 3) / shape
    points = fractions @ atoms.cell.array
    whole = descriptor.compute(atoms, shape).reshape(-1, descriptor.features)
    assert whole == pytest.approx(descriptor.compute_points(atoms, points), rel=1e-9)
    cotangents = np.random.default_rng(1).normal(size=(24, descriptor.features))
    evaluator = descriptor.evaluator(atoms)
    on_grid, cell = evaluator.box_vjp(grid, (0, 0, 0), shape, cotangents)
    found = evaluator.points_vjp(points, cotangents)
    assert on_grid == pytest.approx(found.positions, abs=1e-9)
    assert cell == pytest.approx(found.cell + (fractions.T @ found.points), abs=1e-8)  # points of a grid move
    with pytest.raises(InputError, match=r"cotangents: got an array \(24, 2\)"):
        evaluator.points_vjp(points, cotangents[:, :2])


def test_definition_survives_json(descriptor):
    again = descriptors.from_dict(json.loads(json.dumps(descriptor.to_dict())))
    assert again == descriptor
    assert np.array_equal(Sites(again, alloy(3)).values(), Sites(descriptor, alloy(3)).values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"degree": 0}, "degree: got 0"),
        ({"degree": True}, "degree: got True"),
        ({"volume_per_atom": -1.0}, "volume_per_atom: got -1"),
        ({"spectrum": {"kind": "bispectrum"}}, "expected a power spectrum"),
    ],
)
def test_bad_definitions_are_refused(descriptor, changes, message):
    with pytest.raises(InputError, match=message):
        descriptors.from_dict(descriptor.to_dict() | changes)


def free_electrons(atoms: Atoms, temperatures) -> np.ndarray:
    """F(tau_e) - F(1000 K) like -gamma tau_e^2 / 2, where gamma grows with the volume as v^(2/3), eV."""
    volume = atoms.get_volume() / len(atoms)
    return -len(atoms) * 2e-9 * volume ** (2 / 3) * (np.square(temperatures) - 1e6)


def test_free_electrons_have_a_pressure_and_no_forces():
    structures = [alloy(seed, scale) for seed, scale in enumerate(np.linspace(0.93, 1.07, 16))]
    temperatures = label_temperatures(0.2, HIGHEST)
    regular = RegularModel(SPECTRUM, np.zeros((2, SPECTRUM.features)), np.zeros(2), ("Al", "Mg"), 1000.0)
    labels = [Labels(atoms, free_electrons(atoms, temperatures)) for atoms in structures]
    with_volume = fit_thermal(regular, temperatures, labels, descriptor=WithVolume.of(SPECTRUM, 2, structures))
    without = fit_thermal(regular, temperatures, labels)
    atoms, asked = alloy(50, 1.01), [5000.0, 20_000.0]
    found = with_volume.predict(atoms, asked)
    change = free_electrons(atoms, np.array(asked))
    np.testing.assert_allclose(found.free_energy, change, rtol=2e-3)
    pressure = -np.trace(found.stress, axis1=1, axis2=2) / 3
    np.testing.assert_allclose(pressure, -2 / 3 * change / atoms.get_volume(), rtol=0.05)
    assert np.abs(found.forces).max() < 0.1 * np.abs(without.predict(atoms, asked).forces).max()


def test_one_volume_gives_no_pressure():
    structures = []
    for seed in range(16):
        atoms = alloy(seed)
        atoms.set_cell(atoms.cell.array * (66.0 / atoms.get_volume()) ** (1 / 3), scale_atoms=True)
        structures.append(atoms)
    random, temperatures = np.random.default_rng(0), label_temperatures(0.2, HIGHEST)
    regular = RegularModel(SPECTRUM, np.zeros((2, SPECTRUM.features)), np.zeros(2), ("Al", "Mg"), 1000.0)
    labels = [Labels(a, free_electrons(a, temperatures) * random.normal(1.0, 0.01)) for a in structures]
    found = fit_thermal(regular, temperatures, labels, descriptor=WithVolume.of(SPECTRUM, 2, structures))
    assert not found.terms.has_pressure


def test_the_configuration_makes_the_descriptor():
    structures = [alloy(seed) for seed in range(3)]
    config = TrainingConfig(potential_volume=2, anchor_order=4, anchor_cutoff=5.0)
    made = config.make_potential_descriptor(structures)
    assert isinstance(made, WithVolume)
    assert (made.degree, made.spectrum.order, made.cutoff) == (2, 4, 5.0)
    assert TrainingConfig().make_potential_descriptor(structures) is None
    with pytest.raises(InputError, match="potential_volume: got -1"):
        TrainingConfig(potential_volume=-1)
    with pytest.raises(InputError, match="potential_volume: got 5, expected at most 4"):
        TrainingConfig(potential_volume=5)
