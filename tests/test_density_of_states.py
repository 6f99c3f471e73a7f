"""Observables of a density of states: identities, closed forms, MALA's numbers, refusals."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fermisea import units
from fermisea.errors import InputError, WindowError
from fermisea.grid import EnergyGrid
from fermisea.physics.density_of_states import DensityOfStates
from fermisea.physics.window import check_temperature, default_window, highest_electron_temperature

MALA = json.loads((Path(__file__).parent / "data" / "mala-be2-dos.json").read_text())
TEMPERATURES = (50.0, 298.0, 933.0, 10_000.0, 100_000.0)
FERMI_ENERGY = 11.7  # of aluminium's 3 electrons as free ones, eV


def metal(seed: int = 0, broadening: float = 0.2, integration: str = "sharpened") -> DensityOfStates:
    """A random, smooth and positive density of states that begins smoothly inside its window, 4 atoms."""
    grid = EnergyGrid(-6.0, 0.2, 250)
    rng = np.random.default_rng(seed)
    e = grid.energies
    bumps = sum(
        a * np.exp(-0.5 * ((e - c) / 1.5) ** 2) for a, c in zip(rng.uniform(-1, 1, 8), range(-1, 30, 4), strict=True)
    )
    return DensityOfStates(e, (4 + bumps) / (1 + np.exp(-(e + 0.5) / 0.6)), broadening, integration)


def free_electrons(top: float, atoms: int = 1, spacing: float = 0.1, broadening: float = 0.2) -> DensityOfStates:
    """Three free electrons per atom, broadened, in a window that ends ``top`` above their Fermi energy."""
    grid = EnergyGrid(-1.0, spacing, round((FERMI_ENERGY + top + 1.0) / spacing) + 1)
    x, w = np.polynomial.hermite_e.hermegauss(60)
    shifted = np.clip(grid.energies[:, None] - broadening * x, 0, None)
    amplitude = 1.5 * 3 * atoms / FERMI_ENERGY**1.5
    return DensityOfStates(grid.energies, amplitude * np.sqrt(shifted) @ w / np.sqrt(2 * np.pi), broadening)


def free_energy(dos: DensityOfStates, electrons: float, temperature: float) -> float:
    mu = dos.fermi_level(electrons, temperature)
    return dos.band_energy(mu, temperature) - temperature * dos.entropy(mu, temperature)


def slope(function, at: float, step: float) -> float:
    near, far = function(at + step) - function(at - step), function(at + 2 * step) - function(at - 2 * step)
    return (8 * near - far) / (12 * step)


@pytest.mark.parametrize("integration", ["sharpened", "mala"])
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_fermi_level_holds_the_electrons_exactly(temperature: float, integration: str) -> None:
    dos = metal(1, integration=integration)
    for electrons in (0.01, 1.0, 12.0, 47.3, 130.0):
        mu = dos.fermi_level(electrons, temperature)
        assert dos.electrons(mu, temperature) == pytest.approx(electrons, abs=1e-12 * max(electrons, 1))
        assert dos.weights(mu, temperature).electrons.weights @ dos.dos == pytest.approx(electrons, rel=1e-12)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    temperature=st.floats(50.0, 1e5),
    first=st.floats(0.5, 60.0),
    more=st.floats(1e-3, 20.0),
    broadening=st.sampled_from([0.0, 0.2]),
)
def test_fermi_level_rises_with_the_electrons(
    seed: int, temperature: float, first: float, more: float, broadening: float
) -> None:
    dos = metal(seed, broadening)
    assert dos.fermi_level(first + more, temperature) > dos.fermi_level(first, temperature)


@pytest.mark.parametrize("integration", ["sharpened", "mala"])
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_entropy_is_the_slope_of_the_free_energy(temperature: float, integration: str) -> None:
    dos = metal(2, integration=integration)
    entropy = dos.entropy(dos.fermi_level(12.0, temperature), temperature)
    assert entropy > 0
    derivative = slope(lambda t: free_energy(dos, 12.0, t), temperature, 0.05 * temperature)
    assert derivative == pytest.approx(-entropy, rel=1e-6, abs=1e-13)


@pytest.mark.parametrize("electrons", [3.0, 12.0, 40.0])
def test_fermi_level_is_the_slope_of_the_free_energy_in_the_electrons(electrons: float) -> None:
    dos = metal(3)
    derivative = slope(lambda n: free_energy(dos, n, 2000.0), electrons, 0.02)
    assert derivative == pytest.approx(dos.fermi_level(electrons, 2000.0), rel=1e-8)


@pytest.mark.parametrize("integration", ["sharpened", "mala"])
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_heat_capacity_is_the_slope_of_the_internal_energy(temperature: float, integration: str) -> None:
    dos = metal(4, integration=integration)
    step = max(0.02 * temperature, 4.0)  # K; in smaller ones the rounding of the Fermi level, 3e-13 eV, shows
    derivative = slope(lambda t: dos.band_energy(dos.fermi_level(12.0, t), t), temperature, step)
    assert dos.heat_capacity(12.0, temperature) == pytest.approx(derivative, rel=2e-6)
    heat = temperature * slope(lambda t: dos.entropy(dos.fermi_level(12.0, t), t), temperature, step)
    assert dos.heat_capacity(12.0, temperature) == pytest.approx(heat, rel=2e-6)


def test_constant_density_of_states_has_closed_forms() -> None:
    """mu = kT ln(exp(N/(D kT)) - 1) above the band's bottom (electrons in two dimensions)."""
    grid, height, electrons = EnergyGrid(-2.0, 0.25, 600), 0.6, 3.0
    dos = DensityOfStates(grid.energies, np.full(grid.size, height))
    for temperature in (50.0, 3000.0, 30_000.0):
        kt = units.thermal_energy(temperature)
        x = electrons / (height * kt)
        assert dos.fermi_level(electrons, temperature) == pytest.approx(
            -2.0 + kt * (x + np.log1p(-np.exp(-x))), abs=1e-10
        )
    mu, t = dos.fermi_level(electrons, 300.0), 300.0
    linear = np.pi**2 / 3 * units.BOLTZMANN**2 * height * t
    assert dos.entropy(mu, t) == pytest.approx(linear, rel=1e-10)
    assert dos.heat_capacity(electrons, t) == pytest.approx(linear, rel=1e-8)
    energy = (electrons**2 / height) / 2 - 2.0 * electrons + linear * t / 2
    assert dos.band_energy(mu, t) == pytest.approx(energy, rel=1e-10)


