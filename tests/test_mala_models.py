"""MALA's models: against what MALA 1.4.0 predicts with them, in every form that it writes."""

from __future__ import annotations

import io
import json
import shutil

import numpy as np
import pytest
import torch

import fermisea
from fermisea.descriptors import Bispectrum
from fermisea.errors import FileFormatError
from fermisea.interop import mala
from fermisea.interop.mala.calculation import parse_calculation
from fermisea.interop.mala.scalers import read_scaler
from fermisea.interop.mala.torch_file import read_torch
from fermisea.networks.mlp import Mlp
from mala_files import (
    BE2,
    DATA,
    EXPECTED,
    KERNEL,
    MADE,
    MODEL,
    be_snapshot,
    digest,
    members,
    pickled_scaler,
    refusal,
    with_parameters,
    write_archive,
)

PREDICTIONS = json.loads((MADE / "predictions.json").read_text())
GRID = (18, 18, 27)
STORED = {"split": [0, 1, 2, 3, 4, 5, 7, 9]}
"""Where the energies that MALA stores lie on the joined grid."""


@pytest.fixture(scope="module")
def model():
    return mala.load_model(MODEL, broadening=KERNEL)


@pytest.fixture(scope="module")
def atoms():
    return be_snapshot().atoms


def load_made(name: str, **options):
    files = {symbol: DATA / "pseudopotentials" / f"PD_{symbol}_std.upf" for symbol in ("Al", "Be")}
    pseudopotentials = files if name == "albe" else None
    return mala.load_model(MADE / f"{name}.zip", broadening=KERNEL, pseudopotentials=pseudopotentials, **options)


def ldos_rows(model, atoms, shape):
    return model.ldos(atoms, shape).reshape(-1, model.energy_grid.size).astype(float)


@pytest.mark.parametrize("number", [0, 1])
def test_ldos_from_the_atoms_is_that_of_mala(model, number):
    expected = EXPECTED[f"snapshot{number}"]["model"]
    rows = ldos_rows(model, be_snapshot(number).atoms, GRID)
    np.testing.assert_allclose(rows[0], expected["ldos_row0"], rtol=1e-6)
    np.testing.assert_allclose(rows[4321], expected["ldos_row4321"], rtol=1e-6)
    assert rows.sum() == pytest.approx(expected["ldos_sum"], rel=1e-7)


@pytest.mark.filterwarnings("ignore:electron temperature. got 20000 K")
@pytest.mark.parametrize("number", [0, 1])
def test_observables_from_the_atoms_are_those_of_mala(model, number):
    expected = EXPECTED[f"snapshot{number}"]["model"]
    temperatures = [float(t) for t in expected["observables"]]
    prediction = model.predict(
        be_snapshot(number).atoms, temperatures, GRID, integration="mala", allow_beyond_window=True
    )
    np.testing.assert_allclose(prediction.dos, expected["dos"], rtol=1e-6)
    for k, values in enumerate(expected["observables"].values()):
        assert prediction.fermi_level[k] == pytest.approx(values["fermi_level"], abs=1e-6)
        assert prediction.electrons[k] == pytest.approx(values["electrons"], abs=1e-9)
        assert prediction.band_energy[k] == pytest.approx(values["band_energy"], abs=1e-6)
        assert -temperatures[k] * prediction.entropy[k] == pytest.approx(values["minus_TS"], abs=1e-6)
        density = prediction.density[k]
        np.testing.assert_allclose(density.ravel()[:5], values["density_first5"], rtol=1e-6)
        assert density.min() == pytest.approx(values["density_min"], rel=1e-6)
        assert density.max() == pytest.approx(values["density_max"], rel=1e-6)


def test_model_in_float32_is_that_of_mala_to_its_precision(atoms):
    model = mala.load_model(MODEL, broadening=KERNEL, dtype="float32")
    rows = ldos_rows(model, atoms, GRID)
    np.testing.assert_allclose(rows[4321], EXPECTED["snapshot0"]["model"]["ldos_row4321"], rtol=2e-5)


