"""openPMD files in and out; the reference is the file that MALA wrote of the same LDOS as its .npy file."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

import h5py
import numpy as np
import pytest

import fermisea
from fermisea.data.reference import Reference
from fermisea.data.snapshot import Snapshot
from fermisea.errors import FileFormatError, InputError, StorageError
from fermisea.interop import openpmd
from fermisea.interop.openpmd_file import DENSITY, DOS, LDOS, add_iteration, add_mesh, new_series, read_record
from synthetic import made_up_snapshot, structure

MALA = Path(__file__).parent / "data" / "mala-be2"


@pytest.fixture(scope="module")
def snapshot():
    made = made_up_snapshot(0)
    parts = {name: value for name, value in vars(made).items() if name != "_ldos"} | {"ldos": made.ldos}
    rng = np.random.default_rng(1)
    old = made.reference
    parts["reference"] = Reference(
        old.free_energy,
        {"total": -1.5},
        old.fermi_level,
        old.electrons,
        -0.1,
        rng.normal(size=(4, 3)),
        rng.normal(size=(3, 3)),
    )
    return Snapshot(**parts)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of two epochs."""
    folder = tmp_path_factory.mktemp("model")
    for seed in range(2):
        made_up_snapshot(seed).save(folder / f"{seed}.nc")
    config = fermisea.TrainingConfig(order=2, hidden=(8,), epochs=2, validation_fraction=0.0)
    return fermisea.train([folder], config)


def test_ldos_of_a_mala_file_is_that_of_its_array():
    file = MALA / "Be_snapshot0.out.h5"
    before = file.read_bytes()
    [fields] = openpmd.read_fields(file)
    np.testing.assert_array_equal(fields.ldos, np.load(MALA / "Be_snapshot0.out.npy"))
    assert fields.ldos.dtype == np.float32
    assert (fields.atoms, fields.grid, fields.density, fields.energy_grid) == (None,) * 4
    assert file.read_bytes() == before
    with pytest.raises(FileFormatError, match="of another program"):
        openpmd.read_snapshot(file)


def test_snapshot_comes_back_as_it_was(tmp_path, snapshot):
    openpmd.write_snapshot(tmp_path / "s.h5", snapshot)
    back = openpmd.read_snapshot(tmp_path / "s.h5")
    before = snapshot.to_xarray()
    after = back.to_xarray()
    after.attrs["provenance"] = before.attrs["provenance"]
    assert after.identical(before)
    assert json.loads(back.to_xarray().attrs["provenance"]) == snapshot.provenance
    assert [file.name for file in tmp_path.iterdir()] == ["s.h5"]


def test_file_has_what_the_standard_asks_for(tmp_path, snapshot):
    """The attributes that the standard, version 1.1.0, requires of each kind of object."""
    openpmd.write_snapshot(tmp_path / "s.h5", snapshot)
    record = {"unitDimension", "timeOffset"}
    mesh = record | {"geometry", "dataOrder", "axisLabels", "gridSpacing", "gridGlobalOffset", "gridUnitSI"}
    with h5py.File(tmp_path / "s.h5") as file:
        assert file.attrs["openPMD"] == b"1.1.0"
        assert file.attrs["openPMDextension"].dtype == np.uint32
        assert file.attrs["basePath"] == file.attrs["iterationFormat"] == b"/data/%T/"
        assert file.attrs["iterationEncoding"] == b"groupBased"
        iteration = file["data/0"]
        assert {"time", "dt", "timeUnitSI"} <= set(iteration.attrs)
        meshes = iteration[file.attrs["meshesPath"].decode()]
        assert set(meshes) == {"density", "LDOS", "DOS"}
        for item in meshes.values():
            assert mesh <= set(item.attrs)
            assert item.attrs["unitDimension"].shape == (7,)
            parts = [item] if isinstance(item, h5py.Dataset) else list(item.values())
            for part in parts:
                assert {"unitSI", "position"} <= set(part.attrs)
                assert len(item.attrs["axisLabels"]) == len(item.attrs["gridSpacing"]) == part.ndim
        # in SI: density 1/m^3, LDOS 1/(J m^3), lengths m
        density, first = meshes["density"], meshes["LDOS/0"]
        assert density.attrs["unitSI"] == pytest.approx(1e30, rel=1e-14)
        assert first.attrs["unitSI"] == pytest.approx(1e30 / 1.602176634e-19, rel=1e-14)
        assert density.attrs["gridUnitSI"] * density.attrs["gridSpacing"][0] == pytest.approx(4.05e-10 / 6, rel=1e-12)
        assert density.attrs["geometry"] == b"cartesian"
        species = iteration["particles/atoms"]
        assert set(species) == {"position", "positionOffset", "atomicNumber", "force"}
        for name, item in species.items():
            assert record <= set(item.attrs), name
        np.testing.assert_array_equal(species["position/y"][...], snapshot.atoms.positions[:, 1])
        np.testing.assert_array_equal(species["atomicNumber"][...], 13)


