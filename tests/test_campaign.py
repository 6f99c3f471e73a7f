from __future__ import annotations

import fcntl
import json
from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk

from fermisea.campaign import Campaign, Record, Records, run_campaign
from fermisea.data.dataset import Dataset
from fermisea.data.snapshot import Snapshot
from fermisea.errors import InputError, StorageError
from fermisea.grid import EnergyGrid

TEMPERATURE = 3000.0
SMALL = Campaign(xc="lda", cutoff=80.0, kpts=(2, 2, 2), energy_spacing=0.5, highest_electron_temperature=5000.0)


@pytest.fixture(scope="module")
def structures():
    """One aluminium atom at two volumes, the larger one first."""
    cells = {name: bulk("Al", "fcc", a=a) for name, a in (("wide", 4.15), ("normal", 4.05))}
    cells["wide"].info["ion_temperature"] = 298.0
    return cells


@pytest.fixture(scope="module")
def finished(structures, tmp_path_factory):
    """A folder with the snapshots of both, and what was told while they were made."""
    folder = tmp_path_factory.mktemp("campaign") / "new" / "data"
    told = []
    outcomes = run_campaign(
        SMALL.make_engine(),
        structures,
        TEMPERATURE,
        folder,
        watch=told.append,
        end=lambda outcome: told.append(("end", outcome.name)),
    )
    return folder, outcomes, told


def copy_of(folder, target):
    target.mkdir()
    for path in folder.glob("*.nc"):
        (target / path.name).write_bytes(path.read_bytes())
    return target


def files(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != ".campaign")


def statuses(outcomes):
    return {outcome.name: outcome.status for outcome in outcomes}


def test_every_structure_gets_a_snapshot_on_one_energy_grid(finished):
    folder, outcomes, told = finished
    assert statuses(outcomes) == {"wide": "computed", "normal": "computed"}
    assert files(folder) == ["normal.nc", "wide.nc"]
    dataset = Dataset.load(folder)  # refuses snapshots whose energies or tau_ref differ
    assert dataset.electron_temperature == TEMPERATURE
    assert dataset.ion_temperatures == [298.0]
    assert outcomes[0].snapshot.reference.free_energy == dataset[1].reference.free_energy
    news = [(item.name, item.status, item.iteration) if isinstance(item, Record) else item for item in told]
    wide, normal = outcomes
    steps = [("wide", "running", n) for n in range(wide.record.iteration + 1)]
    assert news[: len(steps) + 2] == [*steps, ("wide", "done", len(steps) - 1), ("end", "wide")]
    assert news[-1] == ("end", "normal")
    assert wide.record.iteration == wide.snapshot.provenance["scf_iterations"] >= 2
    assert wide.record.closure_error == pytest.approx(
        wide.snapshot.free_energy(TEMPERATURE) - wide.snapshot.reference.free_energy, abs=1e-9
    )
    assert Records(folder).read("normal") == normal.record
    assert [line.split()[-2:] for line in (folder / ".campaign" / "log").read_text().splitlines()] == [
        ["begin", "wide"],
        ["done", "wide"],
        ["begin", "normal"],
        ["done", "normal"],
    ]


def test_second_run_keeps_what_is_there(finished, structures):
    folder, _, _ = finished
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.nc")}
    begun = []
    outcomes = run_campaign(SMALL.make_engine(), structures, TEMPERATURE, folder, watch=begun.append)
    assert statuses(outcomes) == {"wide": "kept", "normal": "kept"}
    assert begun == []
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("*.nc")} == before


def test_missing_and_damaged_files_are_computed_anew_on_the_grid_of_the_others(finished, structures, tmp_path):
    folder = copy_of(finished[0], tmp_path / "data")
    damaged = folder / "wide.nc"
    damaged.write_bytes(damaged.read_bytes()[:-1000])
    outcomes = run_campaign(SMALL.make_engine(), structures, TEMPERATURE, folder)
    assert statuses(outcomes) == {"wide": "computed", "normal": "kept"}
    np.testing.assert_allclose(Snapshot.load(damaged).dos, Snapshot.load(finished[0] / "wide.nc").dos, atol=1e-4)
    assert Snapshot.load(damaged).energy_grid == Snapshot.load(folder / "normal.nc").energy_grid