def test_archive_holds_what_the_model_needs(model):
    assert model.elements == ("Be",)
    assert model.descriptor == Bispectrum(10, 4.67637, {"Be": 1.0})
    assert model.ions["Be"].valence == 2.0
    assert model.reference_electron_temperature == EXPECTED["snapshot0"]["dft_ldos"]["qe"]["temperature"]
    assert model.grid_spacing == pytest.approx(0.13222, abs=1e-5)
    assert model.network.activations == ("relu", "relu")
    # the window's limit found on a coarse grid is that of the whole one
    assert model.highest_electron_temperature == pytest.approx(be_snapshot().highest_electron_temperature, rel=0.02)
    with pytest.warns(UserWarning, match="degauss_ldos = 5 eV"):
        assumed = mala.load_model(MODEL)
    assert assumed.broadening.standard_deviation == pytest.approx(KERNEL.standard_deviation)


def test_archive_stays_as_it_is():
    before = digest(BE2), digest(MADE)
    mala.load_model(MODEL, broadening=KERNEL)
    load_made("split")
    assert (digest(BE2), digest(MADE)) == before


def test_model_saved_again_predicts_the_same(model, atoms, tmp_path):
    model.save(tmp_path / "be.safetensors")
    again = fermisea.load_model(tmp_path / "be.safetensors")
    assert again.network.activations == model.network.activations
    assert again.total_energy_obstacle == model.total_energy_obstacle
    np.testing.assert_array_equal(again.ldos(atoms, (5, 5, 6)), model.ldos(atoms, (5, 5, 6)))
    one, two = (m.predict(atoms, [300.0, 5000.0], (5, 5, 6)) for m in (model, again))
    np.testing.assert_array_equal(one.band_energy, two.band_energy)
    np.testing.assert_array_equal(one.density, two.density)


def test_total_energies_are_refused_by_name(model, atoms, tmp_path):
    prediction = model.predict(atoms, 1000.0, (5, 5, 6))
    assert "do not hold the pseudopotential of Be" in refusal(lambda: prediction.free_energy)
    ultrasoft = mala.load_model(
        MODEL, broadening=KERNEL, pseudopotentials={"Be": BE2 / "Be.pbe-n-rrkjus_psl.1.0.0.UPF"}
    )
    ultrasoft.save(tmp_path / "be.safetensors")
    prediction = fermisea.load_model(tmp_path / "be.safetensors").predict(atoms, 1000.0, (5, 5, 6))
    assert "is an ultrasoft pseudopotential" in refusal(lambda: prediction.free_energy)
    assert prediction.density.shape == (5, 5, 6)


@pytest.mark.parametrize("name", sorted(PREDICTIONS))
def test_every_form_of_archive_predicts_what_mala_does(name):
    expected = PREDICTIONS[name]
    model = load_made(name)
    files = members(MADE / f"{name}.zip")
    calculation = parse_calculation(files["info.json"], name)
    rows = ldos_rows(model, calculation.atoms, calculation.grid)
    for index, row in expected["rows"].items():
        got = rows[int(index)][STORED.get(name, slice(None))]
        # without a scaler of the output MALA's own float32 leaves 1e-5
        np.testing.assert_allclose(got, row, rtol=0, atol=(1e-5 if name == "split" else 1e-6) * max(row))
    assert rows[:, STORED.get(name, slice(None))].sum() == pytest.approx(expected["sum"], rel=1e-6)
    temperature = calculation.electron_temperature
    prediction = model.predict(calculation.atoms, temperature, calculation.grid, integration="mala")
    assert prediction.fermi_level == pytest.approx(expected["fermi_level"], abs=1e-6)
    assert prediction.band_energy == pytest.approx(expected["band_energy"], abs=1e-6)
    assert -temperature * prediction.entropy == pytest.approx(expected["minus_TS"], abs=1e-6)


