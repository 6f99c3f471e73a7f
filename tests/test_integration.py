"""Integration weights against mpmath and against spectra whose unbroadened integrals are known."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from scipy.special import erf

from fermisea import units
from fermisea.grid import EnergyGrid
from fermisea.physics.fermi_dirac import entropy_density, fermi_level_of_states, occupation
from fermisea.physics.integration import hat_integration, sharpened_integration

TEMPERATURES = (50.0, 300.0, 5000.0, 100_000.0)


class Gaussians:
    """A smooth density of states as a sum of Gaussians, which stays one when it is broadened."""

    def __init__(self, seed: int, low: float, high: float) -> None:
        rng = np.random.default_rng(seed)
        self.heights = rng.uniform(0.3, 1.0, 6)
        self.centres = np.linspace(low, high, 6) + rng.uniform(-1, 1, 6)
        self.widths = rng.uniform(1.8, 3.0, 6)

    def sample(self, energies: np.ndarray, broadening: float = 0.0) -> np.ndarray:
        widths = np.hypot(self.widths, broadening)
        terms = self.heights * self.widths / widths * np.exp(-0.5 * ((energies[:, None] - self.centres) / widths) ** 2)
        return terms.sum(axis=1)

    def exact(self, mu: float, temperature: float, low: float, high: float) -> list[float]:
        """Integrals of f D, f eps D and sigma D (eV/K) by mpmath's tanh-sinh quadrature between many splits."""
        kt = units.thermal_energy(temperature)
        splits = [mu + sign * kt * x for x in (0, 1, 2, 4, 8, 16, 32, 64) for sign in (-1, 1)]
        ends = sorted({e for e in [*splits, *np.linspace(low, high, 12).tolist()] if low <= e <= high})
        parameters = list(zip(self.heights.tolist(), self.centres.tolist(), self.widths.tolist(), strict=True))

        def states(e: float) -> float:
            return sum(h * math.exp(-(((e - c) / w) ** 2) / 2) for h, c, w in parameters)

        def filled(e: float) -> float:
            return states(e) * (1 - math.tanh((e - mu) / (2 * kt))) / 2

        def disorder(e: float) -> float:
            x = abs(e - mu) / kt
            return states(e) * (math.log1p(math.exp(-x)) + x * (1 - math.tanh(x / 2)) / 2)

        number = mpmath.fp.quad(filled, ends)
        return [number, mpmath.fp.quad(lambda e: e * filled(e), ends), units.BOLTZMANN * mpmath.fp.quad(disorder, ends)]


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_sharp_weights_integrate_a_smooth_spectrum_over_the_window(temperature: float) -> None:
    dos, grid, mu = Gaussians(1, -4.0, 24.0), EnergyGrid(-5.0, 0.2, 156), 7.13
    weights, values = sharpened_integration(grid).weights(mu, temperature), dos.sample(grid.energies)
    number, energy, entropy = dos.exact(mu, temperature, grid.start, grid.stop)
    assert weights.electrons.weights @ values == pytest.approx(number, rel=1e-7)
    assert weights.band_energy.weights @ values == pytest.approx(energy, rel=1e-6)
    assert weights.entropy.weights @ values == pytest.approx(entropy, rel=1e-6)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_sharpened_weights_take_the_broadening_back(temperature: float) -> None:
    dos, grid, mu, s = Gaussians(2, 2.0, 18.0), EnergyGrid(-20.0, 0.2, 301), 8.37, 0.2
    weights, values = sharpened_integration(grid, s).weights(mu, temperature), dos.sample(grid.energies, s)
    number, energy, entropy = dos.exact(mu, temperature, -25.0, 45.0)
    assert weights.electrons.weights @ values == pytest.approx(number, rel=1e-6)
    assert weights.band_energy.weights @ values == pytest.approx(energy, rel=1e-6)
    assert weights.entropy.weights @ values == pytest.approx(entropy, rel=1e-6)


def test_unsharpened_weights_would_be_wrong_by_the_known_shift() -> None:
    """E_b - mu N of a spectrum broadened by s is off by -s^2 D(mu)/2."""
    dos, grid, mu, s, t = Gaussians(2, 2.0, 18.0), EnergyGrid(-20.0, 0.2, 301), 8.37, 0.2, 300.0
    plain, values = sharpened_integration(grid, s, order=0).weights(mu, t), dos.sample(grid.energies, s)
    number, energy, _ = dos.exact(mu, t, -25.0, 45.0)
    shift = (plain.band_energy - mu * plain.electrons).weights @ values - (energy - mu * number)
    assert shift == pytest.approx(-(s**2) * dos.sample(np.array([mu]))[0] / 2, rel=0.02)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_each_order_removes_one_more_power_of_the_variance(order: int) -> None:
    dos, grid, mu, t = Gaussians(3, 2.0, 18.0), EnergyGrid(-20.0, 0.1, 601), 6.1, 5000.0
    exact = sharpened_integration(grid).weights(mu, t).band_energy.weights @ dos.sample(grid.energies)

    def error(s: float) -> float:
        return abs(
            sharpened_integration(grid, s, order).weights(mu, t).band_energy.weights @ dos.sample(grid.energies, s)
            - exact
        )

    assert np.log2(error(0.8) / error(0.4)) == pytest.approx(2 * order + 2, abs=0.4)


