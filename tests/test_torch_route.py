"""The tensor route of the descriptors: the same numbers by other mathematics, and their derivatives."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from scipy.special import eval_chebyu

from fermisea.descriptors import Bispectrum, PowerSpectrum, portions
from fermisea.descriptors.cubature import (
    cubature_constants,
    expand,
    harmonic_constants,
    of_degree,
    power_index,
    three_sphere_rule,
)
from fermisea.descriptors.regions import bricks, corners, groups
from fermisea.descriptors.torch_route import TorchEvaluator, torch_descriptors
from fermisea.errors import InputError
from fermisea.grid import RealSpaceGrid

REFERENCES = sorted((Path(__file__).parent / "data" / "bispectrum").glob("*.npz"))
WEIGHTS = {"Al": 1.0, "Ni": 0.7}
BOTH = pytest.mark.parametrize(
    "descriptor",
    [Bispectrum(5, 4.2, WEIGHTS), PowerSpectrum(6, 4.2, WEIGHTS), PowerSpectrum(3, 4.2, WEIGHTS, smoothness=2)],
    ids=["bispectrum", "power_spectrum", "smooth"],
)
SMALL = pytest.mark.parametrize(
    "descriptor",
    [Bispectrum(2, 4.2, WEIGHTS), PowerSpectrum(2, 4.2, WEIGHTS)],
    ids=["bispectrum", "power_spectrum"],
)


def alloy():
    """Triclinic, left-handed, two elements, all heights below the cutoff."""
    cell = np.array([[1.0, 3.4, 0.0], [3.8, 0.0, 0.0], [-0.7, 0.8, 4.1]])
    rng = np.random.default_rng(3)
    return Atoms("AlNi2", scaled_positions=rng.random((3, 3)), cell=cell, pbc=True)


def some_points(atoms, count=12):
    away = np.random.default_rng(4).uniform(-7.0, 9.0, (count, 3))
    return np.concatenate([atoms.positions, away])


def tensors(atoms, points, dtype=torch.float64, device="cpu", *, grad=True):
    weights = [WEIGHTS.get(symbol, 1.0) for symbol in atoms.symbols]
    return [
        torch.tensor(np.asarray(values), dtype=dtype, device=device, requires_grad=grad)
        for values in (atoms.positions, atoms.cell.array, weights, points)
    ]


def difference(got, expected):
    """Largest deviation relative to each component's scale."""
    got, expected = np.asarray(got, dtype=float), np.asarray(expected)
    assert got.shape == expected.shape
    return np.max(np.abs(got - expected) / np.maximum(np.abs(expected).max(axis=0), 1e-12))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
@pytest.mark.parametrize("path", REFERENCES, ids=lambda path: path.stem)
def test_agrees_with_lammps(path, dtype, tolerance):
    # `compute sna/grid` of LAMMPS 2025-07-22 in double precision; see tests/data/README.md
    data = np.load(path)
    atoms = Atoms(data["numbers"], positions=data["positions"], cell=data["cell"], pbc=True)
    weights = dict(zip(data["elements"].tolist(), data["weights"].tolist(), strict=True))
    descriptor = Bispectrum(
        int(data["twojmax"]), float(data["rcut"]), weights, rfac0=float(data["rfac0"]), rmin0=float(data["rmin0"])
    )
    grid = RealSpaceGrid(data["cell"], tuple(data["grid"].tolist()))
    points = grid.points().reshape(-1, 3)[data["points"]]
    got = TorchEvaluator(descriptor, atoms, dtype).points(points)
    assert got.dtype == getattr(torch, dtype)
    assert difference(got, data["bispectrum"]) < tolerance


def test_references_are_there():
    assert len(REFERENCES) == 8


@BOTH
def test_agrees_with_the_compiled_descriptor(descriptor):
    atoms = alloy()
    assert atoms.cell.handedness == -1
    assert (1 / np.linalg.norm(np.linalg.inv(atoms.cell.array), axis=0)).max() < descriptor.cutoff
    points = some_points(atoms)
    expected = descriptor.compute_points(atoms, points)
    assert difference(torch_descriptors(descriptor, *tensors(atoms, points, grad=False)), expected) < 1e-10
    assert difference(TorchEvaluator(descriptor, atoms, "float64").points(points), expected) < 1e-10
    single = torch_descriptors(descriptor, *tensors(atoms, points, torch.float32, grad=False))
    assert single.dtype == torch.float32
    assert difference(single, expected) < 1e-5
    assert difference(TorchEvaluator(descriptor, atoms).points(points), expected) < 1e-5


