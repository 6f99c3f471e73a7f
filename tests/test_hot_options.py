"""Options and warnings of hot electrons in every route: functional at tau_e, tail, window, invalid tau_e."""

from __future__ import annotations

import dataclasses
import json
import math
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ase.build import bulk

import fermisea
from fermisea import Calculator, evaluate, thermo
from fermisea.cli.app import main
from fermisea.data.snapshot import Snapshot
from fermisea.data.structures import write_structure
from fermisea.engines import LdosOptions, PlaneWave
from fermisea.errors import DomainWarning, InputError, WindowError
from fermisea.model.model import Model
from synthetic import made_up_snapshot, structure
from test_evaluation import copy_of
from test_forces import alloy, differences, model_of, moved
from test_planewave import quick, small_cell
from test_prediction import random_model

SHAPE, GRID = (6, 6, 6), (9, 8, 10)
INVALID = (0.0, -1.0, math.nan, math.inf, 1e300)


@pytest.fixture(scope="module")
def model() -> Model:
    return dataclasses.replace(random_model(), functional="pbe")


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    return made_up_snapshot(5)


@pytest.fixture
def files(tmp_path, model, snapshot) -> dict[str, str]:
    model.save(tmp_path / "pbe.safetensors")
    dataclasses.replace(model, functional="lda").save(tmp_path / "lda.safetensors")
    write_structure(tmp_path / "al.extxyz", structure(7))
    (tmp_path / "data").mkdir()
    snapshot.save(tmp_path / "data" / "al.nc")
    return {path.name.partition(".")[0]: str(path) for path in tmp_path.iterdir()} | {"out": str(tmp_path / "out")}


