"""Ewald energies: Madelung constants from the literature, and what must not change them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fermisea import units
from fermisea.errors import InputError
from fermisea.physics import ewald, fourier_sums
from fermisea.physics.ewald import ewald_energy

FCC = [[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]]
BCC = [[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]]
CUBE = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
VERY_SKEWED = torch.tensor([[1, 0, 0], [200, 1, 0], [-130, 170, 1]], dtype=torch.float64)


def _tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def _random(atoms=5, seed=0):
    """Positions, charges and a triclinic cell of a charged set without symmetry."""
    rng = np.random.default_rng(seed)
    cell = np.array([[4.1, 0.3, -0.4], [0.9, 3.6, 0.5], [-1.1, 0.8, 5.2]])
    positions = rng.random((atoms, 3)) @ cell
    return torch.tensor(positions), torch.tensor(rng.integers(1, 5, atoms) * 1.0), torch.tensor(cell)


# Energy of an ion pair is -M e^2 / d with d the distance of nearest neighbours.
# OEIS A085469, A181152, A182566, the last two also in R. E. Crandall, J. F. Delord, J. Phys. A 20, 2279 (1987).
@pytest.mark.parametrize(
    ("cell", "second", "madelung"),
    [
        (FCC, [0.5, 0.5, 0.5], 1.747564594633182),
        (CUBE, [0.5, 0.5, 0.5], 1.762674773070988),
        (FCC, [0.25, 0.25, 0.25], 1.638055053388789),
    ],
    ids=["NaCl", "CsCl", "zincblende"],
)
def test_salts(cell, second, madelung):
    constant = 5.3
    positions = constant * _tensor([[0.0, 0.0, 0.0], second])
    distance = float(torch.linalg.vector_norm(positions[1]))
    if madelung == 1.747564594633182:
        distance = constant / 2  # the ion at half a cube's diagonal is not the nearest
    energy = float(ewald_energy(positions, _tensor([2.0, -2.0]), constant * _tensor(cell)))
    assert energy == pytest.approx(-4 * madelung * units.COULOMB / distance, rel=1e-13)


# E = -alpha e^2 / r_s with r_s the radius of the sphere that holds one ion. bcc and fcc: D. A. Baiko, A. Y. Potekhin,
# D. G. Yakovlev, PRE 64, 057402 (2001); sc: -2.837297479480620 e^2 / 2L, G. Makov, M. C. Payne, PRB 51, 4014 (1995).
@pytest.mark.parametrize(
    ("cell", "alpha", "digits"),
    [
        (BCC, 0.895929255682, 1e-12),
        (FCC, 0.895873615195, 1e-12),
        (CUBE, 2.837297479480620 / 2 * (3 / (4 * math.pi)) ** (1 / 3), 1e-14),
    ],
    ids=["bcc", "fcc", "sc"],
)
def test_one_component_in_a_neutralising_background(cell, alpha, digits):
    lattice = 4.05 * _tensor(cell)
    sphere = (3 * float(torch.linalg.det(lattice).abs()) / (4 * math.pi)) ** (1 / 3)
    energy = float(ewald_energy(torch.zeros(1, 3, dtype=torch.float64), _tensor([3.0]), lattice))
    assert energy == pytest.approx(-9 * alpha * units.COULOMB / sphere, rel=digits)


def test_supercell():
    positions, charges, cell = _random()
    energy = float(ewald_energy(positions, charges, cell))
    repeats = (3, 1, 2)
    shifts = torch.cartesian_prod(*(torch.arange(float(n), dtype=torch.float64) for n in repeats)) @ cell
    many = (positions[None] + shifts[:, None]).reshape(-1, 3)
    large = float(ewald_energy(many, charges.repeat(6), _tensor(repeats)[:, None] * cell))
    assert large == pytest.approx(6 * energy, rel=1e-12)


def test_translations_of_all_and_of_single_atoms_by_lattice_vectors():
    positions, charges, cell = _random()
    energy = float(ewald_energy(positions, charges, cell))
    moved = positions + _tensor([11.3, -7.9, 123.4])
    assert float(ewald_energy(moved, charges, cell)) == pytest.approx(energy, rel=1e-12)
    wrapped = positions + _tensor([[0, 0, 0], [1, -2, 0], [0, 0, 3], [-4, 0, 0], [2, 2, 2]]) @ cell
    assert float(ewald_energy(wrapped, charges, cell)) == pytest.approx(energy, rel=1e-12)


def test_mirrored_and_rotated_and_left_handed_cells():
    positions, charges, cell = _random()
    energy = float(ewald_energy(positions, charges, cell))
    turn = torch.linalg.qr(torch.rand(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]
    for operation in (turn, -turn):
        assert float(ewald_energy(positions @ operation, charges, cell @ operation)) == pytest.approx(energy, rel=1e-12)
    left_handed = cell[[1, 0, 2]]
    assert torch.linalg.det(left_handed) < 0 < torch.linalg.det(cell)
    assert float(ewald_energy(positions, charges, left_handed)) == pytest.approx(energy, rel=1e-13)


def test_very_skewed_description_of_the_same_lattice():
    """Forces and stress, too; a search box along these vectors would hold billions of points."""
    positions, charges, cell = _random()
    answers = []
    for vectors in (cell, VERY_SKEWED @ cell):
        where = positions.clone().requires_grad_()
        strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
        stretch = torch.eye(3, dtype=torch.float64) + strain
        energy = ewald_energy(where @ stretch, charges, vectors @ stretch)
        answers.append((energy.detach(), *torch.autograd.grad(energy, (where, strain))))
    for plain, skewed in zip(*answers, strict=True):
        torch.testing.assert_close(skewed, plain, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("lengths", [(2.0, 2.2, 40.0), (30.0, 3.0, 28.0)], ids=["needle", "slab"])
def test_needles_and_slabs(lengths):
    """Long cells against a supercell whose edges are alike."""
    cell = torch.diag(_tensor(lengths))
    positions = _tensor([[0.0, 0.0, 0.0], [0.9, 1.1, 3.0]])
    charges = _tensor([1.0, -1.0])
    repeats = [max(1, round(15 / length)) for length in lengths]
    shifts = torch.cartesian_prod(*(torch.arange(float(n), dtype=torch.float64) for n in repeats)) @ cell
    many = (positions[None] + shifts[:, None]).reshape(-1, 3)
    large = ewald_energy(many, charges.repeat(len(shifts)), _tensor(repeats)[:, None] * cell)
    assert float(large) / len(shifts) == pytest.approx(float(ewald_energy(positions, charges, cell)), rel=1e-10)


def test_neither_splitting_nor_blocks_matter(monkeypatch):
    def answers():
        positions, charges, cell = _random(40, seed=3)
        tensors = [t.requires_grad_() for t in (positions, charges, cell)]
        energy = ewald_energy(*tensors)
        return [energy.detach(), *torch.autograd.grad(energy, tensors)]

    plain = answers()
    for name, value in (("_BLOCK", 5000), ("_BALANCE", 3.0), ("_BALANCE", 7.0)):
        with monkeypatch.context() as patch:
            patch.setattr(ewald, name, value)
            for one, other in zip(answers(), plain, strict=True):
                torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-10)


def test_scaling():
    """E is of degree -1 in lengths and 2 in charges, hence tr stress = -E and q dE/dq = 2 E."""
    positions, charges, cell = _random()
    energy = float(ewald_energy(positions, charges, cell))
    assert float(ewald_energy(3 * positions, charges, 3 * cell)) == pytest.approx(energy / 3, rel=1e-13)
    charges.requires_grad_()
    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    stretch = torch.eye(3, dtype=torch.float64) + strain
    strained = ewald_energy(positions @ stretch, charges, cell @ stretch)
    stress, slope = torch.autograd.grad(strained, (strain, charges))
    assert float(stress.trace()) == pytest.approx(-energy, rel=1e-12)
    assert float(slope @ charges.detach()) == pytest.approx(2 * energy, rel=1e-12)
    torch.testing.assert_close(stress, stress.T, rtol=1e-11, atol=1e-11)


def test_forces_and_stress_against_finite_differences():
    positions, charges, cell = _random()
    direction = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    deformation = torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    where = positions.clone().requires_grad_()
    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)

    def energy(where, strain):
        stretch = torch.eye(3, dtype=torch.float64) + strain
        return ewald_energy(where @ stretch, charges, cell @ stretch)

    slope, stress = torch.autograd.grad(energy(where, strain), (where, strain))
    assert slope.sum(dim=0).abs().max() < 1e-10
    still = torch.zeros(3, 3, dtype=torch.float64)

    def difference(step):
        h = 1e-3
        one, two = (step(k * h) - step(-k * h) for k in (1, 2))
        return float(8 * one - two) / (12 * h)

    along = difference(lambda h: energy(positions + h * direction, still))
    assert float((slope * direction).sum()) == pytest.approx(along, rel=1e-8)
    along = difference(lambda h: energy(positions, h * deformation))
    assert float((stress * deformation).sum()) == pytest.approx(along, rel=1e-8)


def test_second_derivatives():
    """Force constants are the derivatives of forces, symmetric, and moving all atoms costs nothing."""
    positions, charges, cell = _random(3)
    constants = torch.autograd.functional.hessian(lambda p: ewald_energy(p, charges, cell), positions).reshape(9, 9)
    torch.testing.assert_close(constants, constants.T, rtol=1e-10, atol=1e-10)
    assert constants.reshape(9, 3, 3).sum(dim=1).abs().max() < 1e-9

    def force(h):
        where = positions.clone()
        where[1, 2] += h
        where.requires_grad_()
        return torch.autograd.grad(ewald_energy(where, charges, cell), where)[0].flatten()

    numerical = (force(1e-4) - force(-1e-4)) / 2e-4
    torch.testing.assert_close(constants[5], numerical, rtol=1e-6, atol=1e-6)


def test_atom_given_twice():
    positions, charges, cell = _random()
    positions[3] = positions[1] + cell[0] - 2 * cell[2]
    with pytest.raises(InputError, match=r"atoms 1 and 3 are .* Angstrom apart"):
        ewald_energy(positions, charges, cell)


# Fast sums, also for cells that are too small to need them.


@pytest.fixture
def fast(monkeypatch):
    pytest.importorskip("finufft")
    monkeypatch.setattr(ewald, "_FAST_FROM", 1)


def _large(atoms):
    """Ions of several charges, not all of the same sign, around the points of a lattice in a triclinic cell."""
    rng = np.random.default_rng(atoms)
    _, _, shape = _random()
    cell = shape.numpy() * (atoms / 5) ** (1 / 3)
    side = math.ceil(atoms ** (1 / 3))
    points = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    fractions = (rng.permutation(points)[:atoms] + rng.uniform(-0.3, 0.3, (atoms, 3))) / side
    return torch.tensor(fractions @ cell), torch.tensor(rng.choice([3.0, 1.0, 4.0, -2.0], atoms)), torch.tensor(cell)


def _with_derivatives(positions, charges, cell):
    """Returns E and its derivatives with respect to positions, charges and strain."""
    where, charges = positions.clone().requires_grad_(), charges.clone().requires_grad_()
    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    stretch = torch.eye(3, dtype=torch.float64) + strain
    energy = ewald_energy(where @ stretch, charges, cell @ stretch)
    return energy.detach(), *torch.autograd.grad(energy, (where, charges, strain))


def _assert_equal(got, expected, digits):
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=digits * float(other.abs().max()))


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("atoms", [1, 32, 250, 1000, pytest.param(4096, marks=pytest.mark.slow)])
def test_fast_sums_are_the_direct_ones(atoms, monkeypatch):
    structure = _large(atoms)
    quick = _with_derivatives(*structure)
    monkeypatch.setattr(ewald, "_FAST_FROM", atoms + 1)
    direct = _with_derivatives(*structure)
    assert atoms == 1 or not torch.equal(quick[1], direct[1])
    _assert_equal([quick[0], *quick[2:]], [direct[0], *direct[2:]], 1e-10)
    if atoms > 1:  # else there is no force
        _assert_equal(quick[1:2], direct[1:2], 1e-10)


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize(
    ("cell", "second", "madelung", "nearest"),
    [(FCC, [0.5, 0.5, 0.5], 1.747564594633182, 0.5), (CUBE, [0.5, 0.5, 0.5], 1.762674773070988, math.sqrt(0.75))],
    ids=["NaCl", "CsCl"],
)
@pytest.mark.parametrize("repeats", [1, 8])
def test_fast_sums_of_salts(cell, second, madelung, nearest, repeats):
    constant = 5.3
    shifts = torch.cartesian_prod(*[torch.arange(float(repeats), dtype=torch.float64)] * 3) @ _tensor(cell)
    positions = constant * (shifts[:, None] + _tensor([[0.0, 0.0, 0.0], second])).reshape(-1, 3)
    energy, slope, _, _ = _with_derivatives(
        positions, _tensor([2.0, -2.0]).repeat(len(shifts)), constant * repeats * _tensor(cell)
    )
    per_pair = float(energy) / len(shifts)
    assert per_pair == pytest.approx(-4 * madelung * units.COULOMB / (nearest * constant), rel=1e-11)
    assert slope.abs().max() < 1e-9


def test_supercell_above_the_number_of_atoms_of_fast_sums():
    """Energy, forces and stress of 1080 atoms, summed fast, are those of 5 atoms, summed directly."""
    pytest.importorskip("finufft")
    positions, charges, cell = _random()
    energy, slope, by_charge, strain = _with_derivatives(positions, charges, cell)
    shifts = torch.cartesian_prod(*[torch.arange(6.0, dtype=torch.float64)] * 3) @ cell
    many = (positions[None] + shifts[:, None]).reshape(-1, 3)
    assert len(many) > ewald._FAST_FROM
    large = _with_derivatives(many, charges.repeat(216), 6 * cell)
    expected = 216 * energy, slope.repeat(216, 1), by_charge.repeat(216), 216 * strain
    _assert_equal(large, expected, 1e-10)


@pytest.mark.usefixtures("fast")
def test_fast_sums_know_no_order_origin_or_description_of_the_lattice():
    positions, charges, cell = _large(60)
    plain = _with_derivatives(positions, charges, cell)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(2))
    back = torch.argsort(order)
    energy, slope, by_charge, strain = _with_derivatives(positions[order], charges[order], cell)
    _assert_equal((energy, slope[back], by_charge[back], strain), plain, 1e-11)
    wrapped = positions + torch.arange(-90.0, 90.0, dtype=torch.float64).reshape(60, 3).round() @ cell
    moved = positions + _tensor([11.3, -7.9, 123.4])
    for where, vectors in (
        (moved, cell),
        (wrapped, cell),
        (positions, cell[[1, 0, 2]]),
        (positions, VERY_SKEWED @ cell),
    ):
        found = _with_derivatives(where, charges, vectors)
        _assert_equal(found[:3], plain[:3], 1e-9)
    turn = torch.linalg.qr(torch.rand(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]
    energy, slope, by_charge, strain = _with_derivatives(positions @ turn, charges, cell @ turn)
    _assert_equal((energy, slope @ turn.T, by_charge, turn @ strain @ turn.T), plain, 1e-10)


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("lengths", [(2.0, 2.2, 40.0), (30.0, 3.0, 28.0)], ids=["needle", "slab"])
def test_fast_sums_of_needles_and_slabs(lengths, monkeypatch):
    structure = _tensor([[0.0, 0.0, 0.0], [0.9, 1.1, 3.0]]), _tensor([1.0, -1.0]), torch.diag(_tensor(lengths))
    quick = _with_derivatives(*structure)
    monkeypatch.setattr(ewald, "_FAST_FROM", 3)
    _assert_equal(quick, _with_derivatives(*structure), 1e-10)


@pytest.mark.usefixtures("fast")
def test_fast_forces_and_stress_against_finite_differences():
    positions, charges, cell = _large(40)
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    deformation = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    _, slope, _, strain = _with_derivatives(positions, charges, cell)
    assert slope.sum(dim=0).abs().max() < 1e-9 * slope.abs().max()

    def difference(step):
        h = 1e-3
        one, two = (float(step(k * h) - step(-k * h)) for k in (1, 2))
        return (8 * one - two) / (12 * h)

    def strained(h):
        stretch = torch.eye(3, dtype=torch.float64) + h * deformation
        return ewald_energy(positions @ stretch, charges, cell @ stretch)

    along = difference(lambda h: ewald_energy(positions + h * direction, charges, cell))
    assert float((slope * direction).sum()) == pytest.approx(along, rel=1e-8)
    assert float((strain * deformation).sum()) == pytest.approx(difference(strained), rel=1e-8)


@pytest.mark.usefixtures("fast")
def test_fast_sums_scale():
    positions, charges, cell = _large(40)
    energy, _, by_charge, strain = _with_derivatives(positions, charges, cell)
    assert float(strain.trace()) == pytest.approx(-float(energy), rel=1e-10)
    assert float(by_charge @ charges) == pytest.approx(2 * float(energy), rel=1e-11)
    torch.testing.assert_close(strain, strain.T, rtol=0, atol=1e-10 * float(strain.abs().max()))


@pytest.mark.usefixtures("fast")
def test_atom_given_twice_in_fast_sums():
    positions, charges, cell = _random()
    positions[3] = positions[1] + cell[0] - 2 * cell[2]
    with pytest.raises(InputError, match=r"atoms 1 and 3 are .* Angstrom apart"):
        ewald_energy(positions, charges, cell)


def test_without_the_library_all_sums_are_direct(monkeypatch):
    structure = _large(40)
    direct = _with_derivatives(*structure)
    monkeypatch.setattr(ewald, "_FAST_FROM", 1)
    monkeypatch.setattr(fourier_sums, "find_spec", lambda _: None)
    fourier_sums._installed.cache_clear()
    same = _with_derivatives(*structure)
    fourier_sums._installed.cache_clear()
    assert all(torch.equal(one, other) for one, other in zip(same, direct, strict=True))
