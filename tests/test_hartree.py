"""Hartree energy and potential: waves and Gaussian charges, whose answers are known."""

from __future__ import annotations

import math

import pytest
import torch

from fermisea import units
from fermisea.grid import RealSpaceGrid
from fermisea.physics.ewald import ewald_energy
from fermisea.physics.fields import FourierGrid
from fermisea.physics.hartree import hartree_energy, hartree_potential

SKEWED = ((4.0, 0.3, -0.2), (1.5, 3.5, 0.4), (-0.6, 0.9, 4.4))
LEFT_HANDED = (SKEWED[1], SKEWED[0], SKEWED[2])


def _noise(shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _gaussians(grid, centres, charges, exponent):
    """Periodic Gaussians on a grid, summed in real space over the nearest images."""
    points = torch.tensor(grid.points())
    lattice = torch.tensor(grid.lattice)
    shifts = torch.cartesian_prod(*[torch.arange(-1.0, 2.0, dtype=torch.float64)] * 3) @ lattice
    density = torch.zeros(grid.shape, dtype=torch.float64)
    for centre, charge in zip(centres, charges, strict=True):
        for shift in shifts:
            squared = ((points - centre - shift) ** 2).sum(dim=-1)
            density += charge * (exponent / math.pi) ** 1.5 * torch.exp(-exponent * squared)
    return density


@pytest.mark.parametrize("cell", [SKEWED, LEFT_HANDED])
@pytest.mark.parametrize("miller", [(1, 0, 0), (1, -2, 1), (0, 1, 3)])
def test_wave(cell, miller):
    grid = RealSpaceGrid(cell, (7, 8, 9))
    lattice = torch.tensor(grid.lattice)
    wave = torch.tensor(grid.reciprocal).T @ torch.tensor(miller, dtype=torch.float64)
    density = 0.7 * torch.cos(torch.tensor(grid.points()) @ wave - 0.4)
    response = 4 * math.pi * units.COULOMB / float(wave @ wave)
    torch.testing.assert_close(
        hartree_potential(density, FourierGrid.of(lattice, density)), response * density, rtol=1e-12, atol=1e-12
    )
    assert float(hartree_energy(density, FourierGrid.of(lattice, density))) == pytest.approx(
        grid.volume * response * 0.7**2 / 4, rel=1e-13
    )


def test_uniform_density_has_neither_energy_nor_potential():
    density = torch.full((4, 5, 6), 0.3, dtype=torch.float64)
    lattice = torch.tensor(SKEWED, dtype=torch.float64)
    assert float(hartree_energy(density, FourierGrid.of(lattice, density))) == pytest.approx(0, abs=1e-25)
    assert hartree_potential(density, FourierGrid.of(lattice, density)).abs().max() < 1e-13


@pytest.mark.parametrize("shape", [(5, 7, 9), (4, 6, 8)])
def test_potential_is_the_derivative_of_the_energy_and_energy_is_half_its_integral(shape):
    """For densities without smoothness, on even grids, too."""
    density = _noise(shape).requires_grad_()
    lattice = torch.tensor(SKEWED, dtype=torch.float64)
    voxel = float(torch.linalg.det(lattice)) / density.numel()
    energy = hartree_energy(density, FourierGrid.of(lattice, density))
    (slope,) = torch.autograd.grad(energy, density)
    potential = hartree_potential(density.detach(), FourierGrid.of(lattice, density))
    torch.testing.assert_close(slope / voxel, potential, rtol=1e-12, atol=1e-12)
    assert energy.item() == pytest.approx(float((potential * density.detach()).sum()) * voxel / 2, rel=1e-13)
    assert potential.mean().abs() < 1e-13


@pytest.mark.parametrize("cell", [SKEWED, LEFT_HANDED])
def test_gaussian_charges_are_point_charges_but_for_their_own_energy(cell):
    r"""With the transform q exp(-G^2/4a), E_H is Ewald's reciprocal sum at eta^2 = a/2.

    So E_H = E_Ewald + e^2 sqrt(a / 2 pi) sum q^2 + e^2 pi / (V a) (sum q)^2 up to the overlap of the Gaussians.
    """
    exponent = 9.0
    grid = RealSpaceGrid(cell, (40, 40, 42))
    lattice = torch.tensor(grid.lattice)
    centres = torch.tensor([[0.1, 0.2, 0.3], [0.6, 0.7, 0.8]], dtype=torch.float64) @ lattice
    charges = torch.tensor([2.0, -0.7], dtype=torch.float64)
    density = _gaussians(grid, centres, charges.tolist(), exponent)
    own = math.sqrt(exponent / (2 * math.pi)) * float((charges**2).sum())
    background = math.pi / (grid.volume * exponent) * float(charges.sum()) ** 2
    expected = float(ewald_energy(centres, charges, lattice)) + units.COULOMB * (own + background)
    assert float(hartree_energy(density, FourierGrid.of(lattice, density))) == pytest.approx(expected, rel=1e-10)


def test_potential_of_a_gaussian_charge():
    """Near one Gaussian, v = e^2 q erf(sqrt(a) r)/r, plus what the lattice and the background add.

    In a cube of side L these are -2.837297 e^2 q/L (M. Leslie, M. J. Gillan, J. Phys. C 18, 973, 1985), the width
    pi e^2 q/(a V) and 2 pi e^2 q r^2 / 3V; what follows is of order r^4/L^5.
    """
    side, exponent, charge = 9.0, 2.5, 1.5
    grid = RealSpaceGrid(((side, 0, 0), (0, side, 0), (0, 0, side)), (45, 45, 45))
    density = _gaussians(grid, torch.zeros(1, 3), [charge], exponent)
    potential = hartree_potential(density, FourierGrid.of(torch.tensor(grid.lattice), density))
    volume = side**3
    for i in range(4):
        r = i * side / 45
        own = math.erf(math.sqrt(exponent) * r) / r if r else 2 * math.sqrt(exponent / math.pi)
        rest = -2.837297479480620 / side + math.pi / (exponent * volume) + 2 * math.pi * r**2 / (3 * volume)
        unknown = 4 * r**4 / side**5 + 1e-11
        assert float(potential[i, 0, 0]) / (units.COULOMB * charge) == pytest.approx(own + rest, rel=0, abs=unknown)


def test_handedness_and_choice_of_lattice_vectors_do_not_matter():
    density = _noise((6, 7, 8))
    lattice = torch.tensor(SKEWED, dtype=torch.float64)
    energy = float(hartree_energy(density, FourierGrid.of(lattice, density)))
    swapped = float(
        hartree_energy(density.permute(2, 1, 0), FourierGrid.of(lattice[[2, 1, 0]], density.permute(2, 1, 0)))
    )
    assert swapped == pytest.approx(energy, rel=1e-13)


def test_energy_scales_as_one_over_length_at_constant_charge():
    density = _noise((5, 6, 7))
    lattice = torch.tensor(SKEWED, dtype=torch.float64)
    energy = float(hartree_energy(density, FourierGrid.of(lattice, density)))
    assert float(hartree_energy(density / 8, FourierGrid.of(2 * lattice, density))) == pytest.approx(
        energy / 2, rel=1e-13
    )


def test_stress_against_finite_differences():
    density = _noise((5, 6, 7))
    lattice = torch.tensor(SKEWED, dtype=torch.float64)
    direction = torch.tensor([[0.3, 0.2, -0.1], [0.1, -0.4, 0.5], [0.6, -0.2, 0.2]], dtype=torch.float64)

    def energy(strain):
        stretch = torch.eye(3, dtype=torch.float64) + strain
        return hartree_energy(density / torch.linalg.det(stretch), FourierGrid.of(lattice @ stretch, density))

    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    (stress,) = torch.autograd.grad(energy(strain), strain)
    h = 1e-4
    numerical = float(energy(h * direction) - energy(-h * direction)) / (2 * h)
    assert float((stress * direction).sum()) == pytest.approx(numerical, rel=1e-6)
    assert float(stress.trace()) == pytest.approx(-float(energy(torch.zeros_like(strain))), rel=1e-12)
