"""What both descriptors have in common: invariances, special points, bad input."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from scipy.spatial.transform import Rotation

from fermisea import descriptors
from fermisea.descriptors import Bispectrum, PowerSpectrum, evaluator
from fermisea.errors import InputError
from fermisea.grid import RealSpaceGrid

WEIGHTS = {"Al": 1.0, "Ni": 0.7}
BOTH = pytest.mark.parametrize(
    "descriptor",
    [Bispectrum(5, 4.2, WEIGHTS), PowerSpectrum(6, 4.2, WEIGHTS)],
    ids=["bispectrum", "power_spectrum"],
)


def alloy():
    rng = np.random.default_rng(3)
    cell = np.array([[5.1, 0.0, 0.0], [1.3, 4.6, 0.0], [-0.9, 1.1, 5.8]])
    return Atoms("Al2Ni3", scaled_positions=rng.random((5, 3)), cell=cell, pbc=True)


def some_points(count=20):
    return np.random.default_rng(4).uniform(-7.0, 9.0, (count, 3))


def difference(got, expected):
    """Largest deviation relative to each component's scale."""
    assert got.shape == expected.shape
    scale = np.maximum(np.abs(expected).max(axis=tuple(range(expected.ndim - 1))), 1e-12)
    return np.max(np.abs(got - expected) / scale)


def same(got, expected, tolerance=1e-10):
    return difference(got, expected) < tolerance


@BOTH
@pytest.mark.parametrize("improper", [False, True])
def test_rotation_and_reflection_change_nothing(descriptor, improper):
    atoms, points = alloy(), some_points()
    matrix = Rotation.from_rotvec([0.4, -1.9, 0.8]).as_matrix() * (-1 if improper else 1)
    turned = Atoms(atoms.numbers, positions=atoms.positions @ matrix.T, cell=atoms.cell.array @ matrix.T, pbc=True)
    assert same(descriptor.compute_points(turned, points @ matrix.T), descriptor.compute_points(atoms, points))
    assert same(descriptor.compute(turned, (3, 4, 5)), descriptor.compute(atoms, (3, 4, 5)))


@BOTH
def test_left_handed_cell_is_the_same_crystal(descriptor):
    atoms = alloy()
    mirrored = atoms.copy()
    mirrored.set_cell(atoms.cell.array[[1, 0, 2]], scale_atoms=False)
    assert mirrored.cell.handedness == -1
    got = descriptor.compute(mirrored, (4, 3, 5)).transpose(1, 0, 2, 3)
    assert same(got, descriptor.compute(atoms, (3, 4, 5)))


@BOTH
def test_skewed_description_is_the_same_crystal(descriptor):
    atoms, points = alloy(), some_points()
    skewed = atoms.copy()
    skewed.set_cell(np.array([[1, 0, 0], [3, 1, 0], [-2, 4, 1]]) @ atoms.cell.array, scale_atoms=False)
    assert same(descriptor.compute_points(skewed, points), descriptor.compute_points(atoms, points))


@BOTH
def test_cell_smaller_than_the_cutoff_equals_its_supercell(descriptor):
    primitive = bulk("Al", a=3.6)
    assert primitive.cell.lengths().max() < descriptor.cutoff
    small = descriptor.compute(primitive, (2, 3, 2))
    large = descriptor.compute(primitive * (3, 3, 4), (6, 9, 8))
    assert same(large, np.tile(small, (3, 3, 4, 1)))


@BOTH
def test_grid_point_is_where_the_grid_says(descriptor):
    atoms = alloy()
    grid = RealSpaceGrid(tuple(map(tuple, atoms.cell.array)), (3, 2, 4))
    got = descriptor.compute(atoms, grid)
    assert got.shape == (3, 2, 4, descriptor.features)
    a, b, c = atoms.cell.array
    single = descriptor.compute_points(atoms, [2 / 3 * a + 1 / 2 * b + 3 / 4 * c])
    assert same(got[2, 1, 3], single[0])
    assert np.array_equal(got, descriptor.compute(atoms, (3, 2, 4)))


@BOTH
def test_periodic_images_of_points_and_atoms(descriptor):
    atoms, points = alloy(), some_points()
    expected = descriptor.compute_points(atoms, points)
    assert same(descriptor.compute_points(atoms, points + [2, -3, 1] @ atoms.cell.array), expected)
    moved = atoms.copy()
    moved.positions[2] += [-1, 4, 2] @ atoms.cell.array
    assert same(descriptor.compute_points(moved, points), expected)
    moved.pbc = False
    assert same(descriptor.compute_points(moved, points), expected)


@BOTH
def test_order_of_atoms_does_not_matter(descriptor):
    atoms, points = alloy(), some_points()
    got = descriptor.compute_points(atoms[[3, 0, 4, 1, 2]], points)
    assert same(got, descriptor.compute_points(atoms, points), 1e-12)


@BOTH
def test_point_on_an_atom_is_the_limit_of_points_near_it(descriptor):
    atoms = alloy()
    on = atoms.positions
    values = descriptor.compute_points(atoms, on)
    assert np.isfinite(values).all()
    for shift in ([1e-9, 0, 0], [-3e-10, 5e-10, 8e-10], [0, 0, -1e-160]):
        assert same(descriptor.compute_points(atoms, on + np.array(shift)), values, 1e-7)
    # the atom at the point counts: without it, the result is another one
    rest = descriptor.compute_points(atoms[1:], on[:1])
    assert difference(rest, values[:1]) > 0.1