@pytest.mark.parametrize(
    ("changes", "temperature", "message"),
    [
        ({"kpts": (3, 3, 3)}, TEMPERATURE, r"made with k-mesh \[2, 2, 2\], expected \[3, 3, 3\]"),
        ({"cutoff": 90.0}, TEMPERATURE, "made with cutoff 80.0, expected 90.0"),
        ({"xc": "pz"}, TEMPERATURE, "made with functional lda, expected pz"),
        ({"energy_spacing": 0.4}, TEMPERATURE, "made with energy spacing 0.5, expected 0.4"),
        (
            {"pseudopotentials": {"Al": "Al-q3"}, "broadening": 0.6},
            TEMPERATURE,
            "made with broadening 0.5, expected 0.6",
        ),
        ({}, 1000.0, "made with electron temperature 3000.0, expected 1000.0"),
    ],
)
def test_snapshots_of_other_settings_are_neither_kept_nor_overwritten(
    finished, structures, changes, temperature, message
):
    folder, _, _ = finished
    before = {path.name: path.read_bytes() for path in folder.glob("*.nc")}
    outcomes = run_campaign(replace(SMALL, **changes).make_engine(), structures, temperature, folder)
    assert statuses(outcomes) == {"wide": "failed", "normal": "failed"}
    assert {path.name: path.read_bytes() for path in folder.glob("*.nc")} == before
    with pytest.raises(InputError, match=message):
        raise InputError(outcomes[0].error)


def test_snapshot_of_another_structure_is_not_kept(finished, structures):
    moved = {"wide": structures["normal"]}
    (outcome,) = run_campaign(SMALL.make_engine(), moved, TEMPERATURE, finished[0])
    assert outcome.status == "failed"
    assert "holds a different structure, expected wide" in outcome.error


def test_a_failing_structure_does_not_stop_the_others(structures, tmp_path):
    # So small a cell has fewer plane waves than bands.
    engine = replace(SMALL, energy_window=(-6.0, 20.0)).make_engine()
    cells = {"tight": bulk("Al", "fcc", a=1.9), "tiny": bulk("Al", "fcc", a=1.3), "normal": structures["normal"]}
    outcomes = run_campaign(engine, cells, TEMPERATURE, tmp_path)
    assert statuses(outcomes) == {"tight": "failed", "tiny": "failed", "normal": "computed"}
    assert files(tmp_path) == ["normal.nc"]
    assert "plane waves" in outcomes[0].error
    assert "no plane wave" in outcomes[1].error
    assert outcomes[2].snapshot.energy_grid == EnergyGrid(-6.0, 0.5, 53)


