"""Laws for kappa_e: numbers of the literature, limits, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fermisea import units
from fermisea.errors import InputError
from fermisea.physics.conductivity import LAWS, conductivity_law

GOLD = {"v_F": 1.39e6, "A": 1.2e7, "B": 1.23e11}
TEMPERATURES = np.array([300.0, 3000.0, 10_000.0])
HEAT_CAPACITY = 67.6 * TEMPERATURES * units.METRE_PER_ANGSTROM**3 / units.ELECTRONVOLT
"""C_e = gamma tau_e of gold, 67.6 J/(m^3 K^2), in eV/(K Angstrom^3)."""


def values(name: str, parameters: dict[str, float], ion_temperature: float = 300.0) -> np.ndarray:
    law = conductivity_law(name, parameters, ion_temperature)
    return units.CONDUCTIVITY * law.conductivity(TEMPERATURES, HEAT_CAPACITY)


def test_linear_law():
    np.testing.assert_allclose(values("linear", {"kappa_0": 318.0}, 450.0), 318.0 * TEMPERATURES / 450.0, rtol=1e-13)


def test_drude_law_of_gold_gives_the_conductivity_of_gold():
    """v_F^2 C_e / (3 (A tau_e^2 + B tau_i)) in SI units; 318 W/(m K) are measured at room temperature."""
    found = values("drude", GOLD)
    rate = 1.2e7 * TEMPERATURES**2 + 1.23e11 * 300.0
    np.testing.assert_allclose(found, 1.39e6**2 * 67.6 * TEMPERATURES / (3 * rate), rtol=1e-12)
    assert found[0] == pytest.approx(344, rel=0.01)


def test_anisimovs_law_of_gold_and_its_limits():
    gold = {"C": 353.0, "b": 0.16, "T_F": 6.42e4}
    found = values("anisimov", gold)
    x, y = 3000.0 / 6.42e4, 300.0 / 6.42e4
    expected = 353 * (x * x + 0.16) ** 1.25 * (x * x + 0.44) * x / (math.sqrt(x * x + 0.092) * (x * x + 0.16 * y))
    assert found[1] == pytest.approx(expected, rel=1e-12)
    assert found[0] == pytest.approx(318, rel=0.05)  # gold at room temperature
    law = conductivity_law("anisimov", gold)
    cold, hot = (law.conductivity(t, t) for t in (np.array([1.0, 2.0]), np.array([1e8, 2e8])))
    assert cold[1] / cold[0] == pytest.approx(2, rel=1e-5)  # tau_e/tau_i of a degenerate metal
    assert hot[1] / hot[0] == pytest.approx(2**2.5, rel=1e-4)  # Spitzer's tau_e^(5/2) of a plasma


def test_bad_input_is_named():
    with pytest.raises(InputError, match=r"got 'spitzer', expected one of linear, drude, anisimov"):
        conductivity_law("spitzer", {})
    with pytest.raises(InputError, match=r"law drude, v_F\^2 .* got the parameters v_F, A, expected v_F, A, B"):
        conductivity_law("drude", {"v_F": 1e6, "A": 1e7})
    with pytest.raises(InputError, match=r"got the parameters none, expected kappa_0"):
        conductivity_law("linear", {})
    with pytest.raises(InputError, match=r"got the parameters kappa_0, b, expected kappa_0"):
        conductivity_law("linear", {"kappa_0": 1.0, "b": 2.0})
    for value in (0.0, -1.0, math.inf):
        with pytest.raises(InputError, match="law linear: got kappa_0 = "):
            conductivity_law("linear", {"kappa_0": value})
    with pytest.raises(InputError, match="law linear: got ion_temperature = 0"):
        conductivity_law("linear", {"kappa_0": 1.0}, 0.0)
    assert {name: law.name for name, law in LAWS.items()} == {name: name for name in ("linear", "drude", "anisimov")}
