"""Electrons over a range of electronic temperatures: identities between F, U, S, C_e, mu and P_e."""

from __future__ import annotations

import csv
import dataclasses
import json

import numpy as np
import pytest
from ase import units as ase_units
from ase.build import bulk
from scipy.interpolate import make_interp_spline
from typer.testing import CliRunner

from fermisea import Thermodynamics, thermo
from fermisea.cli.app import app, main
from fermisea.errors import InputError, WindowError
from fermisea.model.model import Model
from fermisea.physics.conductivity import conductivity_law
from fermisea.physics.electron_phonon import electron_phonon_coupling, fermi_level_dos
from synthetic import structure
from test_forces import deformed
from test_prediction import random_model

SHAPE = (6, 6, 6)


@pytest.fixture(scope="module")
def model() -> Model:
    return random_model()


@pytest.fixture(scope="module")
def found(model) -> Thermodynamics:
    return thermo(model, structure(3), 8000.0, lowest=500.0, grid=SHAPE, tolerance=1e-4)


def test_straight_lines_between_the_temperatures_give_the_heat_capacity(model, found):
    t = found.electron_temperature
    assert (t[0], t[-1]) == (500.0, 8000.0)
    assert (np.diff(t) > 0).all()
    assert len(t) > 12
    between = np.linspace(500.0, 8000.0, 77)
    exact = model.predict(structure(3), between.tolist(), SHAPE, density=False).heat_capacity
    error = np.abs(np.interp(between, t, found.heat_capacity) - exact).max()
    assert error < 3e-4 * exact.max()
    fewer = thermo(model, structure(3), 8000.0, lowest=500.0, grid=SHAPE, tolerance=1e-2, pressure=False)
    assert len(fewer.electron_temperature) < len(t)
    assert np.isnan(fewer.pressure).all()
    assert "electronic_pressure_GPa" not in fewer.rows()[0]


def test_internal_energy_entropy_and_heat_capacity_belong_together(found):
    t = found.electron_temperature
    np.testing.assert_allclose(found.internal_energy, found.free_energy + t * found.entropy, atol=1e-9)
    # at a fixed density of states dS/dT = C_e / T; the density relaxes only in F
    entropy = make_interp_spline(t, found.entropy, k=5)
    inner = slice(3, -3)
    np.testing.assert_allclose((t * entropy(t, 1))[inner], found.heat_capacity[inner], rtol=2e-3)
    slope = make_interp_spline(t, found.free_energy, k=5)(t, 1)
    np.testing.assert_allclose(slope[inner], -found.entropy[inner], rtol=0.05)
    si = found.heat_capacity / found.volume * ase_units._e * 1e30  # elementary charge of CODATA
    np.testing.assert_allclose(found.volumetric_heat_capacity, si, rtol=1e-6)
    np.testing.assert_allclose(found.sommerfeld_coefficient * t, found.volumetric_heat_capacity, rtol=1e-12)


def test_pressure_is_the_derivative_by_the_volume(model, found):
    def change(by: float) -> float:
        atoms = structure(3)
        for i in range(3):
            atoms = deformed(atoms, i, i, by)
        hot, cold = model.predict(atoms, [8000.0, 500.0], SHAPE).free_energy
        return hot - cold

    step = 1e-3
    slope = (change(-2 * step) - 8 * change(-step) + 8 * change(step) - change(2 * step)) / (12 * step)
    assert found.pressure[0] == 0
    assert found.pressure[-1] == pytest.approx(-slope / (3 * found.volume), rel=1e-5)