def test_any_symmetric_kernel_is_taken_back_to_first_order() -> None:
    """The kernel of two spikes at +-s, whose fourth moment is not that of a Gaussian."""
    dos, grid, mu, t = Gaussians(4, 2.0, 18.0), EnergyGrid(-20.0, 0.1, 601), 9.2, 3000.0
    exact = sharpened_integration(grid).weights(mu, t).electrons.weights @ dos.sample(grid.energies)

    def error(s: float) -> float:
        values = (dos.sample(grid.energies + s) + dos.sample(grid.energies - s)) / 2
        return abs(sharpened_integration(grid, s).weights(mu, t).electrons.weights @ values - exact)

    assert np.log2(error(0.8) / error(0.4)) == pytest.approx(4, abs=0.4)


def test_filled_states_count_alike_wherever_they_lie() -> None:
    """Peaks of one electron each, as near to the window's bottom as an engine puts them."""
    s = h = 0.5
    grid = EnergyGrid(-10.0, h, 60)
    weights = sharpened_integration(grid, s).weights(15.0, 1000.0)
    for centre in grid.start + 3.5 * s + np.linspace(0, 3, 13):
        peak = np.exp(-0.5 * ((grid.energies - centre) / s) ** 2) / (np.sqrt(2 * np.pi) * s)
        assert weights.electrons.weights @ peak == pytest.approx(1.0, abs=4e-4)
        assert weights.band_energy.weights @ peak == pytest.approx(centre, abs=5e-3)
    deep = grid.energies < 15.0 - 9.0
    assert weights.electrons.weights[deep] == pytest.approx(h, rel=1e-4)
    assert weights.band_energy.weights[deep] == pytest.approx(h * grid.energies[deep], abs=1e-3)


@pytest.mark.parametrize(
    ("temperature", "width", "bar"),
    [(298.0, 0.2, 0.5), (933.0, 0.2, 0.5), (10_000.0, 0.5, 0.02), (30_000.0, 1.0, 0.02)],
)
def test_free_energy_of_discrete_bands(temperature: float, width: float, bar: float) -> None:
    """Free-electron bands of a cell of 4 Al atoms on 8 x 8 x 8 k-points with random shifts; meV/atom."""
    rng = np.random.default_rng(5)
    b = 2 * np.pi / 4.05
    k = np.stack(np.meshgrid(*[np.arange(8) / 8 - 0.4375] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    shells = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3, indexing="ij"), axis=-1).reshape(1, -1, 3)
    states = units.KINETIC * b**2 * np.sum((k + shells) ** 2, axis=-1)
    states = np.sort((states + rng.normal(scale=0.3, size=states.shape)).ravel())
    states, weight = states[states < 60.0], 2 / 512
    mu = fermi_level_of_states(states, np.full(states.size, weight), 12.0, temperature)
    f = occupation(states, mu, temperature)
    number = weight * f.sum()
    entropy = units.BOLTZMANN * weight * entropy_density(states, mu, temperature).sum()
    grand = weight * (f @ states) - temperature * entropy - mu * number
    top = mu + 12 * units.thermal_energy(temperature) + 2
    start = states[0] - 4 * width
    grid = EnergyGrid(start, width, int((top - start) / width) + 1)
    near = states[states < top + 7 * width]
    values = np.array([np.exp(-0.5 * ((e - near) / width) ** 2).sum() for e in grid.energies])
    values *= weight / (np.sqrt(2 * np.pi) * width)

    def error(order: int) -> float:
        w = sharpened_integration(grid, width, order).weights(mu, temperature)
        return float((w.band_energy - temperature * w.entropy - mu * w.electrons).weights @ values - grand) / 4 * 1e3

    assert abs(error(2)) < bar
    assert abs(error(0)) > 5