@BOTH
def test_atoms_and_points_anywhere(descriptor):
    atoms = alloy()
    points = some_points(atoms)
    expected = descriptor.compute_points(atoms, points)
    atoms.positions += np.array([[3, -2, 40], [0, 7, -1], [-9, 0, 2]]) @ atoms.cell.array
    moved = points + np.arange(-7, 8)[:, None] * ([5, 0, -8] @ atoms.cell.array)
    assert difference(torch_descriptors(descriptor, *tensors(atoms, moved, grad=False)), expected) < 1e-10
    assert difference(TorchEvaluator(descriptor, atoms, "float64").points(moved), expected) < 1e-10


@BOTH
def test_skewed_and_primitive_cells(descriptor):
    atoms = alloy()
    points = some_points(atoms)
    skewed = atoms.copy()
    skewed.set_cell(np.array([[1, 0, 0], [3, 1, 0], [-2, 4, 1]]) @ atoms.cell.array, scale_atoms=False)
    got = torch_descriptors(descriptor, *tensors(skewed, points, grad=False))
    assert difference(got, descriptor.compute_points(atoms, points)) < 1e-10
    primitive = bulk("Al", a=3.2)
    small = RealSpaceGrid(primitive.cell.array, (2, 3, 2))
    large = RealSpaceGrid((primitive * (3, 2, 2)).cell.array, (6, 6, 4))
    one = TorchEvaluator(descriptor, primitive, "float64").box(small, (0, 0, 0), small.shape)
    many = TorchEvaluator(descriptor, primitive * (3, 2, 2), "float64").box(large, (0, 0, 0), large.shape)
    expected = np.tile(one.reshape(2, 3, 2, -1).numpy(), (3, 2, 2, 1)).reshape(len(many), -1)
    assert difference(many, expected) < 1e-10


@BOTH
def test_box_is_a_part_of_the_grid_in_c_order(descriptor):
    atoms = alloy()
    # a grid with a cell of its own, at an angle to that of the structure
    grid = RealSpaceGrid(((6.0, 0.5, 0.0), (0.0, 7.0, 0.0), (-1.0, 0.0, 3.0)), (7, 4, 5))
    start, stop = (2, 0, 1), (7, 3, 4)
    expected = descriptor.compute_points(atoms, grid.points()[2:7, 0:3, 1:4].reshape(-1, 3))
    for chunk in (None, 1, 7):
        evaluator = TorchEvaluator(descriptor, atoms, "float64", chunk=chunk)
        assert difference(evaluator.box(grid, start, stop), expected) < 1e-10
    assert evaluator.box(grid, (2, 2, 2), (4, 2, 5)).shape == (0, descriptor.features)


@BOTH
def test_evaluators_are_interchangeable(descriptor):
    atoms = alloy()
    compiled, tensor = descriptor.evaluator(atoms), TorchEvaluator(descriptor, atoms, "float64")
    assert tensor.features == compiled.features
    assert tensor.dtype == compiled.dtype
    points = torch.from_numpy(some_points(atoms)).requires_grad_()
    got = tensor.points(points)
    assert not got.requires_grad
    assert difference(got, compiled.points(points.detach().numpy())) < 1e-10
    grid = RealSpaceGrid(atoms.cell.array, (3, 4, 2))
    part = (1, 0, 0), (3, 4, 2)
    assert difference(tensor.box(grid, *part), compiled.box(grid, *part)) < 1e-10


def same_slopes(got, expected, tolerance):
    return np.abs(got.cpu().numpy() - expected).max() <= tolerance * np.abs(expected).max()