def test_coupling_and_conductivity_come_from_the_same_density_of_states(model, found):
    law = conductivity_law("drude", {"v_F": 2.0e6, "A": 1e7, "B": 1e12})
    table = thermo(
        model, structure(3), 8000.0, lowest=500.0, grid=SHAPE, pressure=False, lambda_omega2=186.0, conductivity=law
    )
    prediction = model.predict(structure(3), table.electron_temperature.tolist(), SHAPE, density=False)
    dos, t = prediction.density_of_states, table.electron_temperature
    expected = electron_phonon_coupling(dos, table.electrons, t, 186.0, table.volume)
    np.testing.assert_allclose(table.coupling, expected, rtol=1e-9)
    states = [fermi_level_dos(dos, mu, tau_e) for mu, tau_e in zip(prediction.fermi_level, t, strict=True)]
    np.testing.assert_allclose(table.fermi_level_dos, states, rtol=1e-9)
    per_volume = table.heat_capacity / table.volume
    np.testing.assert_allclose(table.conductivity, law.conductivity(t, per_volume), rtol=1e-12)
    row = table.rows()[3]
    assert row["electron_phonon_coupling_W_per_m3_K"] == pytest.approx(
        table.coupling[3] * ase_units._e * 1e42, rel=1e-6
    )
    assert row["thermal_conductivity_W_per_m_K"] == pytest.approx(table.conductivity[3] * ase_units._e * 1e22, rel=1e-6)
    assert row["fermi_level_dos_per_eV_atom"] == pytest.approx(table.fermi_level_dos[3] / 4, rel=1e-12)
    assert [limit[:7] for limit in table.limits] == ["G holds", "no sing", "G is pr", "kappa_e"]
    cold = table.cold_fermi_level_dos
    assert cold == pytest.approx(fermi_level_dos(dos, dos.fermi_level(table.electrons, 50.0), 50.0), rel=1e-9)
    assert f"{cold / 4:.4g} 1/(eV atom)" in table.limits[2]
    assert found.limits == ()
    assert "electron_phonon_coupling_W_per_m3_K" not in found.rows()[0]


def test_a_model_without_total_free_energy_gives_the_rest(model):
    obstacle = dataclasses.replace(model, total_energy_obstacle="data of another code")
    found = thermo(obstacle, structure(3), 4000.0, grid=SHAPE)
    assert np.isnan(found.free_energy).all()
    assert np.isnan(found.pressure).all()
    assert "free_energy_eV_per_atom" not in found.rows()[0]
    assert (found.heat_capacity > 0).all()
    with pytest.raises(InputError, match="anchor: data of another code"):
        thermo(obstacle, structure(3), 4000.0, grid=SHAPE, anchor=True)


def test_bad_input_is_named(model):
    with pytest.raises(InputError, match="got a range from 300 to 300 K, expected a rising range"):
        thermo(model, structure(3), 300.0, lowest=300.0)
    with pytest.raises(InputError, match="tolerance: got 0"):
        thermo(model, structure(3), 3000.0, tolerance=0.0)
    with pytest.raises(InputError, match=r"lambda<omega\^2>: got -186 meV\^2"):
        thermo(model, structure(3), 3000.0, lambda_omega2=-186.0)
    with pytest.raises(WindowError, match="20000 K"):
        thermo(model, structure(3), 20_000.0, tail=False)
    with pytest.raises(InputError, match="element Cu"):
        thermo(model, structure(3, symbol="Cu"), 3000.0)


