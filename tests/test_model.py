import dataclasses
import errno
import hashlib
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk
from safetensors import safe_open
from safetensors.torch import save_file

from fermisea.data.dataset import Dataset
from fermisea.errors import FileFormatError, InputError, StorageError
from fermisea.model.combining import blend_models
from fermisea.model.file import read_header
from fermisea.model.loading import load_model
from fermisea.physics.ions import CoreCharge
from fermisea.training import TrainingConfig, train
from fermisea.utilities.tensor_file import read_tensors, write_tensors
from synthetic import made_up_snapshot, structure
from test_prediction import SHAPE, random_model


@pytest.fixture
def saved(tmp_path):
    q = 0.05 * np.arange(400)
    model = random_model("float32", CoreCharge(0.05, np.exp(-(q**2) / 3)))
    path = tmp_path / "al.safetensors"
    model.save(path)
    return model, path


def test_loaded_model_predicts_the_same_bits(saved):
    model, path = saved
    loaded, atoms = load_model(path), structure(4)
    before, after = (m.predict(atoms, [300.0, 5000.0], SHAPE) for m in (model, loaded))
    assert before.data.identical(after.data)


def test_everything_survives_the_file(saved):
    model, path = saved
    loaded = load_model(path)
    for name in (field.name for field in dataclasses.fields(model)):
        if name not in ("network", "ions"):
            assert getattr(loaded, name) == getattr(model, name), name
    np.testing.assert_array_equal(loaded.ions["Al"].core.values, model.ions["Al"].core.values)
    assert loaded.ions["Al"].valence == model.ions["Al"].valence
    assert loaded.network.dtype == torch.float32
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], tensor), name


def test_the_structures_of_its_data_survive_the_file(saved):
    """Of different sizes; positions to the precision of float32."""
    model, path = saved
    structures = (structure(4), structure(2, atoms=1), bulk("Al", "bcc", a=3.2, cubic=True))
    dataclasses.replace(model, structures=structures).save(path)
    loaded = load_model(path).structures
    assert [atoms.symbols.get_chemical_formula() for atoms in loaded] == ["Al4", "Al", "Al2"]
    for one, other in zip(loaded, structures, strict=True):
        assert one.pbc.all()
        np.testing.assert_allclose(one.positions, other.positions, atol=1e-5)
        np.testing.assert_allclose(one.cell.array, other.cell.array, atol=1e-5)


@pytest.mark.parametrize("sizes", [(0.0, 8.0), (1.5, 6.5), (4.0, 5.0), (-4.0, 12.0)])
def test_refuses_structures_with_a_wrong_number_of_atoms(saved, sizes):
    model, path = saved
    dataclasses.replace(model, structures=(structure(4), structure(2))).save(path)

    def change(_header, tensors):
        tensors["structures.sizes"] = torch.tensor(sizes)

    rewrite(path, change)
    with pytest.raises(FileFormatError, match="wrong or missing entry"):
        load_model(path)


def test_header_is_plain_json(saved):
    model, path = saved
    with safe_open(path, framework="numpy") as stream:
        header = json.loads(stream.metadata()["fermisea"])
    assert header == read_header(path)
    assert header["elements"] == ["Al"]
    assert header["units"]["energy"] == "eV"
    assert header["reference_electron_temperature"] == 1000.0
    assert header["energy_grid"] == {"start": -6.0, "spacing": 0.5, "size": 36}
    assert header["network"]["hidden"] == list(model.network.widths)


def test_a_failed_save_leaves_the_earlier_file(saved, monkeypatch):
    model, path = saved
    before = path.read_bytes()

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match="could not be written"):
        model.save(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("the pickle was executed",))


def truncated(path):
    path.write_bytes(path.read_bytes()[:-100])


def header_only(path):
    path.write_bytes(path.read_bytes()[:200])


def flipped(path):
    data = bytearray(path.read_bytes())
    data[-1000] ^= 16
    path.write_bytes(data)


def pickled(path):
    path.write_bytes(pickle.dumps(Bomb()))


def torch_file(path):
    torch.save({"weights": torch.zeros(3)}, path)


def noise(path):
    path.write_bytes(np.random.default_rng(0).bytes(5000))


def empty(path):
    path.write_bytes(b"")


def foreign(path):
    save_file({"weights": torch.zeros(3)}, path, metadata={"format": "pt"})


def bare(path):
    save_file({"weights": torch.zeros(3)}, path)


@pytest.mark.parametrize("spoil", [truncated, header_only, flipped, pickled, torch_file, noise, empty, foreign, bare])
def test_refuses_what_is_not_a_model(saved, spoil):
    _, path = saved
    spoil(path)
    with pytest.raises(FileFormatError, match=r"al\.safetensors") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


def rewrite(path, change):
    """Writes the same tensors with a changed header, checksum and all."""
    tensors, header = read_tensors(path)
    change(header, tensors)
    write_tensors(path, tensors, header)