def test_other_units_are_turned_into_those_of_the_package(tmp_path, snapshot):
    openpmd.write_snapshot(tmp_path / "s.h5", snapshot)
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        file["data/0/meshes/density"].attrs["unitSI"] = 1e6  # 1/cm^3
        file["data/0/meshes/density"][...] *= 1e24
        file["data/0/particles/atoms/position/x"].attrs["unitSI"] = 1.0  # m
        file["data/0/particles/atoms/position/x"][...] *= 1e-10
        offset = file["data/0/particles/atoms/positionOffset/z"]
        offset.attrs["value"], offset.attrs["unitSI"] = 0.5e-9, 1.0
    [fields] = openpmd.read_fields(tmp_path / "s.h5")
    np.testing.assert_allclose(fields.density, snapshot.density, rtol=1e-14)
    np.testing.assert_allclose(fields.atoms.positions, snapshot.atoms.positions + np.array([0, 0, 5.0]), rtol=1e-14)


def test_skewed_lattice_is_kept(tmp_path):
    cell = np.array([[0.2, 3.1, 0.4], [4.0, 0.1, -0.3], [0.5, 0.6, 5.2]])
    grid = fermisea.RealSpaceGrid(cell, (2, 3, 4))
    field = np.arange(24.0).reshape(2, 3, 4)
    with new_series(tmp_path / "f.h5", "1") as file:
        add_mesh(add_iteration(file, 0), "density", grid, field, DENSITY)
    with h5py.File(tmp_path / "f.h5") as file:
        mesh = file["data/0/meshes/density"]
        assert mesh.attrs["geometry"] == b"other:lattice"
        np.testing.assert_array_equal(mesh.attrs["latticeVectors"].reshape(3, 3), cell)
        np.testing.assert_array_equal(read_record(mesh, DENSITY), field)
    [fields] = openpmd.read_fields(tmp_path / "f.h5")
    assert fields.grid == grid
    assert fields.atoms is None
    np.testing.assert_array_equal(fields.density, field)


def test_prediction_has_an_iteration_for_each_temperature(tmp_path, model):
    atoms = structure(5)
    prediction = model.predict(atoms, [500.0, 2000.0], (4, 4, 6))
    ldos = model.ldos(atoms, (4, 4, 6))
    openpmd.write_prediction(tmp_path / "p.h5", prediction, ldos)
    cold, hot = openpmd.read_fields(tmp_path / "p.h5")
    np.testing.assert_array_equal(np.stack([cold.density, hot.density]), prediction.density)
    np.testing.assert_array_equal(cold.ldos, ldos)
    assert hot.ldos is None
    assert cold.energy_grid == model.energy_grid
    np.testing.assert_array_equal(hot.atoms.positions, atoms.positions)
    assert [f.attributes["electronTemperature"] for f in (cold, hot)] == [500.0, 2000.0]
    assert hot.attributes["free_energy_second_order"] == prediction.free_energy[1]
    assert hot.attributes["fermi_level"] == prediction.fermi_level[1]
    single = model.predict(atoms, 500.0, (4, 4, 6), density=False)
    openpmd.write_prediction(tmp_path / "q.h5", single)
    [fields] = openpmd.read_fields(tmp_path / "q.h5")
    assert fields.density is None
    assert fields.attributes["band_energy"] == single.band_energy
    with pytest.raises(InputError, match=r"LDOS: got shape \(4, 4, 6, 36\), expected .*\(4, 4, 5, 36\)"):
        openpmd.write_prediction(tmp_path / "r.h5", model.predict(atoms, 500.0, (4, 4, 5)), ldos)