def test_command_line(model, tmp_path, capsys):
    model.save(tmp_path / "al.safetensors")
    structure(3).write(tmp_path / "al.extxyz")
    out = tmp_path / "thermo"
    arguments = ["thermo", str(tmp_path / "al.safetensors"), str(tmp_path / "al.extxyz"), "--to", "6000"]
    arguments += ["--grid", "6", "6", "6", "--out", str(out)]
    result = CliRunner().invoke(app, [*arguments, "--fdm", "1000"])
    assert result.exit_code == 0, result.output
    assert "ttm/mod: error of the fit of C_e" in result.output
    shown = " ".join(result.output.split())
    assert "ttm/mod: electrons fill cell 0 along x (lsurface to rsurface - 1); for a fix with Nx > 1 cells" in shown
    assert "give --ttm-cells Nx" in shown
    assert {file.name for file in out.iterdir()} == {
        "thermo.csv",
        "thermo.png",
        "thermo.svg",
        "electrons.ttm",
        "electrons.fdm",
        "electrons-eph.dat",
        "report.json",
    }
    rows = list(csv.DictReader((out / "thermo.csv").read_text().splitlines()))
    assert float(rows[0]["electron_temperature (K)"]) == 300.0
    assert float(rows[-1]["electron_temperature (K)"]) == 6000.0
    assert all(head.endswith(")") for head in rows[0])
    result = CliRunner().invoke(app, [*arguments, "--json", "--no-pressure", "--ttm-cells", "4"])
    data = json.loads(result.output)
    assert len(data["rows"]) == len(rows)
    assert data["fit"]["error"] < 0.05
    assert data["ttm_mod"] == {"left_surface": 0, "right_surface": 4}
    lines = (out / "electrons.ttm").read_text().splitlines()
    (place,) = (number for number, line in enumerate(lines) if line.startswith("rsurface"))
    assert lines[place - 2].startswith("lsurface; electrons fill cells lsurface to rsurface - 1 along x")
    assert (lines[place - 1], lines[place + 1]) == ("0", "4")
    assert main([*arguments, "--ttm-cells", "0"]) == 2
    assert "--ttm-cells: got 0, expected the number of grid cells along x" in capsys.readouterr().err
    assert main([*arguments, "--fdm", "9000"]) == 2
    assert "--fdm: got 9000 K, expected a tau_e from 300 to 6000 K" in capsys.readouterr().err
    skewed = bulk("Al", "fcc", a=4.05)
    skewed.write(tmp_path / "al.extxyz")
    assert main([*arguments, "--fdm", "1000"]) == 2
    assert "--fdm: got a cell that is not orthogonal" in capsys.readouterr().err


@pytest.fixture
def words(model, tmp_path) -> list[str]:
    """A command line without the options of the tests."""
    model.save(tmp_path / "al.safetensors")
    structure(3).write(tmp_path / "al.extxyz")
    words = ["thermo", str(tmp_path / "al.safetensors"), str(tmp_path / "al.extxyz"), "--to", "3000", "--no-pressure"]
    return [*words, "--grid", "6", "6", "6", "--out", str(tmp_path / "out")]