@pytest.mark.parametrize(
    "change",
    [
        lambda header, _: header.pop("ions"),
        lambda header, _: header["network"].update(hidden=[7, 7]),
        lambda header, _: header["network"].update(activation="__import__"),
        lambda header, _: header["energy_grid"].update(size=35),
        lambda header, _: header["descriptor"].update(order=5),
        lambda header, _: header.update(descriptor=3),
        lambda header, _: header.update(grid_spacing=None),
        lambda _, tensors: tensors.pop("core.Al"),
        lambda _, tensors: tensors.pop("network.input_mean"),
        lambda header, _: header["ions"]["Al"].update(valence=float("inf")),
        lambda header, _: header["network"].update(inputs=float("-inf")),
        lambda header, _: header["network"].update(hidden=[float("nan")]),
        lambda header, _: header.update(grid_spacing=-0.2),
        lambda header, _: header.update(reference_electron_temperature=float("nan")),
        lambda header, _: header["network"].update(hidden=[10**6, 10**6]),
        lambda header, _: header["energy_grid"].update(size=10**12),
        lambda header, _: header["network"].update(dtype="float64"),
        lambda _, tensors: tensors.update({"core.Al": tensors["core.Al"].reshape(2, -1)}),
        lambda _, tensors: tensors.update({"core.Al": tensors["core.Al"].long()}),
        lambda _, tensors: tensors["network.input_mean"].fill_(torch.nan),
        lambda _, tensors: tensors["network.input_scale"].neg_(),
        lambda _, tensors: tensors["network.output_scale"][:1].zero_(),
        lambda _, tensors: tensors["network.layers.0.weight"][0].fill_(1e30),
        lambda _, tensors: tensors["core.Al"].fill_(1e20),
    ],
)
def test_refuses_a_model_with_a_wrong_entry(saved, change):
    _, path = saved
    rewrite(path, change)
    with pytest.raises(FileFormatError, match="wrong or missing entry") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


def test_an_unchanged_rewrite_loads(saved):
    _, path = saved
    rewrite(path, lambda *_: None)
    assert load_model(path).elements == ("Al",)


def test_names_a_version_it_does_not_know(saved):
    _, path = saved
    rewrite(path, lambda header, _: header.update(version=99))
    with pytest.raises(FileFormatError, match="model format 99"):
        load_model(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.safetensors: no such file"):
        load_model(tmp_path / "nothing.safetensors")


def test_the_printed_form_is_short():
    model = random_model()
    lines = repr(model).splitlines()
    assert len(lines) == 5
    assert lines[:2] == ["Model of Al, functional pbe", "tau_ref = 1000 K, tau_e up to 9000 K"]
    assert lines[-1] == "no anchor: F from the LDOS alone"
    whole = dataclasses.replace(model, total_energy_obstacle="no density")
    assert repr(whole).endswith("no total free energy: no density")


def in_header(path, change):
    """Changes the text of the header of a safetensors file, without its numbers."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = change(content[8 : 8 + length])
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])


def exchanged(header):
    """Exchanges the places of two tensors of the same size."""
    entries = json.loads(header)
    one, two = entries["network._members.0.layers.0.bias"], entries["network._members.1.layers.0.bias"]
    one["data_offsets"], two["data_offsets"] = two["data_offsets"], one["data_offsets"]
    return json.dumps(entries).encode()


def transposed(header):
    entries = json.loads(header)
    entries["network._members.0.layers.0.weight"]["shape"].reverse()
    return json.dumps(entries).encode()


def renamed(header):
    """Exchanges the names of mean and scale, whose sizes are equal."""
    return (
        header.replace(b"members.0.input_mean", b"members.0.input_xxxx")
        .replace(b"members.0.input_scale", b"members.0.input_mean")
        .replace(b"members.0.input_xxxx", b"members.0.input_scale")
    )


@pytest.fixture(scope="module")
def anchored():
    """A small ensemble with an anchor."""
    config = TrainingConfig(hidden=(8,), epochs=1, order=2, anchor_order=2, cutoff=4.0, anchor_cutoff=4.0, ensemble=2)
    return train(Dataset([made_up_snapshot(seed) for seed in range(4)]), config)


def of_version(model, version, path):
    """Writes a model file of a version."""
    hot = dataclasses.replace(model, reference_electron_temperature=9000.0)
    (blend_models([model, hot]) if version == 3 else model).save(path)
    if version == 1:
        tensors, header = read_tensors(path)
        del header["checksum"]
        header["version"] = 1
        digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
        for name in sorted(tensors):
            digest.update(name.encode() + tensors[name].numpy().tobytes())
        save_file(tensors, path, {"fermisea": json.dumps(header | {"checksum": digest.hexdigest()})})
    assert read_header(path)["version"] == version


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize(
    "change",
    [
        lambda header: header.replace(b'"F32"', b'"I32"', 1),
        lambda header: header.replace(b'"F32"', b'"U32"'),
        lambda header: header.replace(b'"F64"', b'"I64"', 1),
        lambda header: header.replace(b'\\"smoothness\\": 1', b'\\"smoothness\\": 2', 1),
        exchanged,
        transposed,
        renamed,
    ],
    ids=["type", "all-types", "anchor-type", "entry", "exchanged", "transposed", "renamed"],
)
def test_types_shapes_and_names_are_part_of_the_checksum(anchored, tmp_path, version, change):
    path = tmp_path / "al.safetensors"
    of_version(anchored, version, path)
    load_model(path)
    before = path.read_bytes()
    in_header(path, change)
    assert path.read_bytes() != before
    with pytest.raises(FileFormatError, match=r"al\.safetensors: "):
        load_model(path)


def test_a_model_of_the_first_version_is_saved_in_the_second_with_the_same_numbers(anchored, tmp_path):
    first = tmp_path / "first.safetensors"
    of_version(anchored, 1, first)
    load_model(first).save(tmp_path / "al.safetensors")
    (one, old), (two, new) = read_tensors(first), read_tensors(tmp_path / "al.safetensors")
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) and one[name].dtype == two[name].dtype for name in one)
    assert (old["version"], new["version"]) == (1, 2)
    assert old["checksum"] != new["checksum"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_a_model_that_cannot_be_read_now_is_not_damaged(saved, monkeypatch, number):
    def refused(*_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(StorageError, match=r"al\.safetensors: cannot be read now"):
        load_model(saved[1])
