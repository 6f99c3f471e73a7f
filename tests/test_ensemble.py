"""Several networks as one model: mean, spread, file, training together."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from fermisea.cli import main
from fermisea.data.structures import write_structure
from fermisea.errors import FileFormatError, InputError
from fermisea.model.combining import combine_models
from fermisea.model.loading import load_model
from fermisea.model.model import Model
from fermisea.networks.ensemble import Ensemble
from fermisea.networks.mlp import Mlp
from fermisea.training import TrainingInterruptedError, train
from synthetic import made_up_snapshot, structure
from test_checkpoints import same, stop_after
from test_training import QUICK, dataset

CONFIG = dataclasses.replace(QUICK, epochs=4, ensemble=3)
TEMPERATURES = [300.0, 1000.0, 5000.0]
GRID = (8, 10, 9)


@pytest.fixture(scope="module")
def data():
    return dataset(1, 2, 3, 4)


@pytest.fixture(scope="module")
def model(data) -> Model:
    return train(data, CONFIG)


@pytest.fixture(scope="module")
def singles(model) -> list[Model]:
    return [dataclasses.replace(model, network=member) for member in model.network.members]


def test_members_are_trained_as_if_each_were_alone(data, model):
    for number, member in enumerate(model.network.members):
        alone = train(data, dataclasses.replace(CONFIG, ensemble=1, seed=CONFIG.seed))
        if number == 0:
            assert all(torch.equal(a, b) for a, b in zip(member.parameters(), alone.network.parameters(), strict=True))
        else:
            assert not torch.equal(member.layers[0].weight, alone.network.layers[0].weight)
    assert len(model.provenance["members"]) == 3
    assert model.provenance["final"]["free_energy_error"] > 0


def test_ldos_is_the_mean(model, singles):
    atoms = structure(11)
    mean = np.mean([single.ldos(atoms, GRID) for single in singles], axis=0)
    np.testing.assert_allclose(model.ldos(atoms, GRID), mean, rtol=1e-5, atol=1e-6 * mean.max())
    prediction, parts = (
        model.predict(atoms, TEMPERATURES, GRID),
        [s.predict(atoms, TEMPERATURES, GRID) for s in singles],
    )
    np.testing.assert_allclose(prediction.dos, np.mean([part.dos for part in parts], axis=0), rtol=1e-6, atol=1e-6)
    descriptors = torch.rand(5, model.descriptor.features, generator=torch.Generator().manual_seed(0))
    matrix, bias = model.network.readout()
    hidden = model.network.hidden(descriptors).double()
    torch.testing.assert_close(model.network(descriptors).double(), hidden @ matrix.T + bias, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("memory", [2**28, 0])
@pytest.mark.parametrize("density", [True, False])
def test_spread_is_that_of_predictions_by_each_member(model, singles, memory, density):
    atoms = structure(11)
    options = {"density": density, "memory": memory, "anchor": False}
    prediction = model.predict(atoms, TEMPERATURES, GRID, **options)
    parts = [single.predict(atoms, TEMPERATURES, GRID, **options) for single in singles]
    spread = prediction.uncertainty
    names = ["fermi_level", "band_energy", "entropy", "heat_capacity"]
    names += ["free_energy", "internal_energy"] if density else []
    for name in names:
        expected = np.std([getattr(part, name) for part in parts], axis=0, ddof=1)
        np.testing.assert_allclose(getattr(spread, name), expected, rtol=1e-4, err_msg=name)
        assert (expected > 0).all()
    np.testing.assert_allclose(spread.dos, np.std([part.dos for part in parts], axis=0, ddof=1), rtol=1e-4, atol=1e-7)
    data = prediction.data
    assert data["fermi_level_std"].shape == (3,)
    if density:
        expected = np.std([part.density for part in parts], axis=0, ddof=1)
        np.testing.assert_allclose(spread.density, expected, rtol=1e-3, atol=1e-7)
        change = np.std([part.free_energy - part.free_energy[1] for part in parts], axis=0, ddof=1)
        np.testing.assert_allclose(spread.free_energy_change, change, rtol=1e-3, atol=1e-8)
        assert spread.free_energy_change[1] == pytest.approx(0, abs=1e-9)  # tau_ref
        assert data["density_std"].shape == (3, *GRID)
    scalar = model.predict(atoms, 5000.0, GRID, **options)
    assert scalar.uncertainty.band_energy == pytest.approx(spread.band_energy[2], rel=1e-4)
    assert model.predict(atoms, 300.0, GRID, uncertainty=False, **options).uncertainty is None
    assert parts[0].uncertainty is None


def test_equal_members_have_no_spread(singles):
    atoms = structure(11)
    prediction = combine_models([singles[0]] * 3).predict(atoms, 1000.0, GRID, anchor=False)
    alone = singles[0].predict(atoms, 1000.0, GRID, anchor=False)
    assert prediction.uncertainty.free_energy == pytest.approx(0, abs=1e-9)
    assert np.abs(prediction.uncertainty.density).max() < 1e-9
    assert prediction.free_energy == pytest.approx(alone.free_energy, abs=1e-6)


@pytest.mark.usefixtures("_bfloat16")
def test_other_precision_and_chunks(model):
    atoms = structure(11)
    one, two = (model.predict(atoms, 1000.0, GRID, anchor=False, chunk=chunk) for chunk in (37, 10_000))
    assert one.free_energy == pytest.approx(two.free_energy, abs=1e-6)
    assert one.uncertainty.free_energy == pytest.approx(two.uncertainty.free_energy, rel=1e-4)
    lower = model.predict(atoms, 1000.0, GRID, anchor=False, precision="bfloat16")
    assert abs(lower.free_energy - one.free_energy) < 0.1
    assert lower.precision_error != 0


def test_file(model, tmp_path):
    model.save(tmp_path / "al.safetensors")
    loaded = load_model(tmp_path / "al.safetensors")
    assert isinstance(loaded.network, Ensemble)
    assert same(loaded, model)
    atoms = structure(11)
    before, after = (m.predict(atoms, 1000.0, GRID, anchor=False).free_energy for m in (model, loaded))
    assert before == after
    content = bytearray((tmp_path / "al.safetensors").read_bytes())
    content[-5] ^= 1
    (tmp_path / "al.safetensors").write_bytes(content)
    with pytest.raises(FileFormatError, match="does not match the checksum"):
        load_model(tmp_path / "al.safetensors")


def test_models_that_do_not_fit_together_are_refused_by_name(model, singles):
    assert len(combine_models([model, singles[0]]).network.members) == 4
    other = dataclasses.replace(singles[1], reference_electron_temperature=300.0)
    with pytest.raises(InputError, match=r"reference electron temperature of the first model is .*of model 2 is 300"):
        combine_models([singles[0], other])
    with pytest.raises(InputError, match="expected two or more networks of the same kind"):
        combine_models([singles[0]])
    with pytest.raises(InputError, match="expected two or more networks of the same kind"):
        Ensemble([Mlp(3, (4,), 5), Mlp(3, (4,), 6)])


def test_stopped_and_resumed(data, model, tmp_path, monkeypatch):
    file = tmp_path / "al.checkpoint"
    with monkeypatch.context() as patch:
        stop_after(50, patch)  # three members a batch, eleven batches an epoch
        with pytest.raises(TrainingInterruptedError):
            train(data, CONFIG, checkpoint=file)
    assert same(train(data, CONFIG, checkpoint=file, resume=True), model)


def test_command_line(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    for seed in range(2):
        made_up_snapshot(seed).save(tmp_path / "data" / f"{seed}.nc")
    (tmp_path / "train.toml").write_text("order = 2\nhidden = [16]\nepochs = 3\nvalidation_fraction = 0.0\n")
    write_structure(tmp_path / "al.extxyz", structure(7))
    model, config = str(tmp_path / "al.safetensors"), str(tmp_path / "train.toml")
    assert main(["train", str(tmp_path / "data"), "--config", config, "--ensemble", "3", "--out", model]) == 0
    capsys.readouterr()
    words = ["predict", model, str(tmp_path / "al.extxyz"), "--electron-temperature", "300", "5000", "--no-anchor"]
    assert main([*words, "--grid", "8", "8", "8", "--out", str(tmp_path / "out"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    expected = load_model(model).predict(structure(7), [300.0, 5000.0], (8, 8, 8), anchor=False).uncertainty
    np.testing.assert_allclose([row["free_energy_std"] for row in rows], expected.free_energy, rtol=1e-3)
    assert main([*words, "--grid", "8", "8", "8", "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "error (meV/atom)" in out
    assert "estimated standard error of F: deviation over the 3 networks" in out
    assert main(["info", model]) == 0
    assert "members" in capsys.readouterr().out


def test_without_total_energies_the_spread_of_f_is_refused(model):
    spread = model.predict(structure(11), TEMPERATURES, GRID, density=False).uncertainty
    assert "free_energy" not in spread.scalars()
    for name in ("free_energy", "free_energy_change", "internal_energy"):
        with pytest.raises(InputError, match=f"spread of the {name.replace('_', ' ')}: the prediction has no total"):
            getattr(spread, name)
