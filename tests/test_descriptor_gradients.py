"""Derivatives of the descriptors, and what must not change them or the descriptors themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms

from fermisea.descriptors import Bispectrum, PowerSpectrum, evaluator
from fermisea.descriptors.differentiable import differentiable_descriptors
from fermisea.descriptors.torch_route import torch_descriptors
from fermisea.errors import InputError
from fermisea.grid import RealSpaceGrid

WEIGHTS = {"Al": 1.0, "Ni": 0.6}
KINDS = [
    PowerSpectrum(5, 4.1, WEIGHTS, smoothness=2),
    Bispectrum(6, 4.1, WEIGHTS),
    Bispectrum(9, 3.1, WEIGHTS, rfac0=0.8),
    Bispectrum(4, 4.1, WEIGHTS, rmin0=0.9),
]
EACH = pytest.mark.parametrize("descriptor", KINDS, ids=["pairs", "triples6", "triples9", "rmin0"])


def alloy():
    """Two elements in a triclinic, left-handed cell narrower than the cutoff; some atoms lie outside it."""
    cell = np.array([[1.1, 4.6, 0.4], [5.1, 0.3, -0.2], [-0.7, 0.9, 5.6]])
    outside = np.array([[0, 0, 0], [1, 0, 0], [0, -2, 0], [0, 0, 0], [0, 0, 3]])
    fractions = np.random.default_rng(0).random((5, 3)) + outside
    return Atoms("AlNi3Al", positions=fractions @ cell, cell=cell, pbc=True)


def points_around():
    return np.random.default_rng(1).uniform(-9, 9, (11, 3))


def slope(function, values):
    """Central differences of fourth order of a scalar function by every number of an array."""
    out, step = np.empty(values.shape), 2e-4
    for place in np.ndindex(values.shape):
        results = []
        for factor in (-2, -1, 1, 2):
            moved = values.copy()
            moved[place] += factor * step
            results.append(function(moved))
        out[place] = (results[0] - 8 * results[1] + 8 * results[2] - results[3]) / (12 * step)
    return out


def close(got, expected, tolerance):
    return np.max(np.abs(got - expected)) <= tolerance * np.max(np.abs(expected))


@EACH
def test_finite_differences(descriptor):
    atoms, points = alloy(), points_around()
    factors = np.random.default_rng(2).normal(size=(len(points), descriptor.features))

    def total(positions, cell, where):
        moved = Atoms(atoms.symbols, positions=positions, cell=cell, pbc=True)
        return float(np.sum(descriptor.compute_points(moved, where) * factors))

    given = (atoms.positions, atoms.cell.array, points)
    got = descriptor.evaluator(atoms).points_vjp(points, factors)
    for index, gradient in enumerate((got.positions, got.cell, got.points)):
        expected = slope(lambda x, k=index: total(*given[:k], x, *given[k + 1 :]), given[index])
        assert close(gradient, expected, 1e-8)
    assert np.abs(got.positions.sum(axis=0) + got.points.sum(axis=0)).max() < 1e-10 * np.abs(got.positions).max()
    single = descriptor.evaluator(atoms, "float32").points_vjp(points, factors)
    assert single.positions.dtype == np.float64
    assert close(single.positions, got.positions, 2e-5)
    assert close(single.cell, got.cell, 2e-5)


@EACH
def test_box_moves_with_the_cell(descriptor):
    atoms = alloy()
    grid = RealSpaceGrid(atoms.cell.array, (5, 7, 11))
    start, stop = (1, 0, 2), (4, 7, 9)
    factors = np.random.default_rng(3).normal(size=(3 * 7 * 7, descriptor.features))
    positions, cell = descriptor.evaluator(atoms).box_vjp(grid, start, stop, factors)
    fractions = np.array(list(product(range(1, 4), range(7), range(2, 9)))) / grid.shape
    listed = descriptor.evaluator(atoms).points_vjp(fractions @ grid.lattice, factors)
    assert close(positions, listed.positions, 1e-12)
    assert close(cell, listed.cell + fractions.T @ listed.points, 1e-12)


@EACH
def test_same_for_any_division_of_a_grid(descriptor, monkeypatch):
    # prime numbers of points, boxes with edges anywhere, any number of threads, batches of one brick
    atoms = alloy()
    grid = RealSpaceGrid(atoms.cell.array, (7, 5, 13))
    whole = descriptor.compute(atoms, grid)
    listed = descriptor.compute_points(atoms, grid.points().reshape(-1, 3)).reshape(whole.shape)
    scale = np.abs(whole).reshape(-1, descriptor.features).max(axis=0)
    assert np.max(np.abs(listed - whole) / scale) < 1e-12
    ready = descriptor.evaluator(atoms)
    for axis, cut in ((0, 1), (0, 3), (1, 2), (2, 5), (2, 12)):
        stop, start = list(grid.shape), [0, 0, 0]
        stop[axis] = start[axis] = cut
        parts = [ready.box(grid, (0, 0, 0), tuple(stop)), ready.box(grid, tuple(start), grid.shape)]
        shapes = [tuple(stop), tuple(b - a for a, b in zip(start, grid.shape, strict=True))]
        parts = [part.reshape(*shape, -1) for part, shape in zip(parts, shapes, strict=True)]
        assert np.max(np.abs(np.concatenate(parts, axis=axis) - whole) / scale) < 1e-12
    factors = np.random.default_rng(4).normal(size=(grid.size, descriptor.features))
    expected = ready.box_vjp(grid, (0, 0, 0), grid.shape, factors)
    for threads, batch in ((3, 2**20), (2, 1), (1, 1)):
        monkeypatch.setattr(evaluator, "cores", lambda threads=threads: threads)
        monkeypatch.setattr(evaluator, "_BATCH", batch)
        assert np.max(np.abs(descriptor.compute(atoms, grid) - whole) / scale) < 1e-12
        for got, one in zip(ready.box_vjp(grid, (0, 0, 0), grid.shape, factors), expected, strict=True):
            assert close(got, one, 1e-12)


@EACH
def test_points_far_apart_equal_points_together(descriptor):
    # a brick whose points share their neighbours, and bricks whose points have neighbours of their own
    atoms = alloy().repeat((3, 3, 3))
    points = np.random.default_rng(5).uniform(4, 5, (32, 3))
    far = points + np.random.default_rng(6).integers(-3, 3, (32, 3)) @ atoms.cell.array
    others = np.random.default_rng(7).uniform(-20, 20, (32, 3))
    mixed = np.stack([far, others], axis=1).reshape(-1, 3)
    together = descriptor.compute_points(atoms, points)
    scale = np.abs(together).max(axis=0)
    assert np.max(np.abs(descriptor.compute_points(atoms, mixed)[::2] - together) / scale) < 1e-11


@EACH
def test_atom_on_a_point(descriptor):
    atoms = alloy()
    points = atoms.positions[:2] - atoms.cell.array[1]
    factors = np.random.default_rng(8).normal(size=(2, descriptor.features))
    got = descriptor.evaluator(atoms).points_vjp(points, factors)
    assert np.isfinite(got.positions).all()
    if descriptor.to_dict().get("rmin0"):  # left out there
        return
    positions = torch.tensor(atoms.positions, requires_grad=True)
    weights = torch.tensor([WEIGHTS[symbol] for symbol in atoms.symbols], dtype=torch.float64)
    values = torch_descriptors(
        descriptor, positions, torch.tensor(atoms.cell.array), weights, torch.tensor(np.array(points))
    )
    (values * torch.from_numpy(factors)).sum().backward()
    assert close(got.positions, positions.grad.numpy(), 1e-8)


@pytest.mark.parametrize("descriptor", KINDS[:3], ids=["pairs", "triples6", "triples9"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_autograd(descriptor, dtype):
    atoms = alloy()
    results = []
    for route in ("compiled", "tensors"):
        given = [torch.tensor(x, dtype=dtype) for x in (atoms.positions, atoms.cell.array, points_around())]
        given = [x.requires_grad_() for x in given]
        if route == "compiled":
            values = differentiable_descriptors(descriptor, list(atoms.symbols), *given)
        else:
            weights = torch.tensor([WEIGHTS[symbol] for symbol in atoms.symbols], dtype=dtype)
            values = torch_descriptors(descriptor, given[0], given[1], weights, given[2])
        assert values.dtype == dtype
        loss = torch.log1p(values**2 / (1 + values.detach().abs().amax(0)) ** 2).sum()
        results.append([values, *torch.autograd.grad(loss, given)])
    for got, expected in zip(*results, strict=True):
        tolerance = 1e-9 if dtype == torch.float64 else 1e-4
        assert close(got.detach().numpy(), expected.detach().numpy(), tolerance)


def test_cotangents_that_cannot_be_used():
    ready = KINDS[0].evaluator(alloy())
    with pytest.raises(InputError, match=r"cotangents: got an array \(2, 5\)"):
        ready.points_vjp(points_around(), np.zeros((2, 5)))
    factors = np.zeros((11, KINDS[0].features))
    factors[3, 2] = np.nan
    with pytest.raises(InputError, match="cotangents"):
        ready.points_vjp(points_around(), factors)


def values_and_slopes(dtype):
    """Descriptors on a small grid, and derivatives of a sum of them, of both kinds."""
    for kind in KINDS[:2]:
        ready, grid = kind.evaluator(alloy(), dtype), RealSpaceGrid(alloy().cell.array, (3, 5, 7))
        values = ready.box(grid, (0, 0, 0), grid.shape)
        yield values
        yield ready.box_vjp(grid, (0, 0, 0), grid.shape, values / np.abs(values).max(axis=0))[0]


WIDTH = """
import sys
import numpy as np
from test_descriptor_gradients import values_and_slopes
from fermisea.descriptors.compiled.simd import lane_count
np.savez(sys.argv[2], *values_and_slopes(sys.argv[1]), lanes=lane_count(np.dtype(sys.argv[1]).itemsize))
"""


@pytest.mark.parametrize(
    ("bits", "dtype", "lanes", "tolerance"),
    [(128, "float64", 2, 1e-12), (256, "float32", 8, 1e-5), (512, "float64", 8, 1e-12)],
)
def test_any_width_of_the_registers(tmp_path, bits, dtype, lanes, tolerance):
    """The width enters as a number of lanes alone, so that one precision serves for each."""
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = dict(os.environ, FERMISEA_VECTOR_BITS=str(bits), PYTHONPATH=path)
    command = [sys.executable, "-c", WIDTH, dtype, str(tmp_path / "found.npz")]
    subprocess.run(command, check=True, env=environment)
    with np.load(tmp_path / "found.npz") as found:
        assert found["lanes"] == lanes
        for index, expected in enumerate(values_and_slopes(dtype)):
            assert close(found[f"arr_{index}"], expected, tolerance), index


def test_width_that_does_not_exist():
    environment = dict(os.environ, FERMISEA_VECTOR_BITS="384")
    code = "from fermisea.descriptors.compiled.simd import lane_count; lane_count(8)"
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "FERMISEA_VECTOR_BITS: got '384', expected one of 128, 256, 512" in result.stderr