def run(*arguments: str) -> int:
    """The status of a command, whose warnings are lines on standard error."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        return main([str(word) for word in arguments])


# ---- exchange and correlation at tau_e


def test_forces_of_the_calculator_are_derivatives_of_f_with_another_functional():
    model = dataclasses.replace(model_of("power"), functional="pbe")
    calculator, atoms = Calculator(model, 6000.0, grid=GRID, thermal_xc="kdt16"), alloy()
    forces = calculator.get_forces(atoms)
    expected = model.predict(atoms, 6000.0, GRID, forces=True, thermal_xc="kdt16")
    assert calculator.get_potential_energy(atoms) == expected.free_energy
    np.testing.assert_array_equal(forces, expected.forces)
    slope = differences(lambda by: calculator.get_potential_energy(moved(atoms, 1, 2, by)))
    assert forces[1, 2] == pytest.approx(-slope, rel=1e-6, abs=1e-7 * np.abs(forces).max())
    assert calculator.prediction.thermal_xc == "kdt16"
    with_kdt16 = calculator.get_potential_energy(atoms)
    calculator.set(thermal_xc=None)
    assert not calculator.results
    plain = calculator.get_potential_energy(atoms)
    assert plain == model.predict(atoms, 6000.0, GRID).free_energy
    assert abs(with_kdt16 - plain) > 1e-3


def test_the_calculator_refuses_wrong_options_at_once(model):
    calculator = Calculator(model, 1000.0)
    for name in ("tail", "uncertainty", "allow_beyond_window", "allow_outside"):
        with pytest.raises(InputError, match=f"calculator: {name}: got 'no', expected True or False"):
            calculator.set(**{name: "no"})
    with pytest.raises(InputError, match="xc: got 'blyp', expected one of"):
        calculator.set(thermal_xc="blyp")
    with pytest.raises(InputError, match="potential: this model has none"):
        calculator.set(thermal_xc="kdt16", free_energy="potential")
    assert calculator.parameters["thermal_xc"] is None
    assert calculator.parameters["tail"] is True
    calculator.electron_temperature = 20_000.0
    with pytest.raises(WindowError, match="20000 K"):
        calculator.set(tail=False)


def test_thermodynamics_with_another_functional_are_those_of_predictions(model):
    found = thermo(model, structure(3), 8000.0, lowest=500.0, grid=SHAPE, tolerance=0.05, thermal_xc="kdt16")
    temperatures = found.electron_temperature.tolist()
    expected = model.predict(structure(3), temperatures, SHAPE, forces=True, thermal_xc="kdt16")
    for name in ("free_energy", "internal_energy", "entropy", "fermi_level", "heat_capacity", "transfer_error"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    pressure = -np.trace(expected.stress, axis1=1, axis2=2) / 3
    np.testing.assert_array_equal(found.pressure, pressure - pressure[0])
    assert found.prediction.thermal_xc == "kdt16"
    plain = thermo(model, structure(3), 8000.0, lowest=500.0, grid=SHAPE, tolerance=0.05, pressure=False)
    assert np.abs(plain.free_energy - found.free_energy).max() > 1e-2
    obstacle = dataclasses.replace(model, total_energy_obstacle="data of another code")
    with pytest.raises(InputError, match="thermal xc: got kdt16, but there is no total free energy: data of another"):
        thermo(obstacle, structure(3), 4000.0, grid=SHAPE, thermal_xc="kdt16")


def test_an_evaluation_with_another_functional_compares_the_same_free_energies(model, snapshot):
    lda, temperatures = dataclasses.replace(model, functional="lda"), [1000.0, 5000.0]
    own = copy_of(snapshot, ldos=lda.ldos(snapshot.atoms, snapshot.grid))
    for row in evaluate(lda, [own], temperatures, thermal_xc="ksdt"):
        for name in ("entropy_term", "free_energy", "free_energy_change"):
            assert abs(row[f"{name}_error"]) < 1e-6, name
    rows = evaluate(lda, [snapshot], temperatures, thermal_xc="ksdt")
    plain = evaluate(lda, [snapshot], temperatures)
    predicted = lda.predict(snapshot.atoms, temperatures, snapshot.grid, anchor=False, thermal_xc="ksdt")
    true = snapshot.observables(temperatures, thermal_xc="ksdt")
    for row, without, result, exact in zip(rows, plain, predicted.results, true, strict=True):
        assert row["free_energy"] == pytest.approx(exact.free_energy / 4, abs=1e-10)
        assert row["free_energy_change"] == pytest.approx(exact.free_energy_change / 4, abs=1e-10)
        assert row["free_energy_error"] == pytest.approx((result.free_energy - exact.free_energy) / 4, abs=1e-10)
        change = result.free_energy_change - exact.free_energy_change
        assert row["free_energy_change_error"] == pytest.approx(change / 4, abs=1e-10)
        for name in ("reference_error", "closure_error"):  # F(tau_ref) is of the functional of the LDOS
            assert row[name] == pytest.approx(without[name], abs=1e-10)
    assert abs(rows[1]["free_energy"] - plain[1]["free_energy"]) > 1e-3


def test_an_evaluation_without_a_tail_ends_at_the_window(model, snapshot):
    lda = dataclasses.replace(model, functional="lda")
    hot = 1.02 * max(lda.highest_electron_temperature, snapshot.highest_electron_temperature)
    (row,) = evaluate(lda, [snapshot], [hot])
    assert row["electron_temperature"] == hot
    with pytest.raises(WindowError, match="energy window"):
        evaluate(lda, [snapshot], [hot], tail=False)
    (cold,), (cut,) = (evaluate(lda, [snapshot], [8000.0], tail=tail) for tail in (True, False))
    true = snapshot.observables(8000.0, tail=False)[0]
    assert cut["free_energy"] == pytest.approx(true.free_energy / 4, abs=1e-10)
    assert cut["free_energy"] != cold["free_energy"]


def test_commands_take_the_functional(files, capsys):
    predicted = ["predict", files["pbe"], files["al"], "--electron-temperature", "3000", "--thermal-xc", "kdt16"]
    assert run(*predicted, "--grid", 6, 6, 6, "--allow-outside", "--json") == 0
    row = json.loads(capsys.readouterr().out)["rows"][0]
    command = ["thermo", files["pbe"], files["al"], "--to", 3000, "--thermal-xc", "kdt16", "--grid", 6, 6, 6]
    assert run(*command, "--no-pressure", "--allow-outside", "--out", files["out"], "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["thermal_xc"], found["functional"]) == ("kdt16", "pbe")
    assert found["rows"][-1]["free_energy_eV_per_atom"] == pytest.approx(row["free_energy"] / 4, abs=1e-9)
    command = ["evaluate", files["lda"], files["data"], "--electron-temperature", 5000, "--no-tail"]
    assert run(*command, "--thermal-xc", "ksdt", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["thermal_xc"], found["functional"]) == ("ksdt", "lda")
    snapshot = fermisea.Snapshot.load(files["data"] + "/al.nc")
    true = snapshot.observables(5000.0, tail=False, thermal_xc="ksdt")[0].free_energy
    assert found["rows"][0]["free_energy"] == pytest.approx(true / 4, abs=1e-9)
    assert run(*command, "--thermal-xc", "ksdt", "--out", files["out"]) == 0
    assert "F and -TS at tau_e with ksdt, prediction and snapshot" in capsys.readouterr().out
    assert run(*command, "--thermal-xc", "blyp") == 2
    assert "xc: got 'blyp', expected one of lda, pz, pbe" in capsys.readouterr().err
    assert run(*predicted[:-1], "kdt16", "--no-density") == 2
    assert "there are no densities (--no-density, density=False)" in capsys.readouterr().err


# ---- what a model cannot know


@pytest.mark.parametrize(
    ("own", "hot", "words"),
    [
        (
            "pbe",
            "ksdt",
            "F at tau_e is of ksdt, which is lda in the ground state, but the LDOS is of pbe; .* use kdt16",
        ),
        ("lda", "kdt16", "of kdt16, which is pbe in the ground state, .* lda; .* use ksdt or corrksdt or gdsmfb"),
        ("kdt16", "pbesol", "F at tau_e is of pbesol, but the LDOS is of kdt16; .* use DFT data of pbesol"),
        ("pbe", "kdt16", None),
        ("kdt16", "pbe", None),
        ("ksdt", "gdsmfb", None),
    ],
)
def test_another_ground_state_is_named(model, snapshot, own, hot, words):
    model = dataclasses.replace(model, functional=own)
    atoms = structure(7)
    if words is None:
        found = model.predict(atoms, 3000.0, SHAPE, thermal_xc=hot)  # a warning would be an error
        assert not any("thermal xc" in sentence for sentence in found.warnings)
        return
    with pytest.warns(DomainWarning, match=f"thermal xc: .*{words}"):
        found = model.predict(atoms, 3000.0, SHAPE, thermal_xc=hot)
    (sentence,) = [sentence for sentence in found.warnings if sentence.startswith("thermal xc")]
    calculator = Calculator(model, 3000.0, grid=SHAPE, thermal_xc=hot)
    with pytest.warns(DomainWarning, match="thermal xc"):
        calculator.get_potential_energy(atoms)
    assert sentence in calculator.warnings
    with pytest.warns(UserWarning, match="thermal xc") as issued:
        copy_of(snapshot, functional=own).observables(3000.0, thermal_xc=hot)
    assert [str(item.message) for item in issued] == [sentence]


def test_another_ground_state_stands_in_the_json_of_every_command(files, capsys):
    options = ["--thermal-xc", "ksdt", "--grid", 6, 6, 6, "--allow-outside", "--json"]
    for command in (
        ["predict", files["pbe"], files["al"], "--electron-temperature", 3000],
        ["thermo", files["pbe"], files["al"], "--to", 3000, "--no-pressure", "--out", files["out"]],
    ):
        assert run(*command, *options) == 0
        shown = capsys.readouterr()
        (sentence,) = [text for text in json.loads(shown.out)["warnings"] if text.startswith("thermal xc")]
        assert shown.err.splitlines().count(f"fermisea: warning: {sentence}") == 1


def test_warnings_of_the_window_stand_in_the_prediction(model, files, capsys):
    atoms, options = structure(7), {"allow_beyond_window": True}
    for words, changed in (
        ("electron temperature: got 60000 K, but the energy window", {"tail": False}),
        ("tail: at tau_e = 60000 K, .* estimated error", {}),
    ):
        with pytest.warns(DomainWarning, match=words) as issued:
            found = model.predict(atoms, 60_000.0, SHAPE, **options, **changed)
        assert list(found.warnings) == [str(item.message) for item in issued]
        with pytest.warns(DomainWarning, match=words):
            bare = model.predict(atoms, 60_000.0, SHAPE, density=False, **options, **changed)
        assert bare.warnings == found.warnings[: len(bare.warnings)]
        calculator = Calculator(model, 60_000.0, grid=SHAPE, **options, **changed)
        with pytest.warns(DomainWarning, match=words):
            calculator.get_potential_energy(atoms)
        assert calculator.warnings == found.warnings
        command = ["predict", files["pbe"], files["al"], "--electron-temperature", 60_000, "--grid", 6, 6, 6, "--json"]
        command += ["--allow-beyond-window", "--allow-outside", *(["--no-tail"] if changed else [])]
        assert run(*command) == 0
        shown = capsys.readouterr()
        sentences = json.loads(shown.out)["warnings"]
        assert sentences == list(found.warnings)
        assert all(shown.err.splitlines().count(f"fermisea: warning: {text}") == 1 for text in sentences)


def test_a_broad_ldos_is_named_in_the_prediction(model):
    broad = dataclasses.replace(
        model,
        reference_electron_temperature=20_000.0,
        broadening=dataclasses.replace(model.broadening, standard_deviation=0.7),
    )
    with pytest.warns(DomainWarning, match="broadening: the LDOS has a broadening of 0.7 eV"):
        found = broad.predict(structure(7), 1000.0, SHAPE)
    assert any(sentence.startswith("broadening: the LDOS") for sentence in found.warnings)


def test_an_evaluation_names_energies_and_broadening_in_their_units(model, snapshot):
    lda = dataclasses.replace(model, functional="lda")
    grid = dataclasses.replace(snapshot.energy_grid, start=-5.0)
    for changes, words in (
        ({"energy_grid": grid}, "its energy grid is -5 to 12.5 eV in steps of 0.5 eV, the model has -6 to 11.5 eV in"),
        ({"electron_temperature": 300.0}, "its electron temperature is 300 K, the model has 1000 K"),
    ):
        with pytest.raises(InputError, match=words):
            evaluate(lda, [copy_of(snapshot, **changes)])


# ---- tau_e that no route can serve


Route = Callable[[float], Any]


def routes(model: Model, snapshot: Snapshot) -> dict[str, Route]:
    atoms, dos, engine = structure(7), snapshot.density_of_states, quick()
    lda = dataclasses.replace(model, functional="lda")
    return {
        "predict": lambda t: model.predict(atoms, t, SHAPE),
        "predict, several": lambda t: model.predict(atoms, [1000.0, t], SHAPE),
        "predict, beyond": lambda t: model.predict(atoms, t, SHAPE, tail=False, allow_beyond_window=True),
        "predict, functional": lambda t: model.predict(atoms, t, SHAPE, thermal_xc="kdt16"),
        "observables": snapshot.observables,
        "observables, beyond": lambda t: snapshot.observables(t, tail=False, allow_beyond_window=True),
        "free energy": snapshot.free_energy,
        "calculator": lambda t: Calculator(model, t),
        "calculator, set": lambda t: Calculator(model, 1000.0).set(electron_temperature=t),
        "thermo": lambda t: thermo(model, atoms, t, grid=SHAPE),
        "thermo, lowest": lambda t: thermo(model, atoms, 1000.0, lowest=t, grid=SHAPE),
        "evaluate": lambda t: evaluate(lda, [snapshot], [t]),
        "engine, solve": lambda t: engine.solve(small_cell(), t),
        "engine, run": lambda t: engine.run(small_cell(), t),
        "engine, functional": lambda t: quick(xc="kdt16").run(small_cell(), t),
        "engine, all states": lambda t: quick(bands="all").solve(small_cell(), t),
        "LDOS": lambda t: LdosOptions(highest_electron_temperature=t),
        "Fermi level": lambda t: dos.fermi_level(12.0, t),
        "electrons": lambda t: dos.electrons(1.0, t),
        "band energy": lambda t: dos.band_energy(1.0, t),
        "entropy": lambda t: dos.entropy(1.0, t),
        "heat capacity": lambda t: dos.heat_capacity(12.0, t),
        "tail electrons": lambda t: dos.tail_electrons(1.0, t),
    }


@pytest.mark.parametrize("name", routes(random_model(), made_up_snapshot(5)))
def test_every_route_refuses_an_invalid_temperature_at_once(model, snapshot, name):
    route = routes(model, snapshot)[name]
    for t in INVALID:
        start = time.process_time()
        with pytest.raises(InputError, match="electron temperature: got"):
            route(t)
        assert time.process_time() - start < 0.5


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1e300"])
def test_every_command_refuses_an_invalid_temperature(files, capsys, text):
    dft = ["dft", files["al"], "--out", files["out"], "--electron-temperature"]
    for command in (
        ["predict", files["pbe"], files["al"], "--electron-temperature", text],
        ["thermo", files["pbe"], files["al"], "--to", text, "--out", files["out"]],
        ["thermo", files["pbe"], files["al"], "--to", "1000", "--from", text, "--out", files["out"]],
        ["evaluate", files["lda"], files["data"], "--electron-temperature", text],
        [*dft, text],
        [*dft, "1000", "--highest-electron-temperature", text],
    ):
        assert run(*command) == 2, command
        shown = capsys.readouterr()
        (line,) = [entry for entry in shown.err.splitlines() if "warning:" not in entry]
        assert line.startswith(("fermisea: electron temperature: got", "fermisea: highest_electron_temperature: got"))


def test_numbers_of_bands_and_tails_that_do_not_exist(files, capsys):
    for word in ("0", "-1", "1e6", "None", "true", "9" * 5000, str(10**12)):
        command = ["dft", files["al"], "--electron-temperature", "1000", "--bands", word, "--out", files["out"]]
        assert run(*command) == 2
        shown = capsys.readouterr().err
        assert "bands: got" in shown
        assert "expected a whole number from 1 to 1,000,000,000 or 'all'" in shown
    command = ["dft", files["al"], "--electron-temperature", "1000", "--bands", "all", "--tail", "--out", files["out"]]
    assert run(*command) == 2
    shown = capsys.readouterr().err
    assert "omit the tail, or give a number of bands" in shown
    assert not {"None", "True"} & set(shown.split())


@pytest.mark.parametrize("method", ["solve", "run"])
def test_all_states_of_a_large_basis_are_refused_before_the_calculation(method):
    engine = PlaneWave(cutoff=7700.0, kpts=(1, 1, 1), bands="all")
    start = time.process_time()
    with pytest.raises(
        InputError, match=r"bands: got 'all' with 101673 plane waves .* GiB of memory; lower the cutoff"
    ):
        getattr(engine, method)(bulk("Al", "fcc", a=4.05, cubic=True), 1e5)
    assert time.process_time() - start < 5


def test_a_frozen_core_at_a_million_kelvin_is_named_in_every_route(model, snapshot):
    atoms, words, options = structure(7), "frozen core: k_B tau_e at 1e+06 K", {"allow_beyond_window": True}
    calculator = Calculator(model, 1e6, grid=SHAPE, **options)
    found: dict[str, list[str]] = {}
    for name, route in {
        "predict": lambda: model.predict(atoms, 1e6, SHAPE, **options),
        "calculator": lambda: calculator.get_potential_energy(atoms),
        "thermo": lambda: thermo(model, atoms, 1e6, grid=SHAPE, pressure=False, tolerance=0.5, **options),
        "observables": lambda: snapshot.observables(1e6, **options),
        "engine": lambda: quick().solve(small_cell(), 1e6),
    }.items():
        with warnings.catch_warnings(record=True) as issued:
            warnings.simplefilter("always")
            route()
        found[name] = [str(item.message) for item in issued if str(item.message).startswith(words)]
    assert all(len(sentences) == 1 for sentences in found.values()), found
    assert any(sentence.startswith(words) for sentence in calculator.warnings)
