"""The local outlier factor: a structure between two phases of the training data resembles neither."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111

from fermisea.descriptors import PowerSpectrum
from fermisea.prediction.outliers import ENOUGH, Outliers
from fermisea.prediction.surroundings import Surroundings

DESCRIPTOR = PowerSpectrum(3, 5.4)


def crystal(scale: float, seed: int) -> Atoms:
    atoms = bulk("Al", "fcc", a=4.05 * scale, cubic=True).repeat((2, 1, 1))
    atoms.rattle(0.1, seed=seed)
    return atoms


def disordered(volume: float, seed: int, shortest: float = 2.2) -> Atoms:
    """Returns random places, each drawn until it is not too close to the others."""
    random, cell = np.random.default_rng(seed), np.eye(3) * (16 * volume) ** (1 / 3)
    atoms = Atoms(cell=cell, pbc=True)
    while len(atoms) < 16:
        atoms += Atoms("Al", positions=random.random((1, 3)) @ cell)
        if len(atoms) > 1 and atoms.get_distances(-1, range(len(atoms) - 1), mic=True).min() < shortest:
            del atoms[-1]
    return atoms


@pytest.fixture(scope="module")
def two_phases() -> Surroundings:
    crystals = [crystal(scale, n) for n, scale in enumerate(np.linspace(0.95, 1.05, 20))]
    liquids = [disordered(volume, n) for n, volume in enumerate(np.linspace(18.0, 27.0, 20))]
    found = Surroundings.of([*crystals, *liquids], DESCRIPTOR)
    assert found is not None
    return found


def test_members_of_both_phases_pass(two_phases):
    for seed, scale in enumerate((0.96, 1.0, 1.04)):
        assert two_phases.unlikeness(crystal(scale, 100 + seed)) < 1
    for seed, volume in enumerate((19.0, 22.0, 26.0)):
        assert two_phases.unlikeness(disordered(volume, 100 + seed)) < 1


def test_a_crystal_at_the_volume_of_the_liquid_is_unlike_both(two_phases):
    expanded = crystal(1.12, 3)
    assert two_phases.unlikeness(expanded) > 1
    one_distribution = Surroundings(two_phases.descriptor, two_phases.distributions, two_phases.limit)
    assert one_distribution.unlikeness(expanded) < 1  # the mean of crystals and liquids is near it


def test_spreads_take_the_place_of_distances():
    random = np.random.default_rng(0)
    rows = [random.normal(size=(8, 3)) * 0.1 + shift for shift in np.repeat([0.0, 10.0], 20)]
    spreads = np.where(np.arange(40) < 20, 0.001, 0.01) * random.uniform(0.9, 1.1, 40)  # of two phases
    found = Outliers.of(rows, spreads.tolist())
    assert found is not None
    cold, hot = rows[3].mean(axis=0), rows[30].mean(axis=0)
    assert found.unlikeness(cold, 0.001) < 1 < found.unlikeness(cold, 0.01)
    assert found.unlikeness(hot, 0.01) < 1 < found.unlikeness(hot, 0.1)
    assert found.unlikeness(cold + 5.0, 0.001) < 1 < found.unlikeness(cold + 5.0)  # alone in space, but interpolated
    for number, row in enumerate(rows):  # the interpolated spread is exact at a training structure
        expected = 1.0 / (max(spreads[number], 0.3 * np.median(spreads)) * found.spread_limit)
        assert found.unlikeness(row.mean(axis=0), 1.0) == pytest.approx(expected, rel=1e-6)
    again = Outliers.from_dict(json.loads(json.dumps(found.to_dict())), 3)
    assert again.unlikeness(hot, 0.1) == pytest.approx(found.unlikeness(hot, 0.1), rel=1e-6)
    with pytest.raises(ValueError, match="not one positive number each"):
        Outliers.from_dict(found.to_dict() | {"spreads": [0.1, 0.2]}, 3)


def test_sheared_crystals_and_surfaces_are_unlike_both(two_phases):
    sheared = crystal(1.0, 5)
    sheared.set_cell(sheared.cell.array @ np.array([[1, 0.15, 0], [0.15, 1, 0], [0, 0, 1]]), scale_atoms=True)
    surface = fcc111("Al", (2, 2, 4), a=4.05, vacuum=8)
    surface.pbc = True
    assert two_phases.unlikeness(sheared) > 1
    assert two_phases.unlikeness(surface) > 1


def test_file_and_order_of_the_atoms_change_nothing(two_phases):
    again = Surroundings.from_dict(json.loads(json.dumps(two_phases.to_dict())))
    atoms = crystal(1.02, 7)
    assert again.unlikeness(atoms) == pytest.approx(two_phases.unlikeness(atoms), rel=1e-5)
    assert two_phases.unlikeness(atoms[::-1]) == pytest.approx(two_phases.unlikeness(atoms), rel=1e-9)


def test_repeated_structures_count_as_one():
    random = np.random.default_rng(0)
    rows = [random.normal(size=3) + random.normal(scale=0.1, size=(8, 3)) for _ in range(ENOUGH)]
    once, twice = Outliers.of(rows), Outliers.of([*rows, *rows])
    assert once is not None
    assert twice is not None
    near = rows[0].mean(axis=0) + 0.3
    assert twice.unlikeness(near) < 3 * once.unlikeness(near)


def test_few_structures_have_no_factor():
    rows = [np.random.default_rng(n).normal(size=(4, 3)) for n in range(ENOUGH - 1)]
    assert Outliers.of(rows) is None
    found = Surroundings.of([crystal(1.0, n) for n in range(4)], DESCRIPTOR)
    assert found is not None
    assert not found.outliers


@pytest.mark.parametrize("damage", ["mean", "axes", "places"])
def test_damaged_entries_are_refused(two_phases, damage):
    entries = two_phases.to_dict()
    found = {key: dict(entry) for key, entry in entries["outliers"].items()}
    found["Al"][damage] = found["Al"][damage][:3]
    with pytest.raises(ValueError, match="domain"):
        Surroundings.from_dict(entries | {"outliers": found})


def test_equal_atoms_have_no_distances():
    assert Outliers.of([np.full((1, 3), float(n)) for n in range(40)]) is None
