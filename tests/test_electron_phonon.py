"""Electron-phonon coupling: free electrons against quadrature, the limit of low tau_e, numbers of the literature."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import constants
from scipy.integrate import quad

from fermisea import units
from fermisea.errors import InputError
from fermisea.grid import EnergyGrid
from fermisea.physics.density_of_states import DensityOfStates
from fermisea.physics.electron_phonon import COLD, coupling_factor, electron_phonon_coupling, squared_dos
from fermisea.physics.free_electrons import fermi_level
from fermisea.physics.tail import Tail

VOLUME = 16.6
ELECTRONS = 3.0
FERMI_ENERGY = float(units.KINETIC * (3 * math.pi**2 * ELECTRONS / VOLUME) ** (2 / 3))
STATES = 1.5 * ELECTRONS / FERMI_ENERGY**1.5
"""Density of states of the gas over the root of the energy, 1/eV^1.5."""


def free_electrons(top: float = 45.0, spacing: float = 0.2, broadening: float = 0.2, **options) -> DensityOfStates:
    """Three free electrons in 16.6 A^3, in a grid with its Fermi energy between two grid energies."""
    grid = EnergyGrid(-2.0, spacing, round((top + 2.0) / spacing))
    x, w = np.polynomial.hermite_e.hermegauss(60)
    shifted = np.clip(grid.energies[:, None] - broadening * x, 0, None)
    values = STATES * np.sqrt(shifted) @ w / w.sum()
    return DensityOfStates(grid.energies, values, broadening, volume=VOLUME, **options)


def exact(mu: float, temperature: float) -> float:
    """The integral of D^2 (-df/deps) of the gas by scipy, 1/eV^2."""
    kt = constants.k / constants.e * temperature

    def integrand(x: float) -> float:
        return STATES**2 * max(mu + kt * x, 0.0) / (4 * math.cosh(x / 2) ** 2)

    low = -min(mu / kt, 60.0)
    return quad(integrand, low, 60.0, epsabs=0, epsrel=1e-11, limit=200)[0]


@pytest.mark.parametrize("temperature", [50.0, 300.0, 1000.0, 10_000.0, 30_000.0])
@pytest.mark.parametrize("broadening", [0.0, 0.2])
def test_the_squared_density_of_free_electrons_is_the_one_of_quadrature(temperature, broadening):
    dos = free_electrons(top=80.0, broadening=broadening)
    mu = dos.fermi_level(ELECTRONS, temperature)
    assert squared_dos(dos, mu, temperature) == pytest.approx(exact(mu, temperature), rel=1e-5)


def test_the_width_of_cold_electrons_is_far_below_the_spacing_of_the_energies():
    """The integrand is narrower than the spacing: D^2 between the energies counts, not D^2 at the energies."""
    dos = free_electrons(spacing=0.5, broadening=0.0)
    for mu in (9.1, 9.25, 9.37):
        assert units.thermal_energy(50.0) < 0.01 * dos.energy_grid.spacing
        assert squared_dos(dos, mu, 50.0) == pytest.approx(STATES**2 * mu, rel=1e-6)


def test_cold_electrons_have_allens_coupling():
    """G = pi hbar k_B lambda<omega^2> D(eps_F) / V, in SI units and with the constants of scipy."""
    dos, lambda_omega2 = free_electrons(), 186.0
    per_volume = 1.5 * ELECTRONS / FERMI_ENERGY / constants.e / (VOLUME * 1e-30)  # 1/(J m^3)
    omega2 = lambda_omega2 * (1e-3 * constants.e / constants.hbar) ** 2  # 1/s^2
    expected = math.pi * constants.hbar * constants.k * omega2 * per_volume
    (found,) = units.COUPLING * electron_phonon_coupling(dos, ELECTRONS, [COLD], lambda_omega2)
    assert found == pytest.approx(expected, rel=1e-3)
    # published values for aluminium, whose density of states is close to this one, lie around 2.5e17 W/(m^3 K)
    assert 2.2e17 < found < 3.2e17


@pytest.mark.parametrize("broadening", [0.1, 0.3])
def test_the_broadening_has_no_effect_on_the_coupling(broadening):
    temperatures = [300.0, 5000.0, 20_000.0]
    found = electron_phonon_coupling(free_electrons(broadening=broadening), ELECTRONS, temperatures, 186.0)
    integrals = np.array([exact(fermi_level(ELECTRONS / VOLUME, t), t) for t in temperatures])
    expected = coupling_factor(186.0) * integrals / (1.5 * ELECTRONS / FERMI_ENERGY * VOLUME)
    np.testing.assert_allclose(found, expected, rtol=3e-5)


def test_a_peak_in_the_density_of_states_counts_twice():
    """A Gaussian d band below eps_F: with tau_e, D^2 rises as in noble metals, and faster than D."""
    grid = EnergyGrid(-12.0, 0.1, 300)
    values = 0.3 / (1 + np.exp(-4 * (grid.energies + 9))) + 3 * np.exp(-((grid.energies + 3) ** 2) / (2 * 0.8**2))
    dos = DensityOfStates(grid.energies, values, 0.0, volume=17.0)
    electrons = dos.electrons(0.0, 300.0)
    cold, hot = (dos.fermi_level(electrons, t) for t in (300.0, 10_000.0))
    kt = units.thermal_energy(10_000.0)

    def integrand(energy: float) -> float:
        d = 0.3 / (1 + math.exp(-4 * (energy + 9))) + 3 * math.exp(-((energy + 3) ** 2) / (2 * 0.8**2))
        return d**2 / (4 * kt * math.cosh((energy - hot) / (2 * kt)) ** 2)

    reference = quad(integrand, -12.0, 12.0, points=[-9, -3, 0], epsabs=0, epsrel=1e-10, limit=300)[0]
    assert squared_dos(dos, hot, 10_000.0) == pytest.approx(reference, rel=1e-5)
    assert squared_dos(dos, cold, 300.0) == pytest.approx(0.09, rel=0.05)
    one, two = electron_phonon_coupling(dos, electrons, [300.0, 10_000.0], 23.0)
    assert two > 2 * one


def test_a_tail_continues_the_integral_above_the_grid():
    bare, high = free_electrons(top=16.0), free_electrons(top=80.0)
    tail = Tail.of(bare.energy_grid, bare.dos / VOLUME)
    assert tail is not None
    with_tail = DensityOfStates(bare.energies, bare.dos, bare.broadening, volume=VOLUME, tail=tail)
    expected = squared_dos(high, 9.0, 30_000.0)
    assert squared_dos(with_tail, 9.0, 30_000.0) == pytest.approx(expected, rel=1e-3)
    assert squared_dos(bare, 9.0, 30_000.0) < 0.97 * expected


def test_the_rule_of_mala_integrates_the_straight_lines_between_the_energies():
    grid = EnergyGrid(-2.0, 0.5, 61)
    dos = DensityOfStates(grid.energies, 1 + 0.1 * grid.energies, 0.0, "mala", volume=VOLUME)
    kt = units.MALA_BOLTZMANN * 300.0
    # (1 + 0.1 eps)^2 averaged over -df/deps, whose variance is (pi kT)^2 / 3
    expected = (1 + 0.1 * 4.2) ** 2 + 0.01 * (math.pi * kt) ** 2 / 3
    assert squared_dos(dos, 4.2, 300.0) == pytest.approx(expected, rel=1e-9)


def test_bad_input_is_named():
    dos = free_electrons()
    for value in (-186.0, 0.0, math.nan):
        with pytest.raises(InputError, match=r"lambda<omega\^2>: got .* meV\^2, expected a finite number above 0"):
            electron_phonon_coupling(dos, ELECTRONS, [300.0], value)
    with pytest.raises(InputError, match="got the volume None"):
        electron_phonon_coupling(DensityOfStates(dos.energies, dos.dos), ELECTRONS, [300.0], 186.0)
    grid = EnergyGrid(-10.0, 0.1, 300)
    bands = np.exp(-((grid.energies + 5) ** 2)) + np.exp(-((grid.energies - 8) ** 2))
    insulator = DensityOfStates(grid.energies, bands, volume=VOLUME)
    with pytest.raises(InputError, match="states per eV at the Fermi level, expected a metal"):
        electron_phonon_coupling(insulator, float(math.sqrt(math.pi)), [300.0], 186.0)