def test_coupling_and_conductivity_on_the_command_line(words, tmp_path):
    law = ["--conductivity-law", "linear", "--conductivity-parameter", "kappa_0=235", "--ion-temperature", "400"]
    options = ["--lambda-omega2", "186", *law, "--udkm1dsim", "--fdm", "1000"]
    result = CliRunner().invoke(app, [*words, *options, "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.output)
    last = document["rows"][-1]
    assert last["thermal_conductivity_W_per_m_K"] == pytest.approx(235 * 3000 / 400, rel=1e-9)
    coupling = last["electron_phonon_coupling_W_per_m3_K"]
    assert 1e16 < coupling < 1e18
    assert ["Waldecker" in limit for limit in document["limits"]] == [False, True, False, False]
    assert "kappa_0 tau_e/tau_i at tau_i = 400 K" in document["limits"][3]
    first = document["rows"][0]["electron_phonon_coupling_W_per_m3_K"] / 1e42 / ase_units._e
    volume, mass = structure(3).get_volume() / 4, structure(3).get_masses()[0]
    assert document["friction_g_per_mol_ps"] == pytest.approx(first * volume * mass / (3 * ase_units.kB), rel=1e-6)
    out = tmp_path / "out"
    rows = list(csv.DictReader((out / "thermo.csv").read_text().splitlines()))
    assert float(rows[-1]["electron_phonon_coupling (W/(m^3 K))"]) == pytest.approx(coupling, rel=1e-9)
    formulas = json.loads((out / "electrons-udkm1dsim.json").read_text())
    assert set(formulas) >= {"heat_capacity", "sub_system_coupling", "therm_cond", "density", "limits"}
    assert formulas["limits"] == document["limits"]
    assert formulas["density"] == pytest.approx(mass / volume * 1660.539, rel=1e-6)
    assert "electrons-eph.dat" in (out / "electrons.fdm").read_text().split()
    conduction = float((out / "electrons-eph.dat").read_text().splitlines()[-1].split()[1])
    assert conduction == pytest.approx(235 * 3000 / 400 / (ase_units._e * 1e22), rel=1e-6)
    result = CliRunner().invoke(app, [*words, *options])
    shown = " ".join(result.output.split())
    assert "limits: G holds for tau_e and tau_i well above the Debye temperature" in shown
    assert "no single G describes aluminium" in shown
    assert f"--friction {document['friction_g_per_mol_ps']:.4g}" in shown
    assert "Waldecker" in (out / "report.json").read_text()


def test_tables_for_phonopy(model, words, tmp_path):
    ratios = ["--phonopy-volumes", "0.97", "1", "1.03", "--phonopy-to", "400", "--phonopy-step", "50"]
    result = CliRunner().invoke(app, [*words, *ratios, "--allow-outside"])
    assert result.exit_code == 0, result.output
    table, pairs = (np.loadtxt(tmp_path / "out" / name) for name in ("fe-v.dat", "e-v.dat"))
    np.testing.assert_allclose(table[:, 0], np.arange(0.0, 401.0, 50.0))
    np.testing.assert_allclose(pairs[:, 0], structure(3).get_volume() * np.array([0.97, 1, 1.03]), rtol=1e-7)
    np.testing.assert_allclose(pairs[:, 1], table[0, 1:], atol=1e-7)
    exact = model.predict(structure(3), [100.0, 400.0], SHAPE).free_energy
    np.testing.assert_allclose(table[[2, 8], 2], exact, atol=2e-8)
    # F falls by gamma tau_e^2 / 2: below 100 K by the law, above by the model
    drop = table[0, 1:] - table[:, 1:]
    np.testing.assert_allclose(drop[1], drop[2] / 4, atol=2e-8)
    np.testing.assert_allclose(drop[4], 4 * drop[2], rtol=0.05)
    assert (drop[1:] > 0).all()


def test_bad_options_are_named(words, capsys):
    for options, message in {
        ("--lambda-omega2", "-5"): "lambda<omega^2>: got -5 meV^2, expected a finite number above 0",
        ("--conductivity-parameter", "kappa_0=1"): "got kappa_0=1 without a law; give --conductivity-law",
        (
            "--conductivity-law",
            "drude",
            "--conductivity-parameter",
            "v_F=1e6",
        ): "got the parameters v_F, expected v_F, A, B",
        (
            "--conductivity-law",
            "linear",
            "--conductivity-parameter",
            "kappa_0=x",
        ): "got 'kappa_0=x', expected NAME=VALUE",
        ("--phonopy-volumes", "1"): "volume ratios: got 1, expected two or more ascending numbers",
        ("--phonopy-volumes", "1", "1.1", "--phonopy-step", "0"): "--phonopy-step: got 0 K up to 1000 K",
    }.items():
        assert main([*words, *options]) == 2
        assert message in " ".join(capsys.readouterr().err.split()), options


def test_results_stay_where_no_fit_is_found(model, tmp_path, monkeypatch):
    def fail(*_arguments):
        raise InputError("heat capacity: no fit")

    monkeypatch.setattr("fermisea.interop.ttm.fit_heat_capacity", fail)
    model.save(tmp_path / "al.safetensors")
    structure(3).write(tmp_path / "al.extxyz")
    words = ["thermo", str(tmp_path / "al.safetensors"), str(tmp_path / "al.extxyz"), "--to", "3000", "--no-pressure"]
    with pytest.warns(UserWarning, match="no file for fix ttm/mod: heat capacity: no fit"):
        assert CliRunner().invoke(app, [*words, "--grid", "6", "6", "6", "--out", str(tmp_path / "out")]).exit_code == 0
    names = {"thermo.csv", "thermo.png", "thermo.svg", "report.json"}
    assert {file.name for file in (tmp_path / "out").iterdir()} == names
