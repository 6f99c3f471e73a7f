"""Free energies that start from a regular model."""

from __future__ import annotations

import csv
import dataclasses
import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from fermisea.analysis.evaluation import evaluate
from fermisea.analysis.thermodynamics import thermo
from fermisea.calculator import Calculator
from fermisea.cli.app import app, main
from fermisea.data.dataset import Dataset
from fermisea.descriptors import PowerSpectrum
from fermisea.errors import InputError
from fermisea.model.loading import load_model
from fermisea.model.model import Model
from fermisea.networks.ensemble import Ensemble
from fermisea.networks.mlp import Mlp
from fermisea.physics.registry import OBSERVABLES
from fermisea.potential import RegularModel
from fermisea.training import TrainingConfig, train
from fermisea.utilities.tables import write_table
from synthetic import made_up_snapshot, structure
from test_prediction import SHAPE, random_model

TEMPERATURES = [300.0, 1000.0, 8000.0]


def regular(seed: int = 1) -> RegularModel:
    descriptor = PowerSpectrum(2, 4.0, weights={"Al": 1.0})
    factors = np.random.default_rng(seed).normal(size=(1, descriptor.features)) * 1e-2
    return RegularModel(descriptor, factors, np.array([-56.0]), ("Al",), 1000.0, {"ridge": 1e-9})


@pytest.fixture(scope="module")
def model() -> Model:
    return dataclasses.replace(random_model(), anchor=regular())


def test_the_anchor_sets_the_value_at_the_reference_and_the_ldos_the_change(model):
    atoms = structure(4)
    plain, anchored = (model.predict(atoms, TEMPERATURES, SHAPE, anchor=anchor) for anchor in (False, None))
    assert (plain.anchored, anchored.anchored) == (False, True)
    assert anchored.free_energy[1] == pytest.approx(regular().predict(atoms).free_energy, abs=1e-9)
    np.testing.assert_allclose(np.diff(anchored.free_energy), np.diff(plain.free_energy), rtol=0, atol=1e-9)
    np.testing.assert_allclose(anchored.free_energy - plain.free_energy, plain.anchor_shift, atol=1e-9)
    for prediction in (plain, anchored):  # both values are there in any case
        np.testing.assert_array_equal(prediction.ldos_free_energy, plain.free_energy)
        np.testing.assert_array_equal(prediction.anchored_free_energy, anchored.free_energy)
        expected = prediction.free_energy + TEMPERATURES * prediction.entropy
        np.testing.assert_allclose(prediction.internal_energy, expected, atol=1e-9)
        data = prediction.data
        np.testing.assert_array_equal(data.free_energy.sel(form="second_order"), prediction.free_energy)
        np.testing.assert_array_equal(data.anchored_free_energy, anchored.free_energy)
        assert float(data.anchor_shift) == plain.anchor_shift
    only = model.predict(atoms, 8000.0, SHAPE, anchor=True)  # without tau_ref among those asked for
    assert only.free_energy == pytest.approx(anchored.free_energy[2], abs=1e-9)


@pytest.fixture(scope="module")
def ensemble(model) -> Model:
    one = model.network
    other = Mlp(one.inputs, (32, 24), one.outputs, dtype="float64", seed=9)
    buffers = (getattr(one, f"{place}_{what}") for place in ("input", "output") for what in ("mean", "scale"))
    other.set_normalisation(*buffers)
    return dataclasses.replace(model, network=Ensemble([one, other.requires_grad_(requires_grad=False)]))


@pytest.mark.parametrize("anchor", [True, False])
def test_every_route_gives_the_same_value(ensemble, anchor, tmp_path):
    atoms = structure(4)
    prediction = ensemble.predict(atoms, TEMPERATURES, SHAPE, anchor=anchor, forces=True)
    start = regular().predict(atoms).free_energy if anchor else prediction.results[0].reference_free_energy
    assert prediction.free_energy[1] == pytest.approx(start, abs=1e-9)
    data, rows = prediction.data, prediction.rows()
    write_table(tmp_path / "table.csv", prediction.table())
    with (tmp_path / "table.csv").open() as stream:
        table = list(csv.DictReader(stream))
    for k, (t, frame) in enumerate(zip(TEMPERATURES, prediction.frames(), strict=True)):
        result = prediction.results[k]
        calculator = Calculator(ensemble, t, anchor=anchor, grid=SHAPE)
        calculator.calculate(atoms, ["energy", "forces"])
        for name in ("free_energy", "internal_energy", "ldos_free_energy", "anchored_free_energy", "transfer_error"):
            value = OBSERVABLES[name].getter(result)
            assert getattr(prediction, name)[k] == value == rows[k][name] == float(table[k][f"{name} (eV)"])
            if name != "free_energy":
                assert data[name].values[k] == value
            assert calculator.results[name] == pytest.approx(value, abs=1e-9)
        assert result.anchored is anchor
        assert data["free_energy"].sel(form="second_order").values[k] == result.free_energy
        assert frame.get_potential_energy() == result.free_energy
        assert result.internal_energy() == result.free_energy + t * result.entropy
        np.testing.assert_array_equal(frame.get_forces(), data["forces"].values[k])
        np.testing.assert_allclose(calculator.results["forces"], prediction.forces[k], atol=1e-9)
        for name in ("free_energy", "internal_energy"):
            value = np.atleast_1d(getattr(prediction.uncertainty, name))[k]
            assert value == rows[k][f"{name}_std"] == data[f"{name}_std"].values[k]
        assert calculator.results["free_energy_std"] == pytest.approx(prediction.free_energy_std[k], abs=1e-9)
    change = prediction.uncertainty.free_energy_change
    assert (prediction.free_energy_std == change).all() == anchor
    assert (change[1], change[2] > 0) == (0, True)