def test_norm_conserving_compound_gives_total_energies():
    model = load_made("albe")
    assert model.descriptor.weights == {"Al": 0.5, "Be": 1.0}
    assert (model.ions["Al"].valence, model.ions["Be"].valence) == (3.0, 4.0)
    calculation = parse_calculation(members(MADE / "albe.zip")["info.json"], "albe")
    prediction = model.predict(calculation.atoms, 1000.0, calculation.grid)
    assert np.isfinite(prediction.free_energy)
    assert "no pseudopotential for Al, Be" in refusal(mala.load_model, MADE / "albe.zip", broadening=KERNEL)


@pytest.mark.filterwarnings("ignore:.*does not hold the electrons")
def test_restriction_keeps_the_ldos_from_being_negative(tmp_path, atoms):
    files = members()
    parameters = json.loads(files["params.json"])
    parameters["network"]["layer_activations_include_output_layer"] = False
    signs = {}
    for restriction in ("zero_out_negative", "absolute_values", None):
        parameters["targets"]["restrict_targets"] = restriction
        # an output far below zero at some energies, so that the restriction has something to do
        changed = dict(files, **{"params.json": json.dumps(parameters).encode(), "oscaler.json": scaler(-0.01, 0.01)})
        path = write_archive(tmp_path / "m.zip", changed)
        signs[restriction] = mala.load_model(path, broadening=KERNEL).ldos(atoms, (4, 4, 6)).astype(float)
    free = signs[None]
    assert free.min() < -1e-3
    np.testing.assert_allclose(signs["zero_out_negative"], np.maximum(free, 0), atol=1e-9)
    np.testing.assert_allclose(signs["absolute_values"], np.abs(free), atol=1e-9)


def scaler(low: float, high: float) -> bytes:
    entries = {"scale_standard": False, "scale_minmax": True, "feature_wise": False, "cantransform": True}
    return json.dumps(entries | {"total_min": low, "total_max": high, "means": [], "total_mean": 0.0}).encode()


@pytest.mark.filterwarnings("ignore:.*does not hold the electrons")
def test_readings_of_one_activation(tmp_path):
    hidden = mala.load_model(MODEL, broadening=KERNEL, layer_activations="current").network
    assert hidden.widths == (100, 11)  # zeroing of negative values alone
    layers = {"layers.0": (91, 5), "layers.2": (5, 5), "layers.4": (5, 11)}
    state = {}
    for name, (before, after) in layers.items():
        state |= {f"{name}.weight": torch.ones(after, before), f"{name}.bias": torch.zeros(after)}
    stream = io.BytesIO()
    torch.save(state, stream)
    files = members() | {"network.pth": stream.getvalue()}
    parameters = json.loads(files["params.json"])
    parameters["network"]["layer_sizes"] = [91, 5, 5, 11]

    def load(given, reading="auto", **entries):
        parameters["network"]["layer_activations"] = given
        content = parameters | {"network": parameters["network"] | entries}
        path = write_archive(tmp_path / "m.zip", files | {"params.json": json.dumps(content).encode()})
        loaded = mala.load_model(path, broadening=KERNEL, layer_activations=reading)
        return loaded.network.activations

    include = "layer_activations_include_output_layer"
    assert load(["Tanh"]) == ("tanh", "tanh", "tanh", "relu")  # legacy: after every layer
    assert load("Tanh", **{include: False}) == ("tanh", "tanh", "relu")
    assert load(["Tanh"], **{include: True}) == ("tanh", "tanh", "tanh", "relu")  # the network shows it
    assert "read as current says otherwise" in refusal(load, ["Tanh"], "current")
    assert "read as legacy or current says otherwise" in refusal(load, ["Tanh", None, "Tanh"])
    assert "got the activation 'ELU', expected one of" in refusal(load, "ELU")
    assert "layer_activations: got 'old'" in refusal(load, "Tanh", "old")


