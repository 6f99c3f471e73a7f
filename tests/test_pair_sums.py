"""Screened pairs from bins against the sum over all images."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from fermisea.errors import InputError
from fermisea.physics import pair_sums
from fermisea.physics.pair_sums import screened_pairs

CELL = torch.tensor([[4.1, 0.3, -0.4], [0.9, 3.6, 0.5], [-1.1, 0.8, 5.2]], dtype=torch.float64)
SLAB = torch.tensor([[3.0, 0.2, 0.0], [0.1, 14.0, 1.0], [0.0, -2.0, 11.0]], dtype=torch.float64)


def _atoms(count):
    generator = torch.Generator().manual_seed(count)
    fractions = 4 * torch.rand(count, 3, generator=generator, dtype=torch.float64) - 2
    return fractions, torch.randn(count, generator=generator, dtype=torch.float64)


def _all_images(fractions, charges, cell, eta, reach):
    images = torch.tensor([*itertools.product(range(-8, 9), repeat=3)], dtype=torch.float64)
    total = torch.zeros((), dtype=torch.float64)
    for i in range(len(charges)):
        between = fractions - fractions[i]
        vectors = (between - between.detach().round())[:, None] + images
        distance = torch.linalg.vector_norm(vectors @ cell, dim=-1)
        inside = (distance.detach() < reach) & (distance.detach() > 1e-9)
        pairs = torch.where(inside, torch.erfc(eta * distance) / distance.masked_fill(~inside, 1.0), 0.0)
        total = total + charges[i] * (charges[:, None] * pairs).sum() / 2
    return total


@pytest.mark.parametrize(("cell", "count", "reach"), [(CELL, 5, 7.3), (CELL, 1, 6.0), (SLAB, 30, 2.9), (SLAB, 12, 8.0)])
def test_energy_and_derivatives_of_all_pairs(cell, count, reach, monkeypatch):
    monkeypatch.setattr(pair_sums, "_ATOMS", 7)
    found = []
    for energy in (lambda *x: screened_pairs(*x, 0.4, reach, 1e-3), lambda *x: _all_images(*x, 0.4, reach)):
        tensors = [tensor.clone().requires_grad_() for tensor in (*_atoms(count), cell)]
        value = energy(*tensors)
        found.append([value.detach(), *torch.autograd.grad(value, tensors)])
    for got, expected in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-11)


def test_number_of_threads_does_not_matter():
    results = []
    before = torch.get_num_threads()
    for threads in (1, 3):
        torch.set_num_threads(threads)
        fractions, charges = _atoms(30)
        fractions.requires_grad_()
        energy = screened_pairs(fractions, charges, SLAB, 0.4, 5.0, 1e-3)
        results.append((energy.detach(), *torch.autograd.grad(energy, fractions)))
    torch.set_num_threads(before)
    assert all(torch.equal(one, three) for one, three in zip(*results, strict=True))


def test_second_derivatives_are_refused():
    fractions, charges = _atoms(4)
    fractions.requires_grad_()
    energy = screened_pairs(fractions, charges, CELL, 0.4, 5.0, 1e-3)
    with pytest.raises(NotImplementedError, match="second derivatives are not available"):
        torch.autograd.grad(energy, fractions, create_graph=True)


def test_pairs_closer_than_a_limit_are_refused_with_the_indices_of_the_atoms():
    fractions, charges = _atoms(30)
    fractions[17] = fractions[4] + torch.tensor([1.0, -2.0, 0.0], dtype=torch.float64)
    fractions[17, 2] += 1e-3 / 11
    with pytest.raises(InputError, match=r"atoms 4 and 17 are 1\..e-03 Angstrom apart"):
        screened_pairs(fractions, charges, SLAB, 0.4, 5.0, 2e-3)
    assert math.isfinite(float(screened_pairs(fractions, charges, SLAB, 0.4, 5.0, 1e-4)))