@pytest.mark.parametrize(("temperature", "width"), [(298.0, 0.2), (933.0, 0.2), (10_000.0, 0.5)])
def test_sharpening_hardly_amplifies_noise(temperature: float, width: float) -> None:
    grid = EnergyGrid(-5.0, width, round(30 / width))
    for mu in 8.0 + width * np.linspace(0, 1, 5):
        plain, sharp = (sharpened_integration(grid, width, order).weights(mu, temperature) for order in (0, 2))
        assert np.linalg.norm(sharp.electrons.weights) < 1.05 * np.linalg.norm(plain.electrons.weights)
        plain_energy, sharp_energy = (
            np.linalg.norm((w.band_energy - mu * w.electrons).weights) for w in (plain, sharp)
        )
        assert sharp_energy < 1.01 * plain_energy


@pytest.mark.parametrize("temperature", [50.0, 2000.0, 60_000.0])
@pytest.mark.parametrize("broadening", [0.0, 0.3])
def test_slopes_are_derivatives_of_the_weights(temperature: float, broadening: float) -> None:
    grid, mu = EnergyGrid(-6.0, 0.3, 100), 7.77
    rule = sharpened_integration(grid, broadening)
    slopes = rule.slopes(mu, temperature)

    def slope(at, step: float) -> np.ndarray:
        return (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step)

    kt = units.thermal_energy(temperature)
    level = slope(lambda d: rule.weights(mu + d, temperature).electrons.weights, 0.01 * kt)
    assert slopes.level.weights == pytest.approx(level, abs=1e-6 * np.abs(level).max())
    heat = slope(lambda d: rule.weights(mu, temperature + d).electrons.weights, 0.01 * temperature)
    assert slopes.temperature.weights == pytest.approx(heat, abs=1e-6 * np.abs(heat).max())
    energy = slope(lambda d: rule.weights(mu, temperature + d).band_energy.weights, 0.01 * temperature)
    assert slopes.band_energy.weights == pytest.approx(energy, abs=1e-6 * np.abs(energy).max())


@pytest.mark.parametrize("temperature", [50.0, 4000.0, 100_000.0])
@pytest.mark.parametrize("broadening", [0.0, 0.2])
def test_counting_agrees_with_the_weights(temperature: float, broadening: float) -> None:
    grid = EnergyGrid(-3.0, 0.25, 90)
    values = np.random.default_rng(6).uniform(0.5, 1.5, grid.size)
    rule = sharpened_integration(grid, broadening)
    count = rule.counter(values)
    for mu in (-2.9, 4.1, 19.0, 40.0):
        assert count(mu, temperature) == pytest.approx(
            rule.weights(mu, temperature).electrons.weights @ values, abs=1e-11
        )


def test_hats_join_the_values_by_straight_lines() -> None:
    grid, mu, t = EnergyGrid(0.0, 2.0, 6), 5.3, 8000.0
    values = np.random.default_rng(7).uniform(0, 1, grid.size)
    corners = np.concatenate([[-2.0], grid.energies, [12.0]])
    x, w = np.polynomial.legendre.leggauss(40)
    e = ((corners[1:] + corners[:-1])[:, None] / 2 + x).ravel()  # pieces of length 2
    measure = np.tile(w, corners.size - 1)
    line = np.interp(e, corners, np.concatenate([[0.0], values, [0.0]]))
    weights = hat_integration(grid).weights(mu, t)
    t_mala = t * units.MALA_BOLTZMANN / units.BOLTZMANN
    f, s = occupation(e, mu, t_mala), entropy_density(e, mu, t_mala)
    assert weights.electrons.weights @ values == pytest.approx(measure @ (f * line), rel=1e-12)
    assert weights.band_energy.weights @ values == pytest.approx(measure @ (f * e * line), rel=1e-12)
    assert weights.entropy.weights @ values == pytest.approx(units.MALA_BOLTZMANN * measure @ (s * line), rel=1e-12)


def test_a_hat_at_low_temperature_is_cut_at_the_fermi_level() -> None:
    """The area of a triangle of height 1 and half width 2 up to a quarter above its top."""
    weights = hat_integration(EnergyGrid(0.0, 2.0, 6)).weights(4.5, 1.0)
    assert weights.electrons.weights == pytest.approx(
        [2.0, 2.0, 1.0 + 0.5 * (1 + 0.75) / 2, 0.5 * 0.25 / 2, 0.0, 0.0], abs=1e-7
    )


def test_a_broadened_edge_counts_as_the_sharp_one() -> None:
    """The step function convolved with a Gaussian: N of the filled part is exact for the sharp step."""
    grid, s, edge = EnergyGrid(-4.0, 0.2, 80), 0.2, 0.37
    values = 0.5 * (1 + erf((grid.energies - edge) / (np.sqrt(2) * s)))
    assert sharpened_integration(grid, s).weights(8.0, 300.0).electrons.weights @ values == pytest.approx(
        8.0 - edge, abs=1e-6
    )
