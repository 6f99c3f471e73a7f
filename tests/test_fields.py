"""Reciprocal vectors and gradients: plane waves are exact."""

from __future__ import annotations

import pytest
import torch

from fermisea.grid import RealSpaceGrid
from fermisea.physics.fields import FourierGrid, reciprocal_vectors

CELLS = {
    "skewed": ((4.0, 0.3, -0.2), (1.5, 3.5, 0.4), (-0.6, 0.9, 4.4)),
    "left-handed": ((1.5, 3.5, 0.4), (4.0, 0.3, -0.2), (-0.6, 0.9, 4.4)),
}


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_reciprocal_vectors_are_dual_to_the_lattice(cell):
    lattice = torch.tensor(cell, dtype=torch.float64)
    turns = reciprocal_vectors(lattice, (4, 5, 3)) @ lattice.T / (2 * torch.pi)
    torch.testing.assert_close(turns, turns.round(), rtol=0, atol=1e-14)
    assert turns[1, 3, 2].round().tolist() == [1, -2, -1]
    assert turns[0, 0, 0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
@pytest.mark.parametrize("shape", [(6, 7, 8), (5, 6, 7)])
def test_gradient_of_a_wave(cell, shape):
    grid = RealSpaceGrid(cell, shape)
    points = torch.tensor(grid.points())
    lattice = torch.tensor(grid.lattice)
    for miller in ((1, 0, 0), (0, -2, 1), (2, 2, 3), (0, 0, 0)):
        wave = torch.tensor(grid.reciprocal).T @ torch.tensor(miller, dtype=torch.float64)
        phase = points @ wave + 0.3
        expected = -torch.sin(phase)[..., None] * wave
        torch.testing.assert_close(
            FourierGrid.of(lattice, phase).gradient(torch.cos(phase)), expected, rtol=0, atol=1e-12
        )


@pytest.mark.parametrize("shape", [(4, 5, 6), (5, 4, 3), (1, 2, 4)])
def test_gradient_is_antisymmetric(shape):
    """So that the derivative of an energy of gradients is minus a divergence."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn((2, *shape), generator=generator, dtype=torch.float64)
    lattice = torch.tensor(CELLS["skewed"], dtype=torch.float64)
    left = (a[..., None] * FourierGrid.of(lattice, b).gradient(b)).sum(dim=(0, 1, 2))
    right = (FourierGrid.of(lattice, a).gradient(a) * b[..., None]).sum(dim=(0, 1, 2))
    torch.testing.assert_close(left, -right, rtol=1e-12, atol=1e-12)


def test_gradient_drops_what_an_even_grid_cannot_tell_from_its_opposite():
    lattice = torch.tensor(CELLS["skewed"], dtype=torch.float64)
    sawtooth = (-1.0) ** torch.arange(6, dtype=torch.float64)
    field = sawtooth[:, None, None] * torch.rand(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(
        FourierGrid.of(lattice, field).gradient(field), torch.zeros(6, 4, 3, 3, dtype=torch.float64), rtol=0, atol=1e-14
    )


@pytest.mark.parametrize("shape", [(6, 4, 3), (5, 7, 8), (70, 60, 64)])
def test_half_of_the_vectors(shape):
    """Together, the blocks hold all vectors of a real FFT, and mark the terms whose sign is ambiguous."""
    lattice = torch.tensor(CELLS["skewed"], dtype=torch.float64)
    grid = FourierGrid(lattice, shape)
    parts = [grid.vectors(part) for part in grid.blocks()]
    vectors, kept = (torch.cat(several) for several in zip(*parts, strict=True))
    whole = reciprocal_vectors(lattice, shape)[:, :, : shape[2] // 2 + 1]
    torch.testing.assert_close(vectors[kept], whole[kept], rtol=1e-14, atol=1e-14)
    odd = [(n - 1) // 2 * 2 + 1 for n in shape]
    assert kept.sum() == odd[0] * odd[1] * (odd[2] // 2 + 1)
    squares = torch.cat([grid.squares(part) for part in grid.blocks()])
    torch.testing.assert_close((vectors**2).sum(-1)[kept], squares[kept], rtol=1e-12, atol=1e-12)


def test_gradient_follows_the_cell():
    field = torch.rand(4, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    lattice = torch.tensor(CELLS["skewed"], dtype=torch.float64, requires_grad=True)
    field.requires_grad_()

    def gradient(field, lattice):
        return FourierGrid.of(lattice, field).gradient(field)

    assert torch.autograd.gradcheck(gradient, (field, lattice), eps=1e-6, rtol=1e-6, atol=1e-7)