def test_a_locked_snapshot_is_named_and_not_computed_anew(finished, structures, tmp_path):
    folder = copy_of(finished[0], tmp_path / "data")
    content = (folder / "wide.nc").read_bytes()
    with (folder / "wide.nc").open("r+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        outcomes = run_campaign(SMALL.make_engine(), structures, TEMPERATURE, folder)
    assert statuses(outcomes) == {"wide": "failed", "normal": "kept"}
    assert "wide.nc: cannot be read now" in outcomes[0].error
    assert (folder / "wide.nc").read_bytes() == content
    outcomes = run_campaign(SMALL.make_engine(), structures, TEMPERATURE, folder)
    assert statuses(outcomes) == {"wide": "kept", "normal": "kept"}


def test_a_file_of_another_kind_is_named_and_not_replaced(finished, structures, tmp_path):
    folder = copy_of(finished[0], tmp_path / "data")
    (folder / "wide.nc").write_text("notes of the author\n")
    outcomes = run_campaign(SMALL.make_engine(), structures, TEMPERATURE, folder)
    assert statuses(outcomes) == {"wide": "failed", "normal": "kept"}
    assert "wide.nc: not a snapshot" in outcomes[0].error
    assert (folder / "wide.nc").read_text() == "notes of the author\n"


def test_a_window_without_the_electrons_is_named_in_every_run(structures, tmp_path):
    engine = replace(SMALL, energy_window=(-12.0, 4.0)).make_engine()
    cells = {"dense": structures["normal"], "wide": bulk("Al", "fcc", a=5.0)}
    for status in ("computed", "kept"):
        outcomes = run_campaign(engine, cells, TEMPERATURE, tmp_path)
        assert statuses(outcomes) == {"dense": "failed", "wide": status}
        assert "widen the window" in outcomes[0].error
        assert files(tmp_path) == ["wide.nc"]


@pytest.mark.parametrize("part", ["closure", "provenance", "reading"])
def test_a_kept_snapshot_that_fails_at_any_stage_is_named_in_every_run(finished, structures, tmp_path, part):
    folder = copy_of(finished[0], tmp_path / "data")
    if part == "reading":
        (folder / "wide.nc").unlink()
        (folder / "wide.nc").mkdir()
    else:
        snapshot = Snapshot.load(folder / "wide.nc")
        weight = 0.1 if part == "closure" else 1.0
        provenance = {**snapshot.provenance, "pseudopotentials": ["those of MALA"]}
        changes = {"provenance": provenance} if part == "provenance" else {}
        replace(snapshot, ldos=weight * snapshot.ldos, dos=weight * snapshot.dos, **changes).save(folder / "wide.nc")
    for _ in range(2):
        outcomes = run_campaign(SMALL.make_engine(), structures, TEMPERATURE, folder)
        assert statuses(outcomes) == {"wide": "failed", "normal": "kept"}
        assert "wide.nc" in outcomes[0].error


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_a_lock_that_is_no_file_is_named(structures, tmp_path, kind):
    (tmp_path / ".campaign").mkdir()
    lock = tmp_path / ".campaign" / "lock"
    if kind == "folder":
        lock.mkdir()
    else:
        lock.symlink_to(tmp_path / "absent" / "lock")
    with pytest.raises(StorageError, match="lock: cannot be locked"):
        run_campaign(SMALL.make_engine(), structures, TEMPERATURE, tmp_path)


def test_an_altered_record_is_not_believed(finished, structures, tmp_path):
    folder = copy_of(finished[0], tmp_path / "data")
    run_campaign(SMALL.make_engine(), structures, TEMPERATURE, folder)
    records = Records(folder)
    path = records.place / "wide.json"
    values = json.loads(path.read_text())
    for changed in (values | {"closure_error": 1.0}, {k: v for k, v in values.items() if k != "checksum"}, [], None):
        path.write_text(json.dumps(changed))
        assert records.read("wide") is None
    path.write_text("[" * 100_000)
    assert records.read("wide") is None
    outcomes = run_campaign(SMALL.make_engine(), structures, TEMPERATURE, folder)
    assert statuses(outcomes) == {"wide": "kept", "normal": "kept"}
    assert abs(outcomes[0].record.closure_error) < 0.1
    assert records.read("wide") == outcomes[0].record


@pytest.mark.parametrize(
    ("changes", "temperature", "message"),
    [
        ({"pseudopotentials": {"Al": "absent.upf"}}, TEMPERATURE, "absent.upf"),
        ({"pseudopotentials": {"Si": "gth"}}, TEMPERATURE, "Al"),
        ({}, 0.0, "electron temperature: got 0.0 K"),
    ],
)
def test_nothing_is_written_when_nothing_can_be_computed(structures, tmp_path, changes, temperature, message):
    folder = tmp_path / "data"
    with pytest.raises(InputError, match=message):
        run_campaign(replace(SMALL, **changes).make_engine(), structures, temperature, folder)
    assert not folder.exists()


def test_settings_from_toml(tmp_path):
    path = tmp_path / "dft.toml"
    path.write_text(
        "xc = 'lda'\ncutoff = 80\nkpts = [2, 2, 2]\nenergy_spacing = 0.5\nhighest_electron_temperature = 5e3\n"
    )
    assert Campaign.from_toml(path) == SMALL
    assert Campaign.from_toml(path, cutoff=90.0, kpts=(1, 1, 1)) == replace(SMALL, cutoff=90.0, kpts=(1, 1, 1))
    path.write_text("[pseudopotentials]\nAl = 'Al.upf'\n")
    assert Campaign.from_toml(path).pseudopotentials == {"Al": "Al.upf"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kpoints = [2, 2, 2]", "unknown key kpoints; the known keys are engine, xc, cutoff, kpts"),
        ("kpts = [2, 2]", r"kpts: got \[2, 2\], expected 3 integers"),
        ("kpts = [2, 2, 2.5]", "expected 3 integers"),
        ("energy_window = ['a', 1]", "energy_window: got .*, expected 2 numbers"),
        ("cutoff = 'high'", "cutoff: got 'high', expected a finite number"),
        ("cutoff = nan", "cutoff: got nan, expected a finite number"),
        ("cutoff = 1" + 400 * "0", "cutoff: got 1000.*, expected a finite number"),
        ("energy_window = [nan, 1.0]", "energy_window: got .*, expected 2 numbers"),
        ("energy_window = [0.0, inf]", "energy_window: got .*, expected 2 numbers"),
        ("xc = 3", "xc: got 3, expected text"),
        ("command = ['pw.x']", "command: got .*, expected text"),
        ("input_data = 3", "input_data: got 3, expected a table"),
        (
            "input_data = { system = { degauss = nan } }",
            r"input_data\.system\.degauss: got nan, expected a finite number",
        ),
        ("pseudopotentials = 3", "pseudopotentials: got 3"),
    ],
)
def test_settings_that_cannot_be_used(tmp_path, text, message):
    path = tmp_path / "dft.toml"
    path.write_text(text + "\n")
    with pytest.raises(InputError, match=rf"dft\.toml: .*{message}"):
        Campaign.from_toml(path)