def spoil(change):
    def on(path):
        with h5py.File(path, "r+") as file:
            change(file)

    return on


def constant(name, shape):
    """Replaces a record by a constant of a shape."""

    def change(file):
        attributes = dict(file[name].attrs)
        del file[name]
        record = file.create_group(name)
        for key, value in (attributes | {"value": 1.0, "shape": np.array(shape, dtype=np.uint64)}).items():
            record.attrs[key] = value

    return spoil(change)


def linked_often(file):
    """Replaces the LDOS by a thousand names of one data set of 4 MB, almost without content."""
    group = file["data/0/meshes/LDOS"]
    attributes = dict(group["0"].attrs)
    for name in list(group):
        del group[name]
    big = group.create_dataset("0", data=np.zeros((100, 100, 100), np.float32), compression="gzip")
    for key, value in attributes.items():
        big.attrs[key] = value
    for number in range(1, 1000):
        group[str(number)] = big


def replace_metadata(text):
    def change(file):
        del file["fermisea/snapshot"]
        file["fermisea/snapshot"] = np.bytes_(text)

    return spoil(change)


def flip(name):
    """Changes one bit in the first chunk of a data set."""

    def on(path):
        with h5py.File(path) as file:
            offset = file[name].id.get_chunk_info(0).byte_offset
        data = bytearray(path.read_bytes())
        data[offset + 5] ^= 0b100
        path.write_bytes(data)

    return on


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.write_bytes(b""), "not readable as openPMD"),
        (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), "not readable as openPMD"),
        (lambda path: path.write_text("text"), "not readable as openPMD"),
        (spoil(lambda file: file.attrs.__delitem__("openPMD")), "not an openPMD file"),
        (
            spoil(lambda file: file.__delitem__("data/0/meshes/LDOS/3")),
            "35 components and none of them is 3,",
        ),
        (spoil(lambda file: file.__delitem__("data/0/meshes/density")), "density, LDOS or atoms are missing"),
        (spoil(lambda file: file.__delitem__("data/0/particles")), "density, LDOS or atoms are missing"),
        (spoil(lambda file: file.__delitem__("data/0/meshes/DOS")), "not readable as openPMD"),
        (spoil(lambda file: file.__delitem__("data/0/particles/atoms/position/y")), "not readable as openPMD"),
        (replace_metadata(b"{"), "not readable as openPMD"),
        (replace_metadata(b"[1]"), "are inconsistent"),
        (replace_metadata(b"{}"), "format None"),
        (constant("data/0/meshes/density", [10**4] * 3), "density declares 8000000000000 bytes"),
        (constant("data/0/particles/atoms/positionOffset/x", [10**12]), "positionOffset declares 24000000000000 bytes"),
        (spoil(linked_often), "LDOS declares 4000000000 bytes"),
        (
            spoil(lambda file: file["data/0/meshes"].create_dataset("bare", shape=(10**12,), dtype="f8")),
            "bare declares 8000000000000 bytes",
        ),
        (
            spoil(lambda file: file["data/0"].update(link=h5py.SoftLink("/data/0/meshes"))),
            "link is a soft link",
        ),
        (
            spoil(lambda file: file["data/0"].update(link=h5py.ExternalLink("/etc/hostname", "/"))),
            "link is an external link",
        ),
        (
            spoil(lambda file: file["data/0/meshes/LDOS/0"].attrs.__setitem__("unitSI", 1e308)),
            "LDOS/0 has numbers that are not finite",
        ),
        (
            spoil(lambda file: file["data/0/meshes/density"].attrs.__setitem__("dataOrder", np.zeros((3, 3)))),
            "got data order .* expected C",
        ),
        (
            spoil(lambda file: (file.__delitem__("data/0"), file.update({"data/0": 1.0}))),
            "not readable as openPMD",
        ),
        (
            spoil(lambda file: file["data/0/meshes/density"].attrs.__setitem__("unitSI", 0.0)),
            r"density has unitSI 0\.0, expected a positive number",
        ),
        (flip("data/0/meshes/density"), "not readable as openPMD"),
        (flip("data/0/particles/atoms/position/x"), "not readable as openPMD"),
        (
            spoil(lambda file: file["data/0/meshes/density"].attrs.__setitem__("unitDimension", np.zeros(7))),
            r"density has the dimension \(0, 0, 0, 0, 0, 0, 0\), expected \(-3, 0",
        ),
        (
            spoil(lambda file: file["data/0/meshes/LDOS"].move("35", "36")),
            "36 components and none of them is 35,",
        ),
    ],
)
def test_spoilt_files_are_refused_in_one_line(tmp_path, snapshot, change, message):
    path = tmp_path / "s.h5"
    openpmd.write_snapshot(path, snapshot)
    change(path)
    with pytest.raises(FileFormatError, match=message) as caught:
        openpmd.read_snapshot(path)
    assert "\n" not in str(caught.value)
    assert "s.h5" in str(caught.value)