def test_an_anchor_can_be_taken_back(model):
    result = model.predict(structure(4), 300.0, SHAPE, anchor=True).results[0]
    back = result.anchor_to(-1.0, apply=False)
    assert not back.anchored
    assert back.free_energy == result.ldos_free_energy == back.ldos_free_energy
    assert back.anchored_free_energy == result.ldos_free_energy - 1.0 - result.reference_free_energy


def test_the_file_holds_both(model, tmp_path):
    model.save(tmp_path / "al.safetensors")
    loaded = load_model(tmp_path / "al.safetensors")
    assert loaded.anchor.provenance == {"ridge": 1e-9}
    before, after = (m.predict(structure(4), TEMPERATURES, SHAPE, anchor=True) for m in (model, loaded))
    assert before.data.identical(after.data)


def test_networks_of_the_anchor_survive_the_file(tmp_path):
    data = Dataset(tuple(made_up_snapshot(seed) for seed in range(6)))
    config = TrainingConfig(order=2, cutoff=4.0, hidden=(4,), epochs=1, anchor_order=2, anchor_hidden=[4, 3])
    model = train(data, config)
    (network,) = model.anchor.corrections
    network.set_readout(torch.ones(1, 3, dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    model.save(tmp_path / "al.safetensors")
    loaded, atoms = load_model(tmp_path / "al.safetensors"), structure(4)
    assert loaded.anchor.corrections[0].widths == (4, 3)
    one, two = (m.anchor.predict(atoms) for m in (model, loaded))
    three = model.anchor.predict(atoms, derivatives=False)
    assert (three.free_energy, three.free_energy_std) == (one.free_energy, one.free_energy_std)
    assert three.forces.shape == three.stress.shape == (0, 3)
    assert one.free_energy == two.free_energy
    np.testing.assert_array_equal(one.forces, two.forces)
    assert one.free_energy != dataclasses.replace(model.anchor, corrections=()).predict(atoms).free_energy


@pytest.mark.parametrize("anchor", [None, False])
def test_thermodynamics_are_anchored_as_predictions_are(model, anchor):
    found = thermo(model, structure(4), 3000.0, anchor=anchor, pressure=False, grid=SHAPE)
    expected = model.predict(structure(4), found.electron_temperature.tolist(), SHAPE, anchor=anchor).free_energy
    np.testing.assert_allclose(found.free_energy, expected, rtol=0, atol=1e-9)
    assert found.prediction.anchored is (anchor is None)


def test_what_has_no_anchor_says_so(model):
    atoms = structure(4)
    with pytest.raises(InputError, match="this model has no anchor"):
        random_model().predict(atoms, 300.0, SHAPE, anchor=True)
    with pytest.raises(InputError, match="needs the density"):
        model.predict(atoms, 300.0, SHAPE, anchor=True, density=False)
    with pytest.raises(InputError, match="this model has no anchor"):
        _ = random_model().predict(atoms, 300.0, SHAPE).anchored_free_energy
    assert "anchored_free_energy" not in random_model().predict(atoms, 300.0, SHAPE).data


@pytest.fixture(scope="module")
def trained() -> tuple[Model, Dataset]:
    data = Dataset(tuple(made_up_snapshot(seed) for seed in range(8)))
    config = TrainingConfig(order=2, cutoff=4.0, hidden=(16,), epochs=2, anchor_order=2, anchor_cutoff=4.0)
    return train(data, config), data


def test_training_fits_the_anchor_to_the_structures_trained_on(trained):
    model, data = trained
    assert model.anchor.elements == ("Al",)
    rows = evaluate(model, data, TEMPERATURES)
    for row in rows:  # at tau_ref that of the regular model, elsewhere the change from there is that of the LDOS
        atoms = data[row["snapshot"]].atoms
        error = model.anchor.predict(atoms).free_energy - data[row["snapshot"]].reference.free_energy
        expected = error / len(atoms) + row["free_energy_change_error"]
        assert row["anchored_free_energy_error"] == pytest.approx(expected, abs=1e-9)
    two = Dataset(data.snapshots[:2])
    assert train(two, TrainingConfig(order=2, cutoff=4.0, hidden=(4,), epochs=1, anchor=False)).anchor is None


def test_command_line(trained, tmp_path):
    model, data = trained
    file, atoms = tmp_path / "al.safetensors", tmp_path / "al.xyz"
    model.save(file)
    data[0].atoms.write(atoms, format="extxyz")
    arguments = ["predict", str(file), str(atoms), "--electron-temperature", "1000"]
    runner = CliRunner()
    for extra, sentence in (
        (["--no-anchor"], "F comes from the LDOS alone"),
        ([], "anchor: shifts F from the LDOS by"),
    ):
        result = runner.invoke(app, [*arguments, "--out", str(tmp_path / "out"), *extra])
        assert result.exit_code == 0, result.output
        assert sentence in result.output
    result = runner.invoke(app, [*arguments, "--out", str(tmp_path / "out"), "--json"])
    (row,) = json.loads(result.output)["rows"]
    assert row["free_energy"] == row["anchored_free_energy"]
    assert row["free_energy"] == pytest.approx(model.anchor.predict(data[0].atoms).free_energy, abs=1e-5)
    assert row["internal_energy"] == pytest.approx(row["free_energy"] + 1000 * row["entropy"], abs=1e-9)


def test_info_shows_the_regular_part(trained, tmp_path, capsys):
    model, _ = trained
    model.save(tmp_path / "al.safetensors")
    assert main(["info", str(tmp_path / "al.safetensors"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["regular_part"]
    assert shown["structures"] == 7
    assert shown["descriptor"]["order"] == 2
    assert shown["left_out_force_error_eV_per_A"] == model.anchor.provenance["left_out_force_error"]