@BOTH
@pytest.mark.parametrize("chunk", [None, 3])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-4)])
def test_products_with_cotangents(descriptor, chunk, dtype, tolerance):
    atoms = alloy()
    atoms.positions += [[9, 0, 0], [0, 0, -7], [0, 0, 0]] @ atoms.cell.array
    compiled, tensor = descriptor.evaluator(atoms), TorchEvaluator(descriptor, atoms, dtype, chunk=chunk)
    points = some_points(atoms)
    grid, part = RealSpaceGrid(atoms.cell.array, (4, 3, 5)), ((1, 0, 2), (4, 2, 5))
    rng = np.random.default_rng(5)
    scale = np.abs(compiled.points(points)).max(axis=0)
    pull = rng.normal(size=(len(points), descriptor.features)) / scale
    pull.setflags(write=False)
    got, expected = tensor.points_vjp(points, pull), compiled.points_vjp(points, pull)
    for name in ("positions", "cell", "points"):
        assert getattr(got, name).dtype == torch.float64
        assert same_slopes(getattr(got, name), getattr(expected, name), tolerance)
    pull = rng.normal(size=(18, descriptor.features)) / scale
    both = zip(tensor.box_vjp(grid, *part, torch.from_numpy(pull)), compiled.box_vjp(grid, *part, pull), strict=True)
    assert all(same_slopes(slope, reference, tolerance) for slope, reference in both)
    with pytest.raises(InputError, match="cotangents: got an array"):
        tensor.points_vjp(points, pull)
    with pytest.raises(InputError, match="cotangents: got an array"):
        tensor.box_vjp(grid, *part, pull * math.nan)


@BOTH
def test_portions_change_only_rounding(descriptor, monkeypatch):
    atoms = alloy()
    points = some_points(atoms, 40)
    arguments = tensors(atoms, points)
    expected = torch_descriptors(descriptor, *arguments)
    pull = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    slopes = torch.autograd.grad((expected * pull).sum(), arguments)
    sizes = []

    def check(chunk, most):
        sizes.clear()
        got = torch_descriptors(descriptor, *arguments, chunk=chunk)
        forward = list(sizes)
        assert max(forward) <= most
        assert sum(forward) == len(points)
        assert difference(got.detach(), expected.detach()) < 1e-12
        for slope, reference in zip(torch.autograd.grad((got * pull).sum(), arguments), slopes, strict=True):
            assert (slope - reference).abs().max() < 1e-11 * reference.abs().max()

    original = portions.expand
    monkeypatch.setattr(portions, "expand", lambda *a: (sizes.append(len(a[1])), original(*a))[1])
    check(1, 1)
    check(7, 7)
    # what the neighbours of one point and a half need
    recipe = portions.Recipe(descriptor, torch.float64, torch.device("cpu"))
    for one, many in ((100, 101), (1000, 1001)):
        assert recipe.points_at_once(one) >= recipe.points_at_once(many)
    monkeypatch.setitem(portions._BUDGET, "cpu", 1)
    check(None, 1)


def test_portions_follow_the_neighbours_that_there_are(monkeypatch):
    # a dense cluster in a large empty cell: the mean density says nothing
    descriptor = PowerSpectrum(4, 4.0)
    cluster = bulk("Al", a=3.0, cubic=True) * (3, 3, 3)
    atoms = Atoms(cluster.symbols, positions=cluster.positions, cell=[60, 60, 60])
    points = np.random.default_rng(1).uniform(2.0, 6.0, (3000, 3))
    monkeypatch.setitem(portions._BUDGET, "cpu", 2**20)
    numbers = []
    original = portions.expand
    monkeypatch.setattr(portions, "expand", lambda *a: (numbers.append(a[1].numel()), original(*a))[1])
    got = TorchEvaluator(descriptor, atoms, "float64").points(points)
    # bytes of the harmonics of all neighbours in one portion
    assert max(numbers) * (25 + 15) * 8 < 2**20
    assert difference(got, descriptor.compute_points(atoms, points)) < 1e-10


