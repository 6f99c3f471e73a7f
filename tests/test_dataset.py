"""Datasets: files and folders in order, and snapshots that do not fit together are named."""

from __future__ import annotations

import numpy as np
import pytest

import fermisea
from fermisea.broadening import Broadening
from fermisea.dataset import Dataset, snapshot_files
from fermisea.energies import Ion
from fermisea.energies.ions import CoreCharge
from fermisea.errors import FileFormatError, InputError
from fermisea.grid import EnergyGrid
from fermisea.snapshot import Snapshot
from synthetic import made_up_snapshot


def other(snapshot: Snapshot, **changes) -> Snapshot:
    names = (*Snapshot.__dataclass_fields__, "ldos")
    return Snapshot(**({name: getattr(snapshot, name) for name in names} | changes))


@pytest.fixture(scope="module")
def one():
    return made_up_snapshot(1, shape=(3, 3, 3))


@pytest.fixture(scope="module")
def two():
    return made_up_snapshot(2, shape=(4, 3, 3))


@pytest.fixture
def folder(one, two, tmp_path):
    data = tmp_path / "data"
    for name, snapshot in (("b.nc", one), ("a.nc", two), ("c.nc", one)):
        snapshot.save(data / name)
    (data / "notes.txt").write_text("not a snapshot")
    (data / ".hidden.nc").write_text("not a snapshot")
    return data


def test_a_folder_is_read_in_the_order_of_names(one, two, folder):
    dataset = Dataset.load(folder)
    assert len(dataset) == 3
    assert [name.rsplit("/", 1)[-1] for name in dataset.names] == ["a.nc", "b.nc", "c.nc"]
    assert [s.grid.shape for s in dataset] == [(4, 3, 3), (3, 3, 3), (3, 3, 3)]
    np.testing.assert_array_equal(dataset[0].ldos, two.ldos)
    np.testing.assert_array_equal(dataset[-1].ldos, one.ldos)


def test_order_does_not_depend_on_the_file_system(tmp_path):
    names = [f"{hash((i, 7)) % 9973:04d}-{i}.nc" for i in range(60)]
    for name in names:
        (tmp_path / name).touch()
    assert [file.name for file in snapshot_files(tmp_path)] == sorted(names)


def test_files_come_in_the_order_given_and_once(folder, monkeypatch):
    files = [folder / "c.nc", folder / "a.nc"]
    assert snapshot_files(files) == files
    monkeypatch.chdir(folder)
    assert [f.name for f in snapshot_files(["b.nc", folder, folder / "b.nc"])] == ["b.nc", "a.nc", "c.nc"]
    assert [f.name for f in snapshot_files("b.nc")] == ["b.nc"]


def test_what_snapshots_share_is_that_of_each(one, folder):
    dataset = Dataset.load([folder])
    assert dataset.energy_grid == one.energy_grid
    assert dataset.broadening == one.broadening
    assert dataset.functional == one.functional
    assert dataset.electron_temperature == one.electron_temperature
    assert dataset.ion_temperatures == [300.0]
    assert {s: ion.to_dict() for s, ion in dataset.ions.items()} == {s: ion.to_dict() for s, ion in one.ions.items()}


def test_datasets_are_made_of_snapshots_in_memory_too(one, two):
    dataset = Dataset((one, two))
    assert list(dataset) == [one, two]
    assert dataset.names == ("snapshot 0", "snapshot 1")
    assert dataset[1:].snapshots == (two,)
    assert dataset[1:].names == ("snapshot 1",)
    assert fermisea.Dataset is Dataset


def test_elements_of_all_snapshots_are_collected(one):
    beryllium = made_up_snapshot(3, shape=(3, 3, 3), symbol="Be")
    assert sorted(Dataset((one, beryllium)).ions) == ["Al", "Be"]


CORE, OTHER_CORE = CoreCharge(0.1, np.ones(10)), CoreCharge(0.1, np.array([1.0] * 9 + [0.5]))
MADE = {"pseudopotentials": {"Al": {"name": "GTH-PBE-q3", "sha256": "0123456789abcdef"}}}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"energy_grid": EnergyGrid(-6.1, 0.5, 36)}, r"energy grid: y has .*start=-6.1.*but x has .*start=-6.0"),
        ({"broadening": Broadening("gaussian", 0.4)}, "broadening: y has .*0.4.*but x has .*0.5"),
        ({"functional": "pbe"}, "functional: y has pbe, but x has lda; a dataset needs one for all"),
        ({"electron_temperature": 300.0}, r"reference electron temperature \(K\): y has 300.0, but x has 1000.0"),
        ({"ions": {"Al": Ion("Al", 11.0)}}, "valence of Al: y has 11.0, but x has 3.0"),
        ({"ions": {"Al": Ion("Al", 3.0, CORE)}}, r"core charge of Al: y has one of 1 electrons \(.*, but x has none"),
        ({"provenance": MADE}, r"pseudopotential of Al: y has GTH-PBE-q3 \(01234567\), but x has unknown"),
    ],
)
def test_snapshots_that_do_not_fit_are_named_with_both_values(one, two, changes, text):
    with pytest.raises(InputError, match=text):
        Dataset((one, other(two, **changes)), ("x", "y"))


def test_core_charges_of_the_same_electrons_differ_too(one, two):
    cores = [other(s, ions={"Al": Ion("Al", 3.0, c)}) for s, c in ((one, CORE), (two, OTHER_CORE))]
    with pytest.raises(InputError, match="core charge of Al: snapshot 1 has one of 1 electrons"):
        Dataset(tuple(cores))
    assert len(Dataset((cores[0], cores[0]))) == 2


def test_the_first_of_three_that_does_not_fit_is_found(one, two):
    beryllium = made_up_snapshot(3, shape=(3, 3, 3), symbol="Be")
    heavier = other(beryllium, ions={"Be": Ion("Be", 4.0)})
    with pytest.raises(InputError, match=r"valence of Be: snapshot 3 has 4\.0, but snapshot 2 has 3\.0"):
        Dataset((one, two, beryllium, heavier))


def test_nothing_is_refused(tmp_path, one):
    with pytest.raises(InputError, match="dataset: got no snapshot"):
        Dataset(())
    with pytest.raises(InputError, match="dataset: got no snapshot"):
        Dataset.load([])
    with pytest.raises(InputError, match=rf"{tmp_path.name}: no snapshots \(\.nc\) in this folder"):
        Dataset.load(tmp_path)
    with pytest.raises(InputError, match="absent: no such file or folder"):
        Dataset.load([tmp_path / "absent"])
    with pytest.raises(InputError, match="got 1 names for 2 snapshots"):
        Dataset((one, one), ("x",))


def test_a_damaged_file_is_named(folder):
    content = (folder / "b.nc").read_bytes()
    (folder / "b.nc").write_bytes(content[: len(content) // 2])
    with pytest.raises(FileFormatError, match=r"b\.nc: truncated"):
        Dataset.load(folder)
