"""Core densities and charges of ions."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from fermisea.errors import InputError
from fermisea.grid import RealSpaceGrid
from fermisea.physics import ions as ions_module
from fermisea.physics.fields import FourierGrid
from fermisea.physics.ions import CoreCharge, Ion, charges, core_density, electrons, structure_factor

CELL = torch.tensor([[4.1, 0.2, -0.3], [0.4, 3.7, 0.5], [-0.2, 0.6, 4.4]], dtype=torch.float64)
POSITIONS = torch.tensor([[0.3, 0.1, 0.2], [2.1, 1.9, 2.4], [1.0, 3.0, 0.7]], dtype=torch.float64)
SYMBOLS = ["Al", "Mg", "Al"]
WIDTHS = {"Al": (0.41, 0.71), "Mg": (0.47, 2.3)}


def _gaussian(width, count):
    q = 0.025 * np.arange(1600)
    return CoreCharge(0.025, count * np.exp(-((q * width) ** 2) / 2))


IONS = {symbol: Ion(symbol, valence, _gaussian(*WIDTHS[symbol])) for symbol, valence in (("Al", 3.0), ("Mg", 2.0))}
TOTAL = 2 * 0.71 + 2.3


@pytest.mark.parametrize("handedness", [1, -1])
def test_gaussian_cores_are_periodic_sums_of_gaussians(handedness):
    cell = CELL[[1, 0, 2]] if handedness < 0 else CELL
    grid = RealSpaceGrid(tuple(map(tuple, cell.tolist())), (24, 21, 25))
    points = torch.from_numpy(grid.points())
    expected = torch.zeros(grid.shape, dtype=torch.float64)
    images = torch.cartesian_prod(*[torch.arange(-2.0, 3.0, dtype=torch.float64)] * 3) @ cell
    for symbol, position in zip(SYMBOLS, POSITIONS, strict=True):
        width, count = WIDTHS[symbol]
        for image in images:
            square = ((points - position - image) ** 2).sum(dim=-1)
            expected += count * (2 * math.pi * width**2) ** -1.5 * torch.exp(-square / (2 * width**2))
    got = core_density(IONS, SYMBOLS, POSITIONS, FourierGrid(cell, grid.shape))
    assert not got.is_complex()
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("shape", [(9, 9, 9), (10, 8, 12), (1, 2, 5)])
def test_core_density_integrates_to_its_electrons_on_any_grid(shape):
    density = core_density(IONS, SYMBOLS, POSITIONS, FourierGrid(CELL, shape))
    volume = abs(float(torch.linalg.det(CELL)))
    assert float(density.mean()) * volume == pytest.approx(TOTAL, rel=1e-12)


@pytest.mark.parametrize("shape", [(9, 7, 11), (10, 8, 12)])
def test_core_density_moves_with_the_atoms(shape):
    density = core_density(IONS, SYMBOLS, POSITIONS, FourierGrid(CELL, shape))
    steps = torch.tensor([1.0 / shape[0], 2.0 / shape[1], -3.0 / shape[2]], dtype=torch.float64)
    by_points = core_density(IONS, SYMBOLS, POSITIONS + steps @ CELL, FourierGrid(CELL, shape))
    torch.testing.assert_close(by_points, torch.roll(density, (1, 2, -3), (0, 1, 2)), rtol=0, atol=1e-13)
    by_vectors = core_density(
        IONS, SYMBOLS, POSITIONS + torch.tensor([1.0, -2.0, 1.0], dtype=CELL.dtype) @ CELL, FourierGrid(CELL, shape)
    )
    torch.testing.assert_close(by_vectors, density, rtol=0, atol=1e-13)
    # between the points: the same Fourier series, so moving there and back returns the density
    shift = torch.tensor([0.123, 0.456, 0.789], dtype=CELL.dtype)
    moved = torch.fft.fftn(core_density(IONS, SYMBOLS, POSITIONS + shift @ CELL, FourierGrid(CELL, shape)))
    for axis, n in enumerate(shape):
        phase = torch.exp(2j * math.pi * shift[axis] * torch.fft.fftfreq(n, 1.0 / n, dtype=CELL.dtype))
        moved = moved * phase.reshape([-1 if axis == other else 1 for other in range(3)])
    torch.testing.assert_close(torch.fft.ifftn(moved).real, density, rtol=0, atol=1e-13)
    assert float(torch.fft.ifftn(moved).imag.abs().max()) < 1e-13


def test_core_density_is_differentiable_in_positions_and_cell():
    weights = torch.rand((5, 6, 4), dtype=torch.float64, generator=torch.Generator().manual_seed(3))

    def total(positions, cell):
        return (weights * core_density(IONS, SYMBOLS, positions, FourierGrid(cell, (5, 6, 4)))).sum()

    positions, cell = POSITIONS.clone().requires_grad_(), CELL.clone().requires_grad_()
    assert torch.autograd.gradcheck(total, (positions, cell), rtol=1e-6)


def test_cutoff_removes_all_larger_momenta_and_only_those():
    shape = (12, 12, 12)
    grid = RealSpaceGrid(tuple(map(tuple, CELL.tolist())), shape)
    miller = np.stack(np.meshgrid(*[np.fft.fftfreq(n, 1 / n) for n in shape], indexing="ij"), axis=-1)
    lengths = np.linalg.norm(miller @ grid.reciprocal, axis=-1)
    full, cut = (
        np.fft.fftn(core_density(IONS, SYMBOLS, POSITIONS, FourierGrid(CELL, shape), q).numpy()) for q in (None, 5.0)
    )
    np.testing.assert_allclose(cut[lengths <= 5], full[lengths <= 5], atol=1e-10)
    assert np.abs(cut[lengths > 5]).max() < 1e-10
    assert np.abs(full[lengths > 5]).max() > 1e-3


def test_without_cores_the_density_is_zero():
    bare = {"Al": Ion("Al", 3.0), "Mg": IONS["Mg"]}
    assert torch.equal(
        core_density(bare, ["Al"], POSITIONS[:1], FourierGrid(CELL, (3, 4, 5))), torch.zeros((3, 4, 5)).double()
    )
    only = core_density(bare, SYMBOLS, POSITIONS, FourierGrid(CELL, (8, 8, 8)))
    torch.testing.assert_close(
        only, core_density(IONS, ["Mg"], POSITIONS[1:2], FourierGrid(CELL, (8, 8, 8))), rtol=0, atol=1e-14
    )


def test_structure_factor_is_the_sum_over_atoms():
    shape = (4, 3, 5)
    got = structure_factor(POSITIONS, CELL, shape)
    reciprocal = 2 * math.pi * np.linalg.inv(CELL.numpy()).T
    for index in [(0, 0, 0), (1, 2, 4), (3, 1, 2)]:
        signed = [i - n if i >= (n + 1) // 2 else i for i, n in zip(index, shape, strict=True)]
        expected = np.exp(-1j * POSITIONS.numpy() @ (np.array(signed) @ reciprocal)).sum()
        assert complex(got[index]) == pytest.approx(expected, abs=1e-12)


def _many(count):
    generator = torch.Generator().manual_seed(5)
    cell = CELL * (count / 3) ** (1 / 3)
    fractions = torch.rand(count, 3, generator=generator, dtype=torch.float64) * 2 - 0.5
    return fractions @ cell, cell, ["Al" if i % 3 else "Mg" for i in range(count)]


def test_fast_structure_factor_is_the_direct_one(monkeypatch):
    pytest.importorskip("finufft")
    positions, cell, _ = _many(300)
    fast = structure_factor(positions, cell, (40, 33, 36))
    monkeypatch.setattr(ions_module, "_FAST_FROM", 301)
    direct = structure_factor(positions, cell, (40, 33, 36))
    assert not torch.equal(fast, direct)
    assert float((fast - direct).norm()) < 1e-11 * float(direct.norm())
    assert float((fast - direct).abs().max()) < 1e-11 * float(direct.norm())


def test_fast_core_density_forces_and_stress_are_the_direct_ones(monkeypatch):
    pytest.importorskip("finufft")
    positions, cell, symbols = _many(900)
    shape = (48, 45, 50)
    weights = torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    answers = []
    for first in (256, 1000):
        monkeypatch.setattr(ions_module, "_FAST_FROM", first)
        where = positions.clone().requires_grad_()
        strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
        stretch = torch.eye(3, dtype=torch.float64) + strain
        density = core_density(IONS, symbols, where @ stretch, FourierGrid(cell @ stretch, shape))
        slopes = torch.autograd.grad((weights * density).sum(), (where, strain))
        answers.append((density.detach(), *slopes))
    for fast, direct in zip(*answers, strict=True):
        assert not torch.equal(fast, direct)
        torch.testing.assert_close(fast, direct, rtol=0, atol=1e-10 * float(direct.abs().max()))


def test_charges_and_electrons():
    assert charges(IONS, SYMBOLS) == [3.0, 2.0, 3.0]
    assert electrons(IONS, SYMBOLS) == 8.0
    with pytest.raises(InputError, match="got Au, Cu, expected only Al, Mg"):
        charges(IONS, ["Al", "Cu", "Au"])
    with pytest.raises(InputError, match="got Cu"):
        core_density(IONS, ["Cu"], POSITIONS[:1], FourierGrid(CELL, (3, 3, 3)))


def test_ions_survive_json_bit_for_bit():
    for ion in (*IONS.values(), Ion("H", 1.0)):
        again = Ion.from_dict(json.loads(json.dumps(ion.to_dict())))
        assert (again.symbol, again.valence) == (ion.symbol, ion.valence)
        assert (again.core is None) == (ion.core is None)
        if ion.core is not None and again.core is not None:
            assert again.core.step == ion.core.step
            assert np.array_equal(again.core.values, ion.core.values)
            assert again.core.electrons == ion.core.electrons


def test_core_charge_beyond_its_table_is_refused():
    with pytest.raises(InputError, match="core charge: got a momentum of"):
        core_density(IONS, SYMBOLS, POSITIONS, FourierGrid(CELL, (64, 64, 64)))