def test_regions_hold_each_point_once():
    points = np.random.default_rng(2).normal(size=(501, 3)) * [1.0, 20.0, 5.0]
    points[100:200] = points[7]
    found = list(groups(points, 30, 0.06, 4.0))
    assert np.array_equal(np.sort(np.concatenate(found)), np.arange(501))
    assert max(len(index) for index in found) <= 30
    extents = [np.ptp(points[index], axis=0).max() for index in found]
    assert np.median(extents) < 20
    steps = np.array([[0.3, 0.0, 0.0], [0.1, 0.9, 0.0], [0.0, 0.0, 0.2]])
    seen = np.zeros((9, 5, 11), dtype=int)
    for low, high in bricks((2, 0, 1), (9, 5, 11), steps, 20, 0.06, 4.0):
        part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        seen[part] += 1
        assert seen[part].size <= 20
        inside = np.stack(np.meshgrid(*(np.arange(11)[s] for s in part), indexing="ij"), -1).reshape(-1, 3) @ steps
        assert np.allclose(corners(low, high, steps).min(axis=0), inside.min(axis=0))
        assert np.allclose(corners(low, high, steps).max(axis=0), inside.max(axis=0))
    assert (seen[2:, :, 1:] == 1).all()
    assert seen.sum() == 7 * 5 * 10


@pytest.mark.parametrize("order", [0, 1, 6])
def test_rule_and_harmonics_are_orthonormal(order):
    # products of two harmonics whose degrees add up to an even number
    nodes, weights = three_sphere_rule(2 * order)
    assert np.abs(np.linalg.norm(nodes, axis=1) - 1).max() < 1e-15
    assert weights.sum() == pytest.approx(1, rel=1e-14)
    q = torch.from_numpy(nodes)
    blocks = expand(
        harmonic_constants(order, torch.float64, q.device), torch.ones_like(q[:, :1]), q[:, :1], q[:, None, 1:]
    )
    values = [of_degree(blocks, n).numpy() for n in range(order + 1)]
    for n in range(order + 1):
        for other in range(n % 2, order + 1, 2):
            overlap = 2 * np.pi**2 * np.einsum("qa,q,qb->ab", values[n], weights, values[other])
            assert np.abs(overlap - np.eye(*overlap.shape) * (n == other)).max() < 1e-12


def test_bispectrum_is_the_average_of_sums_of_characters():
    # the surroundings as characters of rotations, the average by Euler angles, in scipy and numpy alone
    atoms, twojmax, cutoff, rfac0 = alloy(), 4, 4.2, 0.9
    point = np.array([0.4, 1.0, 2.2])
    alpha = 2 * np.pi * np.arange(13) / 13
    abscissas, masses = np.polynomial.legendre.leggauss(7)
    a, b, c = np.meshgrid(alpha, np.arccos(abscissas), alpha, indexing="ij")
    parts = (
        np.cos(b / 2) * np.cos((a + c) / 2),
        np.sin(b / 2) * np.sin((c - a) / 2),
        np.sin(b / 2) * np.cos((c - a) / 2),
        np.cos(b / 2) * np.sin((a + c) / 2),
    )
    nodes = np.stack(parts, axis=-1).reshape(-1, 4)
    weights = np.broadcast_to(masses[:, None] / 2 / 13**2, a.shape).reshape(-1)
    fields = [eval_chebyu(n, nodes[:, 0]) for n in range(twojmax + 1)]
    for shift in np.ndindex(9, 9, 9):
        for symbol, position in zip(atoms.symbols, atoms.positions, strict=True):
            vector = position + (np.array(shift) - 4) @ atoms.cell.array - point
            r = np.linalg.norm(vector)
            if r < cutoff:
                theta0 = rfac0 * np.pi * r / cutoff
                scale = WEIGHTS[symbol] * 0.5 * (math.cos(math.pi * r / cutoff) + 1)
                angle = nodes[:, 0] * math.cos(theta0) + nodes[:, 1:] @ vector / r * math.sin(theta0)
                for n in range(twojmax + 1):
                    fields[n] += scale * eval_chebyu(n, angle)
    expected = [
        (j + 1) * np.sum(weights * fields[j1] * fields[j2] * fields[j])
        for j1 in range(twojmax + 1)
        for j2 in range(j1 + 1)
        for j in range(j1, min(twojmax, j1 + j2) + 1)
        if (j1 + j2 + j) % 2 == 0
    ]
    got = TorchEvaluator(Bispectrum(twojmax, cutoff, WEIGHTS, rfac0), atoms, "float64").points([point])[0]
    assert np.abs(got.numpy() - expected).max() < 1e-11 * np.abs(expected).max()