def test_engine_refuses_what_the_settings_let_pass():
    with pytest.raises(InputError, match="xc: got 'b3lyp'"):
        Campaign(xc="b3lyp").make_engine()
    with pytest.raises(InputError, match="cutoff"):
        Campaign(cutoff=-1.0).make_engine()
    with pytest.raises(InputError, match="broadening"):
        Campaign(energy_spacing=0.5, broadening=0.2).make_engine()
    with pytest.raises(InputError, match="energy grid"):
        Campaign(energy_window=(3.0, 2.0)).make_engine()
    with pytest.raises(InputError, match=r"LDOS grid: got \(0, 4, 4\), expected three numbers of points"):
        Campaign(grid=(0, 4, 4)).make_engine()
    with pytest.raises(InputError, match="got planewave with `memory`"):
        Campaign(memory=1e9).make_engine()
    with pytest.raises(InputError, match="memory: got -1 bytes"):
        Campaign(engine="espresso", pseudopotentials={"Al": "Al.upf"}, memory=-1).make_engine()


@pytest.mark.parametrize("engine", ["planewave", "espresso"])
def test_grid_window_and_memory_reach_the_engine(engine):
    files = {"Al": "Al.upf"}
    made = Campaign(engine=engine, pseudopotentials=files, grid=(9, 8, 7), energy_window=(-6.0, 20.1)).make_engine()
    assert made.ldos.grid == (9, 8, 7)
    assert made.ldos.energy_grid == EnergyGrid(-6.0, 0.2, 131)
    if engine == "espresso":
        assert made.memory == 2 * 2**30
        assert Campaign(engine=engine, pseudopotentials=files, memory=8e9).make_engine().memory == 8e9


def test_bands_and_tail_are_settings_of_the_embedded_engine_only(tmp_path):
    path = tmp_path / "dft.toml"
    path.write_text("bands = 'all'\ntail = false\n")
    engine = Campaign.from_toml(path).make_engine()
    assert (engine.bands, engine.tail) == ("all", False)
    assert Campaign().make_engine().tail == "auto"
    assert engine.provenance(["Al"])["bands"] == "all"
    assert "tail" not in Campaign().make_engine().provenance(["Al"])
    with pytest.raises(InputError, match="bands: got 'many', expected a whole number from 1 to 1,000,000,000 or 'all'"):
        Campaign(bands="many").make_engine()
    with pytest.raises(InputError, match="tail: got 'yes', expected true, false or 'auto'"):
        Campaign(tail="yes").make_engine()
    with pytest.raises(InputError, match="engine: got espresso with `bands` or `tail`"):
        Campaign(engine="espresso", bands=20).make_engine()