def test_feature_without_spread_counts_nothing(tmp_path, atoms, model):
    path = tmp_path / "iscaler.json"
    entries = {"scale_standard": True, "scale_minmax": False, "feature_wise": True, "cantransform": True}
    scaling = read_scaler(members()["iscaler.pkl"], "m.iscaler.pkl", 91)
    spread = scaling.scale.copy()
    spread[5] = 0.0
    entries |= {"means": [scaling.shift.tolist()], "stds": [spread.tolist()]}
    path = write_archive(tmp_path / "m.zip", members() | {"iscaler.json": json.dumps(entries).encode()})
    changed = mala.load_model(path, broadening=KERNEL)
    # as if the feature always had its mean
    x = torch.from_numpy(model.descriptor.compute(atoms, (3, 3, 4)).reshape(-1, 91))
    x[:, 5] = scaling.shift[5]
    torch.testing.assert_close(changed.network(x), model.network(x))


@pytest.mark.parametrize(
    ("section", "entries", "message"),
    [
        ("descriptors", {"descriptor_type": "ACE"}, "descriptor_type is 'ACE', expected 'Bispectrum'"),
        ("descriptors", {"descriptor_type": "SNAP"}, "descriptor_type is 'SNAP', expected 'Bispectrum'"),
        ("descriptors", {"descriptor_type": "MinterpyDescriptors"}, "'MinterpyDescriptors', expected 'Bispectrum'"),
        ("descriptors", {"bispectrum_switchflag": 0}, "got bispectrum_switchflag 0, expected 1"),
        ("descriptors", {"bispectrum_twojmax": "ten"}, "the descriptor cannot be created"),
        ("descriptors", {"bispectrum_twojmax": 8}, "got layer_sizes from 91 to 11, expected 55 components"),
        ("network", {"nn_type": "lstm"}, "nn_type is 'lstm', expected 'feed-forward'"),
        ("network", {"layer_sizes": [91, 50, 11]}, "expected sizes [91, 50, 11]"),
        ("network", {"layer_sizes": [94, 100, 11]}, "got a network with the coordinates x, y, z"),
        ("network", {"layer_sizes": "many"}, "an entry has the wrong form"),
        ("targets", {"target_type": "DOS"}, "target_type is 'DOS', expected 'LDOS'"),
        ("targets", {"ldos_gridsize": 12}, "expected 91 components of the bispectrum and 12 energies"),
        ("targets", {"ldos_gridspacing_ev": 0}, "with spacings above 0"),
        ("targets", {"ldos_gridsize": [6, 6]}, "an entry has the wrong form"),
    ],
)
def test_models_that_cannot_be_held_are_refused_by_name(tmp_path, section, entries, message):
    path = with_parameters(tmp_path / "m.zip", section, **entries)
    assert message in refusal(mala.load_model, path, broadening=KERNEL)


def test_lammps_input_of_its_own_is_told(tmp_path):
    path = with_parameters(tmp_path / "m.zip", "descriptors", custom_lammps_compute_file="in.mine")
    with pytest.warns(UserWarning, match=r"got a custom LAMMPS input, 'in\.mine'"):
        mala.load_model(path, broadening=KERNEL)


def test_model_that_does_not_hold_the_electrons_is_told(tmp_path, atoms):
    path = write_archive(tmp_path / "m.zip", members() | {"oscaler.json": scaler(0.0, 0.01)})
    with pytest.warns(UserWarning, match="does not hold the electrons"):
        faint = mala.load_model(path, broadening=KERNEL)
    assert "is valid up to 0 K" in refusal(faint.predict, atoms, 300.0, (4, 4, 6))


def test_archive_without_info_needs_one(tmp_path, atoms, model):
    files = members()
    del files["info.json"]
    path = write_archive(tmp_path / "m.zip", files)
    assert "give the .info.json of a DFT run with info=" in refusal(mala.load_model, path, broadening=KERNEL)
    given = mala.load_model(path, info=BE2 / "Be_snapshot0.info.json", broadening=KERNEL)
    np.testing.assert_array_equal(given.ldos(atoms, (3, 3, 4)), model.ldos(atoms, (3, 3, 4)))