@SMALL
@pytest.mark.parametrize("chunk", [None, 2])
def test_first_and_second_derivatives(descriptor, chunk):
    # the first point lies on an atom
    atoms = alloy()
    arguments = tensors(atoms, some_points(atoms)[[0, 3, 4]])
    features = torch.tensor([0, 2, 4])

    def values(*inputs):
        return torch_descriptors(descriptor, *inputs, chunk=chunk)

    assert torch.autograd.gradcheck(values, arguments)
    assert torch.autograd.gradgradcheck(lambda *inputs: values(*inputs)[:, features], arguments)


def test_derivatives_with_rmin0():
    descriptor = Bispectrum(3, 4.2, WEIGHTS, rfac0=0.8, rmin0=1.1)
    atoms = alloy()
    points = some_points(atoms)[2:5] + np.array([0.3, 0.5, -0.2])
    assert torch.autograd.gradcheck(lambda *inputs: torch_descriptors(descriptor, *inputs), tensors(atoms, points))
    arguments = tensors(atoms, atoms.positions)
    value = torch_descriptors(descriptor, *arguments)
    assert difference(value.detach(), descriptor.compute_points(atoms, atoms.positions)) < 1e-10
    assert all(torch.isfinite(slope).all() for slope in torch.autograd.grad(value.sum(), arguments))


@pytest.mark.parametrize("descriptor", [Bispectrum(8, 4.2, WEIGHTS), PowerSpectrum(6, 4.2, WEIGHTS)])
def test_derivatives_are_differences_of_the_compiled_descriptor(descriptor):
    atoms = alloy()
    points = some_points(atoms)
    arguments = tensors(atoms, points)
    rng = np.random.default_rng(6)
    scale = np.abs(descriptor.compute_points(atoms, points)).max(axis=0)
    pull = rng.normal(size=(len(points), descriptor.features)) / scale
    value = torch_descriptors(descriptor, *arguments)
    slopes = torch.autograd.grad((value * torch.from_numpy(pull)).sum(), arguments)
    ways = [rng.normal(size=x.shape) for x in (atoms.positions, atoms.cell.array, points)]

    def along(way, step):
        moved = Atoms(atoms.symbols, positions=atoms.positions + step * way[0], cell=atoms.cell.array + step * way[1])
        return np.sum(pull * descriptor.compute_points(moved, points + step * way[2]))

    h = 2e-5  # f_c has a second derivative that jumps at the cutoff
    for kept in range(3):
        way = [direction * float(kept == k) for k, direction in enumerate(ways)]
        near, far = (along(way, step * h) - along(way, -step * h) for step in (1, 2))
        expected = (8 * near - far) / (12 * h)
        got = float((slopes[(0, 1, 3)[kept]].numpy() * ways[kept]).sum())
        assert got == pytest.approx(expected, rel=1e-6, abs=1e-6)
        assert abs(expected) > 0.1