def test_free_electrons_follow_sommerfeld() -> None:
    dos, t = free_electrons(15.0), 2000.0
    kt = units.thermal_energy(t)
    assert dos.fermi_level(3.0, t) == pytest.approx(FERMI_ENERGY - np.pi**2 / 12 * kt**2 / FERMI_ENERGY, abs=2e-4)
    gamma = np.pi**2 / 2 * units.BOLTZMANN**2 * 3 / FERMI_ENERGY
    assert dos.heat_capacity(3.0, t) == pytest.approx(gamma * t, rel=1e-3)
    assert free_energy(dos, 3.0, 300.0) == pytest.approx(0.6 * 3 * FERMI_ENERGY - gamma * 300.0**2 / 2, abs=2e-3)


@pytest.mark.parametrize("temperature", list(MALA["observables"]))
def test_mala_integration_gives_malas_numbers(temperature: str) -> None:
    dos = DensityOfStates(MALA["energies"], MALA["dos"], integration="mala")
    expected, t = MALA["observables"][temperature], float(temperature)
    assert pytest.approx(MALA["kB"], rel=1e-15) == units.MALA_BOLTZMANN
    mu = dos.fermi_level(MALA["electrons"], t)
    assert mu == pytest.approx(expected["fermi_level"], abs=1e-9)
    assert dos.band_energy(mu, t) == pytest.approx(expected["band_energy"], abs=1e-9)
    assert -t * dos.entropy(mu, t) == pytest.approx(expected["minus_TS"], abs=1e-9)


