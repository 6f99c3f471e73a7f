"""Occupation, its derivatives and its entropy: identities, and 50-digit values from mpmath."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fermisea import units
from fermisea.errors import InputError
from fermisea.physics.fermi_dirac import (
    entropy_density,
    fermi_level_of_states,
    occupation,
    occupation_derivatives,
    sigma,
)

X = np.concatenate([np.linspace(-45, 45, 181), [-700.0, 700.0]])


def exact_occupation(x):
    return 1 / (1 + mpmath.exp(x))


def test_occupation_and_its_hole_add_up_to_one() -> None:
    energies, mu, t = np.linspace(-3, 9, 97), 2.7, 900.0
    assert occupation(energies, mu, t) + occupation(2 * mu - energies, mu, t) == pytest.approx(1.0, abs=1e-15)
    assert occupation(mu, mu, t) == 0.5
    assert (np.diff(occupation(energies, mu, 20_000.0)) < 0).all()


@pytest.mark.parametrize("temperature", [1e-3, 50.0, 1e5])
def test_far_energies_are_full_or_empty_without_overflow(temperature: float) -> None:
    energies = np.array([-1e6, 1e6])
    assert occupation(energies, 0.0, temperature).tolist() == [1.0, 0.0]
    assert entropy_density(energies, 0.0, temperature).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_temperature_must_be_positive(temperature: float) -> None:
    with pytest.raises(InputError, match="electron temperature"):
        occupation(0.0, 0.0, temperature)


def test_entropy_keeps_its_digits_in_the_tails() -> None:
    with mpmath.workdps(400):
        for x in (0.0, 1e-9, -0.3, 2.0, -17.0, 36.0, 120.0, -600.0):
            f = exact_occupation(mpmath.mpf(x))
            exact = -(f * mpmath.log(f) + (1 - f) * mpmath.log(1 - f))
            assert float(sigma(np.array(x))) == pytest.approx(float(exact), rel=1e-14)


def test_entropy_is_even_and_log_two_at_the_fermi_level() -> None:
    assert sigma(X) == pytest.approx(sigma(-X), rel=1e-15)
    assert float(entropy_density(1.3, 1.3, 300.0)) == pytest.approx(np.log(2), rel=1e-15)


def test_derivatives_of_the_occupation() -> None:
    highest = 8
    points = np.array([-40.0, -11.0, -2.5, -0.1, 0.0, 0.7, 3.0, 9.0, 40.0])
    derivatives = occupation_derivatives(points, highest)
    assert len(derivatives) == highest + 1
    with mpmath.workdps(60):
        for i, x in enumerate(points):
            coefficients = mpmath.taylor(exact_occupation, mpmath.mpf(x), highest)
            for m in range(highest + 1):
                exact = float(coefficients[m] * mpmath.factorial(m))
                assert derivatives[m][i] == pytest.approx(exact, rel=1e-11, abs=1e-14 * np.exp(-abs(x)))


def test_derivative_of_the_entropy_is_x_times_that_of_the_occupation() -> None:
    x, step = X[np.abs(X) < 20], 1e-4
    slope = (8 * (sigma(x + step) - sigma(x - step)) - (sigma(x + 2 * step) - sigma(x - 2 * step))) / (12 * step)
    assert slope == pytest.approx(x * occupation_derivatives(x, 1)[1], abs=1e-11)


def test_integrals_over_all_energies() -> None:
    x, w = np.polynomial.legendre.leggauss(400)
    x, w = 45 * x, 45 * w
    assert w @ -occupation_derivatives(x, 1)[1] == pytest.approx(1.0, rel=1e-13)
    assert w @ sigma(x) == pytest.approx(np.pi**2 / 3, rel=1e-13)
    assert w @ -(x**2 * occupation_derivatives(x, 1)[1]) == pytest.approx(np.pi**2 / 3, rel=1e-13)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    filling=st.floats(0.01, 0.99),
    temperature=st.floats(50.0, 1e5),
)
def test_level_of_states_holds_the_electrons(seed: int, filling: float, temperature: float) -> None:
    rng = np.random.default_rng(seed)
    values, weights = rng.uniform(-5, 20, (7, 9)), np.repeat(rng.uniform(0.1, 1.0, (7, 1)), 9, axis=1)
    electrons = filling * weights.sum()
    mu = fermi_level_of_states(values.ravel(), weights.ravel(), electrons, temperature)
    assert np.sum(weights * occupation(values, mu, temperature)) == pytest.approx(electrons, abs=1e-10)


def test_level_of_two_states_lies_between_them() -> None:
    assert fermi_level_of_states([1.0, 3.0], [2.0, 2.0], 2.0, 500.0) == pytest.approx(2.0, abs=1e-12)
    kt = units.thermal_energy(500.0)
    assert fermi_level_of_states([1.0], [2.0], 0.5, 500.0) == pytest.approx(1.0 - kt * np.log(3), abs=1e-12)


@pytest.mark.parametrize("electrons", [0.0, -1.0, 4.0, 5.0, float("nan")])
def test_states_that_cannot_hold_the_electrons(electrons: float) -> None:
    with pytest.raises(InputError, match=r"less than 4\.0, the capacity of the states"):
        fermi_level_of_states([1.0, 3.0], [2.0, 2.0], electrons, 500.0)
