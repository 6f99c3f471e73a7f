"""Figures hold the numbers that they are given, and come out the same each time."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.collections import PolyCollection

from fermisea import plots
from fermisea.errors import InputError
from fermisea.physics.fermi_dirac import occupation

TEMPERATURES = np.array([10_000.0, 300.0, 1000.0, 3000.0])
ENERGIES = -56.0 - 5e-9 * TEMPERATURES**2


def lines(axis) -> dict[str, np.ndarray]:
    return {line.get_label(): line.get_xydata() for line in axis.get_lines()}


def test_free_energy_is_relative_to_the_coldest_dft_point_and_sorted():
    dft = {1000.0: -56.1, 300.0: -56.0}
    top, bottom = plots.free_energy_figure(TEMPERATURES, ENERGIES, dft=dft).axes
    model = lines(top)["model"]
    assert np.all(np.diff(model[:, 0]) > 0)
    np.testing.assert_allclose(model[:, 0], [0.3, 1.0, 3.0, 10.0])
    np.testing.assert_allclose(model[:, 1], -5e-9 * (np.sort(TEMPERATURES) ** 2 - 300.0**2), atol=1e-12)
    np.testing.assert_allclose(lines(top)["self-consistent DFT"], [[0.3, 0.0], [1.0, -0.1]], atol=1e-12)
    error = lines(bottom)["model − DFT"]
    np.testing.assert_allclose(error, [[0.3, 0.0], [1.0, 1000 * (0.1 - 5e-9 * (1000**2 - 300**2))]], atol=1e-9)


def test_transfer_estimate_is_a_band_in_the_order_of_the_temperatures():
    figure = plots.free_energy_figure(
        TEMPERATURES, ENERGIES, dft={300.0: -56.0, 10_000.0: -56.5}, transfer_error=1e-7 * TEMPERATURES
    )
    band = next(c for c in figure.axes[1].collections if isinstance(c, PolyCollection))
    points = band.get_paths()[0].vertices
    np.testing.assert_allclose(np.abs(points[:, 1]), 0.1 * points[:, 0], atol=1e-12)


def test_the_band_holds_transfer_error_and_spread_in_quadrature():
    figure = plots.free_energy_figure(
        TEMPERATURES,
        ENERGIES,
        dft={300.0: -56.0, 10_000.0: -56.5},
        transfer_error=3e-8 * TEMPERATURES,
        spread=4e-8 * TEMPERATURES,
    )
    band = next(c for c in figure.axes[1].collections if isinstance(c, PolyCollection))
    points = band.get_paths()[0].vertices
    np.testing.assert_allclose(np.abs(points[:, 1]), 0.05 * points[:, 0], atol=1e-12)
    assert band.get_label() == "transfer error and network spread"


def test_the_tail_error_is_part_of_the_estimated_error():
    figure = plots.free_energy_figure(
        TEMPERATURES,
        ENERGIES,
        transfer_error=2e-8 * TEMPERATURES,
        spread=4e-8 * TEMPERATURES,
        tail_error=4e-8 * TEMPERATURES,
    )
    bottom = lines(figure.axes[1])
    for label, slope in (("total", 0.06), ("transfer error", 0.02), ("tail error", 0.04), ("network spread", 0.04)):
        np.testing.assert_allclose(bottom[label], [[t, slope * t] for t in (0.3, 1.0, 3.0, 10.0)], atol=1e-12)


def test_without_dft_the_estimated_error_has_a_panel_of_its_own_without_tau_ref():
    spread = 4e-8 * TEMPERATURES
    figure = plots.free_energy_figure(
        TEMPERATURES, ENERGIES, transfer_error=3e-8 * TEMPERATURES, spread=spread, reference_electron_temperature=1000.0
    )
    bottom = lines(figure.axes[1])
    for label, slope in (("total", 0.05), ("transfer error", 0.03), ("network spread", 0.04)):
        np.testing.assert_allclose(bottom[label], [[t, slope * t] for t in (0.3, 3.0, 10.0)], atol=1e-12)
    (alone,) = lines(plots.free_energy_figure(TEMPERATURES, ENERGIES, transfer_error=spread).axes[1]).keys()
    assert alone == "transfer error (no network error)"


def test_few_predicted_values_are_marks_that_only_a_computed_curve_joins():
    fine = np.linspace(300.0, 10_000.0, 50)
    for curve in (None, (fine, -56.0 - 5e-9 * fine**2)):
        (top,) = plots.free_energy_figure(TEMPERATURES, ENERGIES, curve=curve).axes
        marks = next(line for line in top.get_lines() if line.get_label() == "model")
        assert marks.get_linestyle() == "None"
        drawn = [line for line in top.get_lines() if len(line.get_xdata()) == 50]
        assert len(drawn) == (curve is not None)
    np.testing.assert_allclose(drawn[0].get_ydata(), -5e-9 * (fine**2 - 300.0**2), atol=1e-12)
    (top,) = plots.free_energy_figure(fine, -5e-9 * fine**2).axes
    assert next(line for line in top.get_lines() if line.get_label() == "model").get_linestyle() == "-"


@pytest.mark.parametrize(("per_atom", "unit"), [(True, "1/(eV atom)"), (False, "1/eV")])
def test_the_density_of_states_says_whether_it_is_per_atom(per_atom, unit):
    figure = plots.dos_figure([0.0, 1.0, 2.0], [1.0, 2.0, 3.0], [300.0], [1.0], per_atom=per_atom)
    assert figure.axes[0].get_ylabel() == f"density of states ({unit})"


def test_free_energy_without_dft_has_one_panel():
    assert len(plots.free_energy_figure(TEMPERATURES, ENERGIES, reference_electron_temperature=1000.0).axes) == 1


def test_dft_where_nothing_was_predicted_is_refused():
    with pytest.raises(InputError, match="DFT values at 500 K"):
        plots.free_energy_figure(TEMPERATURES, ENERGIES, dft={300.0: -56.0, 500.0: -56.0})


def test_filled_states_are_dos_times_occupation():
    energies = np.linspace(-5.0, 15.0, 41)
    dos = np.sqrt(np.clip(energies + 4, 0, None))
    figure = plots.dos_figure(energies, dos, [3000.0, 300.0], [7.9, 8.0], dft=1.01 * dos)
    top, bottom = figure.axes
    np.testing.assert_allclose(lines(top)["model"][::10], np.stack([energies - 8.0, dos], axis=1), atol=1e-12)
    np.testing.assert_allclose(lines(top)["DFT"][::10, 1], 1.01 * dos, atol=1e-12)
    curve = lines(bottom)["3000 K"]
    np.testing.assert_allclose(curve[:, 1], occupation(curve[:, 0] + 8.0, 7.9, 3000.0))
    filled = next(line.get_xydata() for line in top.get_lines() if line.get_color() == curve_colour(bottom, "3000 K"))
    np.testing.assert_allclose(filled[:, 1], lines(top)["model"][:, 1] * curve[:, 1], atol=1e-12)


def curve_colour(axis, label: str) -> str:
    return next(line.get_color() for line in axis.get_lines() if line.get_label() == label)


def test_sizes_that_differ_are_refused():
    with pytest.raises(InputError, match="density of states"):
        plots.dos_figure([0.0, 1.0], [1.0, 1.0, 1.0], [300.0], [0.5])
    with pytest.raises(InputError, match="Fermi level"):
        plots.dos_figure([0.0, 1.0], [1.0, 1.0], [300.0, 1000.0], [0.5])


def error_rows() -> list[dict]:
    return [
        {
            "ion_temperature": ion,
            "electron_temperature": electron,
            "free_energy_change_error": 1e-7 * electron,
            "free_energy_error": -1e-3,
            "density_error_percent": 0.5,
            "unseen": ion is None,
        }
        for ion in (933.0, 298.0, None)
        for electron in (1000.0, 10_000.0)
    ]


def test_errors_stand_at_their_ion_temperature_and_unseen_ones_are_filled():
    change, absolute, density = plots.errors_figure(error_rows()).axes
    assert [label.get_text() for label in density.get_xticklabels()] == ["298", "933", "unknown"]
    marks = [line for line in change.get_lines() if line.get_marker() == "o"]
    assert sorted(round(line.get_xdata()[0]) for line in marks) == [0, 0, 1, 1, 2, 2]
    assert sorted({float(line.get_ydata()[0]) for line in marks}) == pytest.approx([0.1, 1.0])
    filled = [round(line.get_xdata()[0]) for line in marks if line.get_markerfacecolor() != "white"]
    assert filled == [2, 2]
    assert {float(line.get_ydata()[0]) for line in absolute.get_lines() if line.get_marker() == "o"} == {-1.0}


def test_errors_without_rows_are_refused():
    with pytest.raises(InputError, match="no rows"):
        plots.errors_figure([])


def test_files_are_the_same_each_time(tmp_path):
    for name in ("one", "two"):
        paths = plots.save_figure(plots.errors_figure(error_rows(), title="Al"), tmp_path / name)
        assert [path.name for path in paths] == [f"{name}.png", f"{name}.svg"]
    for suffix in ("png", "svg"):
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")


def test_drawing_leaves_the_settings_of_matplotlib_alone(tmp_path):
    before = dict(mpl.rcParams)
    plots.save_figure(plots.free_energy_figure(TEMPERATURES, ENERGIES), tmp_path / "free_energy")
    assert dict(mpl.rcParams) == before


def test_colours_go_by_temperature_not_by_order():
    assert plots.temperature_colours([300, 1000]) == dict(reversed(plots.temperature_colours([1000, 300]).items()))


def test_costs_are_sorted_and_their_exponent_is_the_slope_from_a_quarter_of_the_largest_place():
    atoms = np.array([64, 4, 16, 32, 8])
    seconds = np.where(atoms < 16, 7.0, 1e-3 * atoms**2.5)
    dft, model = (
        plots.Costs("DFT", atoms, seconds),
        plots.Costs("model", [4, 4096, 16384], [3.0, 1.0, 4.0], predicted=True),
    )
    assert dft.exponent == pytest.approx(2.5)
    assert model.exponent == pytest.approx(1.0)
    for places in ([4], [4, 17], [4, 4]):
        assert plots.Costs("once", places, np.ones(len(places))).exponent is None
    hot = [plots.Costs("DFT", [1e5, 1e3], [300.0, 2.0]), plots.Costs("few bands", [1e5], [30.0])]
    top, bottom = plots.cost_figure([dft, model], hot, time="time (s)").axes
    drawn = lines(top)
    np.testing.assert_allclose(drawn["DFT, $N^{2.5}$"][:, 0], [4, 8, 16, 32, 64])
    np.testing.assert_allclose(drawn["DFT, $N^{2.5}$"][:, 1], [7.0, 7.0, *1e-3 * np.array([16, 32, 64]) ** 2.5])
    np.testing.assert_allclose(lines(bottom)["DFT"], [[1e3, 2.0], [1e5, 300.0]])
    for axis in (top, bottom):
        assert axis.get_xscale() == axis.get_yscale() == "log"
        assert axis.get_ylabel() == "time (s)"


def test_a_method_looks_the_same_in_both_panels_and_no_two_methods_look_alike():
    names = ("engine", "pw.x", "tail")
    dft = [plots.Costs(name, [1.0, 2.0], [1.0, 2.0]) for name in names]
    predicted = [plots.Costs(name, [1.0], [1.0], predicted=True) for name in ("F", "forces")]
    top, bottom = plots.cost_figure([*dft[:2], *predicted], [predicted[0], dft[2], dft[0]]).axes
    looks = {}
    for axis in (top, bottom):
        for line in axis.get_lines():
            look = (line.get_color(), line.get_marker(), line.get_markerfacecolor(), line.get_linestyle())
            assert looks.setdefault(line.get_label().split(",")[0], look) == look
    assert set(looks) == {*names, "F", "forces"}
    assert len(set(looks.values())) == 5


def test_costs_without_a_logarithm_or_of_other_numbers_are_refused():
    for places, seconds in (([4, 8], [1.0]), ([], []), (4, 1.0), ([4, 8], [1.0, 0.0]), ([-4], [1.0])):
        with pytest.raises(InputError, match="costs of DFT"):
            plots.Costs("DFT", places, seconds)
    with pytest.raises(InputError, match="expected at least one method"):
        plots.cost_figure([])