def test_in_a_gap_the_fermi_level_stays_between_the_bands() -> None:
    """Sharpened counts overshoot at a band's edge; the solution next to the plain one is meant."""
    grid, s = EnergyGrid(-4.0, 0.2, 100), 0.2
    peaks = [2.0 * np.exp(-0.5 * ((grid.energies - c) / s) ** 2) / (np.sqrt(2 * np.pi) * s) for c in (1.03, 6.41)]
    dos = DensityOfStates(grid.energies, sum(peaks), s)
    for t in (100.0, 1000.0, 5000.0):
        assert 2.0 < dos.fermi_level(2.0, t) < 5.5
    assert dos.fermi_level(2.0, 5000.0) == pytest.approx((1.03 + 6.41) / 2, abs=0.1)
    assert dos.fermi_level(3.9, 300.0) > 5.5
    for t in (1.0, 50.0, 300.0):
        assert dos.heat_capacity(2.0, t) == pytest.approx(0.0, abs=1e-3 * units.BOLTZMANN)


def test_nothing_is_remembered_between_temperatures() -> None:
    used, fresh = metal(5), metal(5)
    for t in (10_000.0, 300.0, 10_000.0):
        used.heat_capacity(12.0, t)
        mu = used.fermi_level(12.0, t)
        assert mu == fresh.fermi_level(12.0, t)
        assert used.entropy(mu, t) == metal(5).entropy(mu, t)


def test_values_are_kept_apart_from_the_arrays_they_came_from() -> None:
    energies, values = np.linspace(0, 10, 51), np.ones(51)
    dos = DensityOfStates(energies, values)
    before = dos.electrons(5.0, 300.0)
    energies *= 2
    values[:] = 7
    assert dos.electrons(5.0, 300.0) == before
    with pytest.raises(ValueError, match="read-only"):
        dos.dos[0] = 1.0


def test_lists_are_accepted() -> None:
    dos = DensityOfStates(list(range(12)), [1] * 12)
    assert dos.electrons(6.0, 50.0) == pytest.approx(6.0, abs=1e-9)


NAN = [1.0] * 11 + [float("nan")]