@BOTH
def test_atoms_come_and_go_smoothly_at_the_cutoff(descriptor):
    atoms = Atoms("Al2", positions=[[0, 0, 0], [2, 0, 0]], cell=[20, 20, 20])
    distance = descriptor.cutoff + np.array([-1e-5, -1e-9, 0, 1e-9, 1e-5])
    points = np.stack([2 + distance, 0 * distance, 0 * distance], axis=-1)
    values = descriptor.compute_points(atoms, points)
    empty = descriptor.compute_points(atoms, [[10, 10, 10]])
    assert np.max(np.abs(values - empty)) < 1e-8
    near = descriptor.compute_points(atoms, [[2 + descriptor.cutoff - 0.5, 0, 0]])
    assert np.max(np.abs(near - empty)) > 1e-4


@BOTH
def test_weight_scales_an_element(descriptor):
    atoms, points = alloy(), some_points()
    without = atoms[atoms.symbols == "Al"]
    silent = type(descriptor)(4, 4.2, {"Al": 1.0, "Ni": 0.0})
    loud = type(descriptor)(4, 4.2, {"Al": 1.0, "Ni": 2.0})
    nickel = atoms[atoms.symbols == "Ni"]
    assert same(silent.compute_points(atoms, points), silent.compute_points(without, points))
    doubled = atoms + nickel
    once = type(descriptor)(4, 4.2)
    assert same(loud.compute_points(atoms, points), once.compute_points(doubled, points))


@BOTH
def test_no_atom_at_all(descriptor):
    empty = Atoms(cell=[4, 4, 4], pbc=True)
    far = Atoms("Al", positions=[[1, 2, 3]], cell=[30, 30, 30], pbc=True)
    value = descriptor.compute(empty, (1, 1, 1))[0, 0, 0]
    assert np.isfinite(value).all()
    assert np.array_equal(descriptor.compute_points(far, [[16, 17, 18]])[0], value)
    assert descriptor.compute_points(far, np.empty((0, 3))).shape == (0, descriptor.features)


@BOTH
def test_threads_and_single_precision_change_only_rounding(descriptor, monkeypatch):
    atoms = alloy()
    monkeypatch.setattr(evaluator, "cores", lambda: 1)
    serial = descriptor.compute(atoms, (8, 8, 9))
    monkeypatch.setattr(evaluator, "cores", lambda: 3)
    assert np.array_equal(descriptor.compute(atoms, (8, 8, 9)), serial)
    single = descriptor.compute(atoms, (8, 8, 9), dtype="float32")
    assert single.dtype == np.float32
    assert same(single, serial, 5e-6)


@BOTH
def test_definition_survives_a_file(descriptor):
    again = descriptors.from_dict(json.loads(json.dumps(descriptor.to_dict())))
    assert again == descriptor
    assert hash(again) == hash(descriptor)


def test_definition_takes_numpy_numbers():
    made = PowerSpectrum(np.int64(4), np.float32(4.5), {"Al": np.float64(2)}, rfac0=np.float64(0.9))
    assert descriptors.from_dict(json.loads(json.dumps(made.to_dict()))) == made


@BOTH
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.positions.__setitem__((1, 2), np.nan), "atom 1 "),
        (lambda a: a.positions.__setitem__((4, 0), np.inf), "atom 4 "),
        (lambda a: a.symbols.__setitem__(0, "Be"), "element Be: .*Al, Ni"),
        (lambda a: a.set_cell([[1, 0, 0], [0, 1, 0], [1, 1, 0]]), "without volume"),
        (lambda a: a.set_cell([[9, 0, 0], [0, 9, 0], [0, 0, 1e-7]]), "images"),
    ],
)
def test_structure_that_cannot_be_used(descriptor, change, message):
    atoms = alloy()
    change(atoms)
    with pytest.raises(InputError, match=message) as caught:
        descriptor.compute(atoms, (2, 2, 2))
    assert "\n" not in str(caught.value)


@BOTH
def test_points_and_types_that_cannot_be_used(descriptor):
    with pytest.raises(InputError, match="points"):
        descriptor.compute_points(alloy(), [[0, 0, np.nan]])
    with pytest.raises(InputError, match="points"):
        descriptor.compute_points(alloy(), [0, 0, 0])
    with pytest.raises(InputError, match="int32"):
        descriptor.compute_points(alloy(), [[0, 0, 0]], dtype="int32")
    with pytest.raises(InputError, match="grid shape"):
        descriptor.compute(alloy(), (3, 0, 3))


@pytest.mark.parametrize("kind", [Bispectrum, PowerSpectrum])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, 4.0), "got -1"),
        ((31, 4.0), "from 0 to"),
        ((2.5, 4.0), "2.5"),
        (("6", 4.0), "'6'"),
        ((4, 0.0), "cutoff"),
        ((4, float("nan")), "cutoff"),
        ((4, "4.0"), "cutoff"),
        ((4, 4.0, {"Al": float("inf")}), "weight of Al"),
        ((4, 4.0, {"Xy": 1.0}), "Xy"),
        ((4, 4.0, [1.0]), "mapping"),
        ((4, 4.0, None, 0.0), "rfac0"),
        ((4, 4.0, None, 1.1), "rfac0"),
    ],
)
def test_definition_that_cannot_be_used(kind, arguments, message):
    with pytest.raises(InputError, match=message):
        kind(*arguments)


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ({"kind": "soap"}, "soap.*bispectrum, power_spectrum"),
        ({"kind": ["soap"]}, "soap"),
        ({}, "None"),
        ({"kind": "power_spectrum", "order": 4}, "cutoff"),
        ({"kind": "power_spectrum", "order": 4, "cutoff": 4.0, "radius": 1}, "radius"),
        ({"kind": "bispectrum", "twojmax": "x", "cutoff": 4.0}, "twojmax"),
    ],
)
def test_unknown_definitions(definition, message):
    with pytest.raises(InputError, match=message):
        descriptors.from_dict(definition)
