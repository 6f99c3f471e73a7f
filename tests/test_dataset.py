"""Datasets: files and folders in order, and snapshots that do not fit together are named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import fermisea
from fermisea.data.dataset import Dataset, snapshot_files
from fermisea.data.dataset_report import describe, warnings
from fermisea.data.snapshot import Snapshot
from fermisea.errors import FileFormatError, InputError
from fermisea.grid import EnergyGrid
from fermisea.physics.broadening import Broadening
from fermisea.physics.ions import CoreCharge, Ion, electrons
from synthetic import made_up_snapshot


def other(snapshot: Snapshot, **changes) -> Snapshot:
    names = (*Snapshot.__dataclass_fields__, "ldos")
    values = {name: getattr(snapshot, name) for name in names} | changes
    values["density"] = values["density"] * (electrons(values["ions"], snapshot.atoms.symbols) / snapshot.electrons)
    return Snapshot(**values)


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
        ({"functional": "pbe"}, "functional: y has pbe, but x has lda; expected the same value in all snapshots"),
        ({"electron_temperature": 300.0}, r"reference electron temperature \(K\): y has 300.0, but x has 1000.0"),
        ({"ions": {"Al": Ion("Al", 11.0)}}, "valence of Al: y has 11.0, but x has 3.0"),
        ({"ions": {"Al": Ion("Al", 3.0, CORE)}}, r"core charge of Al: y has 1 electrons \(.*, but x has none"),
        ({"provenance": MADE}, r"pseudopotential of Al: y has GTH-PBE-q3 \(01234567\), but x has unknown"),
    ],
)
def test_snapshots_that_do_not_fit_are_named_with_both_values(one, two, changes, text):
    with pytest.raises(InputError, match=text):
        Dataset((one, other(two, **changes)), ("x", "y"))


def test_core_charges_of_the_same_electrons_differ_too(one, two):
    cores = [other(s, ions={"Al": Ion("Al", 3.0, c)}) for s, c in ((one, CORE), (two, OTHER_CORE))]
    with pytest.raises(InputError, match="core charge of Al: snapshot 1 has 1 electrons"):
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


def test_split_keeps_a_structure_on_one_side():
    snapshots = tuple(made_up_snapshot(seed, (3, 3, 3)) for seed in (1, 2, 3, 4, 1, 2, 3, 4))
    dataset = Dataset(snapshots)
    parts = set()
    for seed in range(5):
        first, second = dataset.split(0.3, seed)
        keys = [{s.atoms.positions.tobytes() for s in part} for part in (first, second)]
        assert not keys[0] & keys[1]
        assert (len(first), len(second)) == (6, 2)
        parts.add(second.names)
        assert dataset.split(0.3, seed)[1].names == second.names
    assert len(parts) > 1
    assert dataset.split(0.0)[1] is None
    assert dataset[:1].split(0.5)[1] is None


def test_split_by_ion_temperature(one):
    temperatures = (100.0, 298.0, 933.0, 298.0)
    dataset = Dataset(tuple(other(one, ion_temperature=t) for t in temperatures), ("a", "b", "c", "d"))
    first, second = dataset.split_by_ion_temperature([298.0])
    assert (first.names, second.names) == (("a", "c"), ("b", "d"))
    assert dataset.select([100.0, 933.0]).names == ("a", "c")
    with pytest.raises(InputError, match="ion temperatures: got 700 K, expected some of 100, 298, 933 K"):
        dataset.split_by_ion_temperature([700.0])
    with pytest.raises(InputError, match="got no snapshot"):
        dataset.split_by_ion_temperature([100.0, 298.0, 933.0])


def test_report_says_what_is_there_and_what_will_hurt(one, two):
    made = {"engine": "fermisea.PlaneWave", "kpts": [8, 8, 8], "scf_tolerance_eV_per_atom": 1e-9}
    good = [other(s, provenance=made) for s in (one, two)]
    values = describe(good)
    assert (values["snapshots"], values["formulas"], values["ion_temperatures"]) == (2, {"Al4": 2}, {"300 K": 2})
    assert values["points"] == 27 + 36
    assert values["bytes"] == 4 * 63 * one.energy_grid.size
    window = 0 if one.highest_electron_temperature >= 5000 else 1
    assert len(warnings(good, ["a", "b"])) == window

    cold = replace(one.reference, free_energy=one.reference.free_energy - 0.04)
    changes = {
        "mixed broadening: b has Broadening(kernel='gaussian', standard_deviation=0.6)": {
            "broadening": Broadening("gaussian", 0.6)
        },
        "mixed functional: b has pbe, but a has lda": {"functional": "pbe"},
        "loose SCF cycle: b: converged to 1e-05 eV/atom": {"provenance": made | {"scf_tolerance_eV_per_atom": 1e-5}},
        "coarse k-mesh: b: 2 2 2 has a spacing of 0.78 1/Angstrom": {"provenance": made | {"kpts": [2, 2, 2]}},
        "ion temperature: b: unknown": {"ion_temperature": None},
        "LDOS: b: F from the LDOS differs from F of the DFT code by +10.00 meV/atom": {"reference": cold},
        "LDOS: b: no total free energy: soft": {"total_energy_obstacle": "soft"},
    }
    for text, change in changes.items():
        found = warnings([good[0], other(good[0], **change)], ["a", "b"])
        assert any(line.startswith(text) for line in found), (text, found)
    hot = other(good[0], electron_temperature=2000.0, broadening=Broadening("gaussian", 0.6))
    assert not any(line.startswith("mixed") for line in warnings([good[0], hot], ["a", "b"]))
    twice = warnings([other(good[0], ion_temperature=None)] * 3, ["a", "b", "c"], closure=False)
    assert twice[-1].startswith("ion temperature: a and 2 more: unknown")


def test_small_windows_are_told(one):
    for size in (21, 26):  # up to 4 eV, which does not hold the electrons, and 6.5 eV, which does
        grid = EnergyGrid(one.energy_grid.start, one.energy_grid.spacing, size)
        small = other(one, energy_grid=grid, ldos=one.ldos[..., :size], dos=None)
        highest = 0 if size == 21 else small.highest_electron_temperature
        (text,) = [line for line in warnings([small], ["a"], closure=False) if line.startswith("small energy window")]
        assert f"valid for tau_e up to {highest:.0f} K, expected 5000" in text