@BOTH
def test_derivatives_know_the_symmetries_of_space(descriptor):
    atoms = alloy()
    arguments = tensors(atoms, some_points(atoms))
    value = torch_descriptors(descriptor, *arguments)
    pull = torch.randn(value.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    positions, cell, weights, points = torch.autograd.grad((value * pull).sum(), arguments)
    scale = float(positions.abs().max())
    # a shift of atoms and points changes nothing, nor does a rotation of everything
    assert (positions.sum(0) + points.sum(0)).abs().max() < 1e-11 * scale
    turns = (
        torch.linalg.cross(x, g).sum(0)
        for x, g in zip(arguments, (positions, cell, None, points), strict=True)
        if g is not None
    )
    assert sum(turns).abs().max() < 1e-10 * scale
    # an atom described by its image in the next cell has the same neighbours
    moved = [x.detach().clone() for x in arguments]
    moved[0][1] += moved[1][2]
    moved = [x.requires_grad_() for x in moved]
    again = torch.autograd.grad((torch_descriptors(descriptor, *moved) * pull).sum(), moved)
    assert (again[0] - positions).abs().max() < 1e-10 * scale
    assert (again[1] - cell - torch.tensor([[0.0], [0], [-1]]) * positions[1]).abs().max() < 1e-10 * scale
    assert weights.abs().max() > 0


@BOTH
def test_atom_on_a_point_has_smooth_derivatives(descriptor):
    atoms = Atoms("Al2", positions=[[0, 0, 0], [1.9, 0.4, -0.8]], cell=[20, 20, 20])
    lone = tensors(atoms[:1], [[0.0, 0.0, 0.0]])
    slopes = torch.autograd.grad(torch_descriptors(descriptor, *lone).sum(), lone)
    assert all(slopes[k].abs().max() < 1e-12 * slopes[2].abs().max() for k in (0, 1, 3))

    def slope_and_curvature(point):
        arguments = tensors(atoms, [point])
        value = torch_descriptors(descriptor, *arguments)[0]
        pull = torch.linspace(-1, 1, len(value), dtype=torch.float64) / value.detach().abs().clamp(min=1e-6)
        slope = torch.autograd.grad((value * pull.detach()).sum(), arguments[3], create_graph=True)[0]
        return slope.detach()[0], torch.autograd.grad(slope[0, 1], arguments[3])[0][0]

    on, near = slope_and_curvature([0.0, 0.0, 0.0]), slope_and_curvature([1e-8, -1e-8, 2e-8])
    for a, b in zip(on, near, strict=True):
        assert a.abs().max() > 1e-3
        assert (a - b).abs().max() < 1e-4 * a.abs().max()


@BOTH
def test_single_precision_derivatives(descriptor):
    atoms = alloy()
    points = some_points(atoms)
    double, single = (tensors(atoms, points, dtype) for dtype in (torch.float64, torch.float32))
    scale = torch_descriptors(descriptor, *double).detach().abs().amax(0)
    expected = torch.autograd.grad((torch_descriptors(descriptor, *double) / scale).sum(), double)
    got = torch.autograd.grad((torch_descriptors(descriptor, *single) / scale.float()).sum(), single)
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == torch.float32
        assert (a - b).abs().max() < 1e-4 * b.abs().max()


@BOTH
def test_nothing_around_and_nothing_asked(descriptor):
    far = Atoms("Al", positions=[[1, 2, 3]], cell=[30, 30, 30])
    arguments = tensors(far, [[16.0, 17, 18], [1.5, 2, 3]])
    value = torch_descriptors(descriptor, *arguments)
    assert difference(value.detach(), descriptor.compute_points(far, arguments[3].detach().numpy())) < 1e-10
    slope = torch.autograd.grad(value.sum(), arguments[3])[0]
    assert (slope[0] == 0).all()
    assert slope[1].abs().max() > 0
    empty = Atoms(cell=[4, 4, 4])
    assert (
        difference(torch_descriptors(descriptor, *tensors(empty, [[1.0, 1, 1]]))[0].detach(), value[0].detach()) < 1e-12
    )
    grid = RealSpaceGrid(empty.cell.array, (2, 1, 1))
    assert TorchEvaluator(descriptor, empty).box(grid, (0, 0, 0), (2, 1, 1)).shape == (2, descriptor.features)
    assert torch_descriptors(descriptor, *tensors(far, np.empty((0, 3)))).shape == (0, descriptor.features)
    assert TorchEvaluator(descriptor, far).points(np.empty((0, 3))).shape == (0, descriptor.features)


def test_constants_made_in_inference_mode_serve_training():
    for cached in (harmonic_constants, cubature_constants, power_index):
        cached.cache_clear()
    atoms = alloy()
    for descriptor in (Bispectrum(3, 4.1, WEIGHTS), PowerSpectrum(3, 4.1, WEIGHTS)):
        with torch.inference_mode():
            expected = TorchEvaluator(descriptor, atoms, "float64").points(some_points(atoms)).clone()
        arguments = tensors(atoms, some_points(atoms))
        value = torch_descriptors(descriptor, *arguments)
        assert difference(value.detach(), expected) < 1e-12
        torch.autograd.grad(value.sum(), arguments)


@pytest.mark.parametrize("descriptor", [Bispectrum(4, 4.2), Bispectrum(4, 4.2, rmin0=0.5), PowerSpectrum(4, 4.2)])
def test_all_tensors_are_on_the_device_of_the_points(descriptor):
    # tensors without storage refuse to meet those of the CPU
    def make(*shape, dtype=torch.float32):
        return torch.zeros(shape, dtype=dtype, device="meta")

    recipe = portions.Recipe(descriptor, torch.float32, torch.device("meta"))
    positions, cell, weights, points = make(5, 3), make(3, 3), make(5), make(7, 3)
    positions.requires_grad_()
    indices = make(20, dtype=torch.int64), make(20, 3, dtype=torch.float64), make(7, 11, dtype=torch.int64)
    value = portions.describe(recipe, *indices, make(7, 3), positions, cell, weights, points)
    assert value.shape == (7, descriptor.features)
    assert torch.autograd.grad(value.sum(), positions)[0].shape == (5, 3)


@BOTH
def test_input_that_cannot_be_used(descriptor):
    atoms = alloy()
    points = some_points(atoms)

    def compute(number, value):
        arguments = tensors(atoms, points, grad=False)
        arguments[number] = value(arguments[number])
        return torch_descriptors(descriptor, *arguments)

    for number, value, message in (
        (0, lambda x: x[:, :2], "positions: got a tensor"),
        (1, lambda x: x * torch.tensor([1.0, 1.0, 0.0]), "without volume"),
        (1, lambda x: x * 1e-3, "images are within"),
        (1, lambda x: x[:2], "cell: got a tensor"),
        (2, lambda x: x[:-1], "weights: got a tensor"),
        (2, lambda x: x.float(), "weights: got torch.float32"),
        (0, lambda x: x.to("meta"), "positions: got a tensor on meta"),
        (3, lambda x: x * math.nan, "points: got values that are not finite"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            compute(number, value)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="got Evaluator"):
        torch_descriptors(descriptor.evaluator(atoms), *tensors(atoms, points))
    with pytest.raises(InputError, match="dtype: got int32"):
        TorchEvaluator(descriptor, atoms, "int32")
    with pytest.raises(InputError, match="points"):
        TorchEvaluator(descriptor, atoms).points([[0, 0, math.nan]])
    with pytest.raises(InputError, match="points"):
        TorchEvaluator(descriptor, atoms).points([0, 0, 0])
    foreign = atoms.copy()
    foreign.symbols[0] = "Be"
    with pytest.raises(InputError, match=r"element Be: .*Al, Ni"):
        TorchEvaluator(descriptor, foreign)
    atoms.positions[1, 2] = math.inf
    with pytest.raises(InputError, match="positions"):
        TorchEvaluator(descriptor, atoms)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("descriptor", [Bispectrum(8, 4.2, WEIGHTS), PowerSpectrum(6, 4.2, WEIGHTS)])
def test_gpu_agrees_with_the_cpu(descriptor):
    atoms = alloy() * (2, 2, 2)
    points = some_points(atoms, 200)
    expected = descriptor.compute_points(atoms, points)
    evaluator = TorchEvaluator(descriptor, atoms, "float32", "cuda")
    got = evaluator.points(points)
    assert got.device.type == "cuda"
    assert difference(got.cpu(), expected) < 1e-4
    assert difference(evaluator.points(torch.from_numpy(points).cuda()).cpu(), expected) < 1e-4
    grid = RealSpaceGrid(atoms.cell.array, (9, 8, 10))
    box = evaluator.box(grid, (1, 0, 2), (9, 8, 9))
    assert difference(box.cpu(), descriptor.evaluator(atoms).box(grid, (1, 0, 2), (9, 8, 9))) < 1e-4
    scale = torch.from_numpy(np.abs(expected).max(axis=0))
    cpu, gpu = tensors(atoms, points), tensors(atoms, points, torch.float32, "cuda")
    slopes = torch.autograd.grad((torch_descriptors(descriptor, *cpu) / scale).sum(), cpu)
    pull = torch.from_numpy(1 / np.broadcast_to(scale, expected.shape))
    for a, b in zip(vars(evaluator.points_vjp(points, pull)).values(), (slopes[0], slopes[1], slopes[3]), strict=True):
        assert same_slopes(a, b.numpy(), 1e-3)
    value = torch_descriptors(descriptor, *gpu)
    assert difference(value.detach().cpu(), expected) < 1e-4
    for a, b in zip(torch.autograd.grad((value / scale.to(gpu[3])).sum(), gpu), slopes, strict=True):
        assert a.device.type == "cuda"
        assert (a.cpu() - b).abs().max() < 1e-3 * b.abs().max()