@pytest.mark.parametrize(
    ("energies", "values", "options", "words"),
    [
        (range(12), [1.0] * 11, {}, "one value for each energy"),
        ([[0.0, 1.0]], [[0.0, 1.0]], {}, "one value for each energy"),
        (range(12), NAN, {}, "not finite"),
        ([0.0, *NAN[:10], float("inf")], [1.0] * 12, {}, "not finite"),
        ([0, 1, 2, 3, 4, 5.5, 6], [1.0] * 7, {}, "got unequal energy steps"),
        (range(12, 0, -1), [1.0] * 12, {}, "got unequal energy steps"),
        (range(5), [1.0] * 5, {}, "at least 6"),
        ([], [], {}, "at least 6"),
        (range(12), [1.0] * 12, {"broadening": -0.1}, "broadening"),
        (range(12), [1.0] * 12, {"broadening": float("nan")}, "broadening"),
        (range(12), [1.0] * 12, {"integration": "trapezoid"}, "'sharpened' or 'mala'"),
    ],
)
def test_unusable_input_is_refused(energies, values, options: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        DensityOfStates(np.array(energies, dtype=float), np.array(values, dtype=float), **options)


def test_electrons_that_the_window_cannot_hold() -> None:
    dos = DensityOfStates(np.linspace(0, 10, 51), np.ones(51))
    with pytest.raises(InputError, match=r"12 electrons, but the energy window \[0.00, 10.00\] eV holds only 10.000"):
        dos.fermi_level(12, 300.0)
    for electrons in (0.0, -3.0, float("nan")):
        with pytest.raises(InputError, match="above 0"):
            dos.fermi_level(electrons, 300.0)
    with pytest.raises(InputError, match="electron temperature"):
        dos.fermi_level(5.0, 0.0)


# Truncation of the free energy of free electrons with aluminium's density, meV/atom, by tau_e and top above mu (eV).
TRUNCATION = {
    (10_000.0, 5.0): 1.2,
    (15_000.0, 5.0): 18,
    (15_000.0, 7.5): 2.6,
    (20_000.0, 7.5): 19,
    (20_000.0, 10.0): 4.9,
    (30_000.0, 10.0): 72,
    (30_000.0, 15.0): 11,
    (30_000.0, 20.0): 1.7,
}


@pytest.mark.parametrize(("temperature", "top"), list(TRUNCATION))
def test_truncation_of_the_free_energy(temperature: float, top: float) -> None:
    wide = free_electrons(60.0)
    lost = free_energy(free_electrons(top), 3.0, temperature) - free_energy(wide, 3.0, temperature)
    assert lost * 1e3 == pytest.approx(TRUNCATION[temperature, top], rel=0.3)


@pytest.mark.parametrize("top", [5.0, 7.5, 10.0, 15.0, 20.0])
@pytest.mark.parametrize("atoms", [1, 32])
def test_at_the_highest_temperature_one_mev_per_atom_is_cut_off(top: float, atoms: int) -> None:
    dos, wide = free_electrons(top, atoms), free_electrons(60.0, atoms)
    highest = highest_electron_temperature(dos, 3.0 * atoms, atoms)
    lost = (free_energy(dos, 3.0 * atoms, highest) - free_energy(wide, 3.0 * atoms, highest)) / atoms
    assert 0.6e-3 < lost < 1.1e-3


@pytest.mark.parametrize("temperature", [1e3, 3e4, 1.5e5, 1e6, 1e7])
def test_the_default_window_serves_the_temperature_that_it_is_made_for(temperature: float) -> None:
    """At 150 000 K and above, the Fermi level lies below the bottom of the spectrum."""
    spacing = max(0.1, 0.2 * units.thermal_energy(temperature))
    far = free_electrons(40 * units.thermal_energy(temperature) + 20, spacing=spacing, broadening=2 * spacing)
    level = far.fermi_level(3.0, temperature)
    window = default_window(
        0.0, level, spacing=spacing, broadening=2 * spacing, highest_electron_temperature=temperature
    )
    dos = free_electrons(window.stop - FERMI_ENERGY, spacing=spacing, broadening=2 * spacing)
    assert highest_electron_temperature(dos, 3.0, 1, temperature) > temperature


def test_highest_temperature_rises_with_the_window() -> None:
    temperatures = [highest_electron_temperature(free_electrons(top), 3.0, 1) for top in (1, 2, 5, 10, 20, 30)]
    assert (np.diff(temperatures) > 0).all()
    assert 9_000 < temperatures[2] < 11_000


def test_a_window_that_ends_in_a_gap_is_not_endless() -> None:
    grid = EnergyGrid(-4.0, 0.2, 80)
    band = np.exp(-0.5 * ((grid.energies - 1.0) / 0.5) ** 2)
    assert highest_electron_temperature(DensityOfStates(grid.energies, band, 0.2), 1.0, 1) < 50_000


def test_a_window_that_ends_below_the_fermi_level_serves_no_temperature() -> None:
    dos = DensityOfStates(np.linspace(-2, 10, 61), np.ones(61))
    assert highest_electron_temperature(dos, 11.99, 1) == 0.0


def test_temperature_beyond_the_window_is_refused_or_warned_of() -> None:
    grid = EnergyGrid(-5.0, 0.25, 81)
    assert check_temperature(grid, 9000.0, 9000.0) == []
    words = r"got 12000 K, but the energy window \[-5.00, 15.00\] eV is valid up to 9000 K"
    with pytest.raises(WindowError, match=words):
        check_temperature(grid, 9000.0, 12_000.0)
    (sentence,) = check_temperature(grid, 9000.0, 12_000.0, allow_beyond_window=True)
    assert re.search(words, sentence)
    with pytest.raises(InputError, match="above 0 K"):
        check_temperature(grid, 9000.0, -1.0)