@pytest.mark.parametrize("zipped", [False, True])
def test_torch_files_of_both_forms_are_read(zipped):
    generator = torch.Generator().manual_seed(1)
    base = torch.randn(6, 5, generator=generator)
    state = {
        "plain": base,
        "transposed": base.T,
        "part": base[2:4, 1:3],
        "double": base.double(),
        "whole": torch.arange(7),
        "half": base.half(),
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0),
        "parameter": torch.nn.Parameter(base),
    }
    stream = io.BytesIO()
    torch.save(state, stream, _use_new_zipfile_serialization=zipped)
    read = read_torch(stream.getvalue(), "x.pth")
    assert read.keys() == state.keys()
    for name, tensor in state.items():
        np.testing.assert_array_equal(read[name], tensor.detach().numpy())
        assert read[name].dtype == tensor.detach().numpy().dtype


def test_pickled_scaler_of_numpy_arrays_is_read():
    entries = {
        "scale_standard": True,
        "scale_normal": False,
        "feature_wise": True,
        "cantransform": True,
        "means": np.arange(6.0).reshape(1, 6),
        "stds": np.asfortranarray(np.arange(1, 7, dtype=">f4").reshape(2, 3)),
        "total_mean": np.float64(2.0),
    }
    scaling = read_scaler(pickled_scaler(entries), "x.iscaler.pkl", 6)
    np.testing.assert_array_equal(scaling.shift, np.arange(6.0))
    np.testing.assert_array_equal(scaling.scale, np.arange(1.0, 7.0))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"cantransform": False}, "never fitted"),
        ({"scale_standard": True}, "both a variance and a range"),
        ({"total_max": -1.0}, "total_max below total_min"),
        ({"total_max": float("inf")}, "expected 11 finite ones"),
        ({"total_max": [1.0, 2.0]}, "total_max holds 2 numbers, expected 11"),
        ({"total_max": "many"}, "holds 'many', expected numbers"),
        ({"feature_wise": "yes"}, "feature_wise is missing or not true or false"),
    ],
)
def test_scalers_of_another_form_are_refused(entries, message):
    content = json.dumps(json.loads(scaler(0.0, 1.0)) | entries).encode()
    assert message in refusal(read_scaler, content, "x.oscaler.json", 11)


def test_layers_can_have_activations_of_their_own():
    network = Mlp(3, (4, 5, 4), 6, ("tanh", "identity", "abs"), dtype="float64", seed=3)
    x = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(4, 3)
    one, two, three = (layer for layer in network.layers[:-1])
    expected = torch.abs(three(two(torch.tanh(one(x)))))
    torch.testing.assert_close(network.hidden(x), expected)
    matrix, bias = network.readout()
    torch.testing.assert_close(network(x), expected @ matrix.T + bias)
    assert "got 2 for 3 hidden layers" in refusal(Mlp, 3, (4, 5, 4), 6, ("tanh", "relu"))


def test_missing_and_foreign_archives_are_refused(tmp_path):
    assert "cannot be read" in refusal(mala.load_model, tmp_path / "nothing.zip")
    shutil.copyfile(BE2 / "Be_snapshot0.dens.npy", tmp_path / "x.zip")
    with pytest.raises(FileFormatError, match="not a complete zip archive"):
        mala.load_model(tmp_path / "x.zip")
    write_archive(tmp_path / "y.zip", {"txt": b"hello"})
    with pytest.raises(FileFormatError, match="expected an archive of MALA's save_run"):
        mala.load_model(tmp_path / "y.zip")


def test_network_of_another_kind_is_refused(tmp_path):
    stream = io.BytesIO()
    torch.save({"lstm.weight_ih_l0": torch.zeros(4, 91)}, stream)
    path = write_archive(tmp_path / "m.zip", members() | {"network.pth": stream.getvalue()})
    assert "holds 'lstm.weight_ih_l0', expected the layers of a feed-forward" in refusal(mala.load_model, path)
    stream = io.BytesIO()
    torch.save({"layers.0.weight": torch.full((5, 91), torch.nan), "layers.0.bias": torch.zeros(5)}, stream)
    path = write_archive(tmp_path / "m.zip", members() | {"network.pth": stream.getvalue()})
    assert "layers of shapes [(5, 91)], expected sizes [91, 100, 11]" in refusal(mala.load_model, path)