def test_a_series_that_another_process_writes_is_not_damaged(tmp_path, snapshot):
    path = tmp_path / "s.h5"
    openpmd.write_snapshot(path, snapshot)
    with path.open("r+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(StorageError, match=r"s\.h5: cannot be read now .*another process has locked the file"):
            openpmd.read_snapshot(path)


def test_data_sets_of_another_kind_are_refused(snapshot):
    data = snapshot.to_xarray()
    assert {data[name].attrs["units"] for name in ("ldos", "density", "dos")} == {
        "1/(eV Angstrom^3)",
        "1/Angstrom^3",
        "1/eV",
    }
    with pytest.raises(FileFormatError, match="data set: not a snapshot"):
        Snapshot.from_xarray(data.drop_vars("cell"))
    with pytest.raises(FileFormatError, match="data set: format None"):
        Snapshot.from_xarray(data.drop_attrs())


@pytest.mark.parametrize(("name", "value"), [("dataOrder", b"F"), ("axisLabels", np.array([b"z", b"y", b"x"]))])
def test_fields_in_another_order_are_refused(tmp_path, snapshot, name, value):
    path = tmp_path / "s.h5"
    openpmd.write_snapshot(path, snapshot)
    spoil(lambda file: file["data/0/meshes/density"].attrs.__setitem__(name, value))(path)
    with pytest.raises(FileFormatError, match="density is not in the order x, y, z"):
        openpmd.read_fields(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda f: f["data/0/meshes/LDOS/20"].attrs.modify("unitSI", 2 * LDOS[1]),
            "the LDOS at energy 20 integrates to",
        ),
        (lambda f: f["data/0/meshes/LDOS"].move("20", "36"), "has 36 components and none of them is 20"),
        (lambda f: f["data/0/meshes/DOS"].attrs.modify("unitSI", 0.5 * DOS[1]), "expected the DOS of the file"),
    ],
)
def test_an_ldos_that_does_not_integrate_to_the_dos_is_refused(tmp_path, snapshot, change, message):
    openpmd.write_snapshot(tmp_path / "x.h5", snapshot)
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        change(file)
    with pytest.raises(FileFormatError, match=message):
        openpmd.read_snapshot(tmp_path / "x.h5")
