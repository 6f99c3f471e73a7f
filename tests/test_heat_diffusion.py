"""Electrons for udkm1Dsim and NTMpy: formulas against the table, and the programs themselves if installed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import sympy
from scipy.integrate import solve_ivp

from fermisea import units
from fermisea.errors import InputError
from fermisea.interop.heat_diffusion import (
    ElectronTable,
    ntmpy_electrons,
    polynomial,
    udkm1dsim_properties,
    write_udkm1dsim,
)

TEMPERATURES = np.linspace(300.0, 20_000.0, 60)
DENSITY = 2700.0
X = TEMPERATURES / 20_000


def table(**changes) -> ElectronTable:
    """Numbers like those of aluminium."""
    values = {
        "electron_temperature": TEMPERATURES,
        "heat_capacity": 6.05e-10 * TEMPERATURES * (1 - 0.25 * X**2 / (1 + X**2)),
        "density": DENSITY,
        "coupling": 2.5e17 / units.COUPLING * (1 + 0.6 * X - 0.3 * X**2),
        "conductivity": 235 / units.CONDUCTIVITY * TEMPERATURES / 300,
    }
    return ElectronTable(**(values | changes))


def evaluated(text: str, *temperatures: np.ndarray) -> np.ndarray:
    """The value of a formula by sympy, with T or with T[0] and T[1]."""
    names = "T_0 T_1" if "[" in text else "T"
    symbols = sympy.symbols(names)
    expression = sympy.sympify(text.replace("[", "_").replace("]", ""))
    return np.broadcast_to(sympy.lambdify(symbols, expression, "numpy")(*temperatures), temperatures[0].shape)


def test_formulas_go_through_the_table():
    found = udkm1dsim_properties(table())
    assert found["highest_electron_temperature"] == 20_000.0
    per_mass = table().heat_capacity * units.ELECTRONVOLT * 1e30 / DENSITY
    assert per_mass[0] == pytest.approx(10.8, rel=0.01)  # J/(kg K), 97 J/(m^3 K^2) times 300 K over the density
    errors = found["relative_errors"]
    for name, expected in (("heat_capacity", per_mass), ("therm_cond", 235 * TEMPERATURES / 300)):
        (text,) = found[name]
        deviation = np.abs(evaluated(text, TEMPERATURES) - expected).max() / expected.max()
        assert deviation == pytest.approx(errors[name], rel=1e-3, abs=1e-9)
        assert deviation < 1e-3
        assert evaluated(text, np.zeros(1)) == pytest.approx(0, abs=1e-12)
    electrons, ions = found["sub_system_coupling"]
    given = evaluated(electrons, TEMPERATURES, np.full(60, 300.0))
    expected = units.COUPLING * table().coupling * (300.0 - TEMPERATURES)  # W/m^3, to the electrons
    np.testing.assert_allclose(given, expected, atol=1.1e-3 * np.abs(expected).max())
    np.testing.assert_allclose(evaluated(ions, TEMPERATURES, np.full(60, 300.0)), -given, rtol=1e-12)


def test_what_is_unknown_is_left_out(tmp_path):
    write_udkm1dsim(tmp_path / "al.json", table(coupling=None, conductivity=None), ("a limit",))
    found = json.loads((tmp_path / "al.json").read_text())
    assert "sub_system_coupling" not in found
    assert "therm_cond" not in found
    assert found["limits"] == ["a limit"]
    assert found["units"]["heat_capacity"] == "J/(kg K)"


def test_a_polynomial_is_exact_where_the_table_is_one():
    cubic = 2.0 + 0.3 * (TEMPERATURES / 1000) + 0.01 * (TEMPERATURES / 1000) ** 3
    formula = polynomial(TEMPERATURES, cubic)
    assert formula.error < 1e-9
    assert formula.text.count("T") == 3
    between = np.array([0.0, 1234.5])
    exact = 2.0 + 0.3 * between / 1000 + 0.01 * (between / 1000) ** 3
    np.testing.assert_allclose(evaluated(formula.text, between), exact, rtol=1e-7)


def test_bad_input_is_named():
    with pytest.raises(InputError, match="fewer than four temperatures"):
        polynomial([1.0, 2.0], [1.0, 2.0])
    with pytest.raises(InputError, match="expected lambda<omega"):
        ntmpy_electrons(table(coupling=None), 300.0)
    with pytest.raises(InputError, match="got a coupling at tau_e = 200 K, expected 300 to 20000 K"):
        ntmpy_electrons(table(), 200.0)


def test_functions_for_ntmpy():
    conductivity, heat_capacity, density, coupling = ntmpy_electrons(table(), 300.0)
    assert conductivity(600.0) == pytest.approx(470.0, rel=1e-12)
    assert conductivity(150.0) == pytest.approx(117.5, rel=1e-12)
    np.testing.assert_allclose(heat_capacity(TEMPERATURES), table().specific_heat, rtol=1e-12)
    assert density == DENSITY
    assert coupling == pytest.approx(2.5e17 * (1 + 0.6 * X[0] - 0.3 * X[0] ** 2), rel=1e-12)


def relaxed(time: float, coupling_of) -> np.ndarray:
    """tau_e and tau_i after a time, s, from 5000 and 300 K, without diffusion."""
    own = table()

    def slopes(_time: float, t: np.ndarray) -> list[float]:
        power = coupling_of(t[0]) * (t[1] - t[0])
        return [power / (DENSITY * np.interp(t[0], TEMPERATURES, own.specific_heat)), -power / (DENSITY * 900.0)]

    return solve_ivp(slopes, (0, time), [5000.0, 300.0], rtol=1e-8, atol=1e-6).y[:, -1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_udkm1dsim_relaxes_the_electrons(tmp_path):
    ud = pytest.importorskip("udkm1Dsim")
    write_udkm1dsim(tmp_path / "al.json", table())
    found = json.loads((tmp_path / "al.json").read_text())
    quantity = ud.u.Quantity
    layer = ud.AmorphousLayer(
        "al",
        "aluminium",
        thickness=quantity(10.0, "nm"),
        density=quantity(found["density"], "kg/m**3"),
        heat_capacity=[*found["heat_capacity"], "900"],
        therm_cond=[*found["therm_cond"], "0"],
        sub_system_coupling=found["sub_system_coupling"],
    )
    sample = ud.Structure("film")
    sample.add_sub_structure(layer, 4)
    heat = ud.Heat(sample, force_recalc=True)
    heat.save_data = heat.disp_messages = heat.progress_bar = False
    heat.heat_diffusion = True
    heat.excitation = {
        "fluence": quantity([0.0], "mJ/cm**2"),
        "delay_pump": quantity([2.0], "ps"),
        "pulse_width": quantity([0.0], "ps"),
    }
    delays = np.linspace(0.0, 1.0, 6)
    start = np.tile([5000.0, 300.0], (4, 1))
    start[0, 0] += 0.01  # without a gradient, the program would leave the temperatures alone
    temperatures, _ = heat.get_temp_map(quantity(delays, "ps"), start)
    expected = relaxed(1e-12, lambda t: np.interp(t, TEMPERATURES, units.COUPLING * table().coupling))
    np.testing.assert_allclose(np.asarray(temperatures)[-1], np.tile(expected, (4, 1)), rtol=3e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_ntmpy_relaxes_the_electrons():
    ntmpy = pytest.importorskip("NTMpy.NTMpy")
    conductivity, heat_capacity, density, coupling = ntmpy_electrons(table(), 2000.0)
    source = ntmpy.source()
    source.spaceprofile, source.timeprofile = "LB", "Gaussian"
    source.fluence, source.FWHM, source.t0 = 0.0, 1e-13, 0.0
    source.optical_penetration_depth = 1e-8
    film = ntmpy.simulation(2, source)
    ions = [lambda t: 1.0 + 0 * t, lambda t: 900.0 + 0 * t]
    film.addLayer(4e-8, 1.0 + 1.0j, [conductivity, ions[0]], [heat_capacity, ions[1]], density, coupling)
    film.changeInit("electron", 5000.0)
    film.changeInit("lattice", 300.0)
    film.final_time, film.time_step = 1e-13, 3e-17
    _, times, found = film.run()
    expected = relaxed(float(times[-1]), lambda _t: coupling)
    middle = np.asarray(found)[:, -1, 10:20]
    assert expected[0] < 4800
    np.testing.assert_allclose(middle.mean(axis=1), expected, rtol=1e-3)
