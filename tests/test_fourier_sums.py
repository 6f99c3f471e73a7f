"""Fast Fourier sums against the sums written out."""

from __future__ import annotations

import math

import pytest
import torch

from fermisea.physics.fourier_sums import Run, fourier_sums, has_fast_sums, runs_of

pytest.importorskip("finufft")

SHAPES = [(5, 4, 7), (6, 9, 8), (1, 2, 4), (3, 1, 1)]


def _sources(count=20, seed=0):
    generator = torch.Generator().manual_seed(seed)
    fractions = 6 * torch.rand(count, 3, generator=generator, dtype=torch.float64) - 3
    return fractions, torch.randn(count, generator=generator, dtype=torch.float64)


def _indices(shape, *, half):
    axes = [torch.fft.fftfreq(n, 1.0 / n, dtype=torch.float64) for n in shape]
    if half:
        axes[2] = torch.arange(shape[2] // 2 + 1, dtype=torch.float64)
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_sums_are_the_sums_over_the_sources(shape, half):
    fractions, weights = _sources()
    phases = _indices(shape, half=half) @ fractions.T
    expected = (weights * torch.exp(-2j * math.pi * phases)).sum(dim=-1)
    got = fourier_sums(fractions, weights, runs_of(shape, half=half))
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-11 * float(weights.norm()))


def test_ascending_indices_are_a_part_of_all_indices():
    fractions, weights = _sources()
    shape = (7, 10, 6)
    whole = torch.fft.fftshift(fourier_sums(fractions, weights, runs_of(shape)), dim=(0, 1))
    part = fourier_sums(fractions, weights, (Run(3, -2), Run(4, -5), Run(6)))
    torch.testing.assert_close(part, whole[1:4, :4], rtol=0, atol=1e-11 * float(weights.norm()))


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("shape", [(3, 2, 4), (2, 3, 3)])
def test_first_and_second_derivatives(shape, half):
    fractions, weights = (tensor.requires_grad_() for tensor in _sources(2))

    def parts(fractions, weights):
        return torch.view_as_real(fourier_sums(fractions, weights, runs_of(shape, half=half)))

    assert torch.autograd.gradcheck(parts, (fractions, weights), rtol=1e-6, atol=1e-6)
    assert torch.autograd.gradgradcheck(parts, (fractions, weights), rtol=1e-5, atol=1e-5)


def test_a_lattice_has_sums_at_its_reciprocal_vectors_only():
    axis = torch.arange(8, dtype=torch.float64) / 8
    fractions = torch.cartesian_prod(axis, axis, axis)
    sums = fourier_sums(fractions, torch.ones(512, dtype=torch.float64), runs_of((20, 20, 20)))
    expected = torch.zeros_like(sums)
    expected[torch.isin(_indices((20, 20, 20), half=False), torch.tensor([-8.0, 0.0, 8.0]).double()).all(-1)] = 512
    torch.testing.assert_close(sums, expected, rtol=0, atol=1e-9)


def test_only_atoms_on_the_cpu_have_fast_sums():
    assert has_fast_sums(torch.zeros(1, 3))
    assert not has_fast_sums(torch.zeros(1, 3, device="meta"))
