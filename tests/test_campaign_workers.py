"""Campaigns in several processes and on a Dask cluster, killed, starved of disk, and repeated."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from fermisea.campaign import Campaign, Record, Records, outliers, run_campaign
from fermisea.campaign.processes import on_this_machine
from fermisea.campaign.run import Outcome
from fermisea.cli import main
from fermisea.data.snapshot import Snapshot
from fermisea.data.structures import write_structure
from fermisea.errors import InputError, StorageError
from fermisea.utilities.files import atomic_path
from synthetic import made_up_snapshot

TEMPERATURE = 3000.0
SMALL = Campaign(xc="lda", cutoff=80.0, kpts=(2, 2, 2), energy_spacing=0.5, highest_electron_temperature=5000.0)
OPTIONS = [
    *("--electron-temperature", "3000", "--xc", "lda", "--cutoff", "80", "--kpts", "2", "2", "2"),
    *("--energy-spacing", "0.5", "--highest-electron-temperature", "5000"),
]
FERMISEA = [  # a shell's background job would ignore SIGINT
    sys.executable,
    "-c",
    """
import signal, sys
from fermisea.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main())
""",
]


def crystals(count: int, atoms: int = 1) -> dict:
    """Aluminium at several volumes; the first is the largest, whose bands reach down the least."""
    cells = {}
    for number in range(count):
        cell = bulk("Al", "fcc", a=4.15 - 0.01 * number, cubic=atoms == 4)
        cell.positions += np.random.default_rng(number).normal(0, 0.03, cell.positions.shape)
        cells[f"al-{number:02d}"] = cell
    return cells


def log_of(folder: Path) -> list[tuple[str, str]]:
    path = folder / ".campaign" / "log"
    return [tuple(line.split()[-2:]) for line in path.read_text().splitlines()] if path.exists() else []


def statuses(outcomes) -> dict[str, str]:
    return {outcome.name: outcome.status for outcome in outcomes}


def processes_of(session: int) -> list[int]:
    """The living processes that descend from one, as the kernel knows them."""
    found = {session}
    for _ in range(5):
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                if int(fields[1]) in found and fields[0] != "Z":
                    found.add(int(entry.name))
    return sorted(found - {session})


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Four crystals computed one after the other."""
    folder = tmp_path_factory.mktemp("alone")
    run_campaign(SMALL.make_engine(), crystals(4), TEMPERATURE, folder)
    return folder


@pytest.mark.usefixtures("_quick_processes")
@pytest.mark.parametrize("scheduler", ["local", pytest.param("dask", marks=pytest.mark.slow)])
def test_several_at_once_give_what_one_after_the_other_gives(alone, tmp_path, scheduler):
    told: list[Record] = []
    outcomes = run_campaign(
        SMALL.make_engine(), crystals(4), TEMPERATURE, tmp_path, workers=2, scheduler=scheduler, watch=told.append
    )
    assert list(statuses(outcomes).items()) == [(name, "computed") for name in crystals(4)]
    for name in crystals(4):
        one, other = (Snapshot.load(folder / f"{name}.nc") for folder in (alone, tmp_path))
        assert one.reference.free_energy == pytest.approx(other.reference.free_energy, abs=1e-8)
        assert one.energy_grid == other.energy_grid
        np.testing.assert_allclose(one.ldos, other.ldos, atol=1e-6)
    assert {record.process for record in (outcome.record for outcome in outcomes)}.isdisjoint({os.getpid()})
    assert log_of(tmp_path)[:2] == [("begin", "al-00"), ("done", "al-00")]  # its energy grid is that of all
    if scheduler == "local":
        assert {record.name for record in told} == set(crystals(4))


@pytest.mark.usefixtures("_quick_processes")
def test_a_killed_process_takes_one_structure_with_it(tmp_path):
    """The process ends while it computes the second of four; the others and a repetition do not care."""
    jobs, killed = crystals(4), []

    def watch(record: Record) -> None:
        if record.name == "al-01" and record.iteration == 1 and not killed:
            killed.append(record.process)
            os.kill(record.process, signal.SIGKILL)

    outcomes = run_campaign(SMALL.make_engine(), jobs, TEMPERATURE, tmp_path, workers=2, watch=watch)
    assert killed
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    # it may have ended before the signal came, and then its process began another one
    assert len(failed) == 1
    assert "was ended by signal 9" in failed[0].error
    again = run_campaign(SMALL.make_engine(), jobs, TEMPERATURE, tmp_path, workers=2)
    assert statuses(again) == {name: "computed" if name == failed[0].name else "kept" for name in jobs}


def test_failures_are_kept_until_they_are_to_be_tried_again(tmp_path):
    engine = Campaign(xc="lda", cutoff=80.0, energy_spacing=0.5, energy_window=(-6.0, 20.0)).make_engine()
    cells = {"tight": bulk("Al", "fcc", a=1.9)}
    for retry, begun in ((False, 1), (False, 1), (True, 2)):
        (outcome,) = run_campaign(engine, cells, TEMPERATURE, tmp_path, retry=retry)
        assert outcome.status == "failed"
        assert "plane waves" in outcome.error
        assert outcome.record.kind == "structure"
        assert log_of(tmp_path).count(("begin", "tight")) == begun


def test_one_campaign_at_a_time(tmp_path):
    with Records(tmp_path).only_one(), pytest.raises(InputError, match="another campaign is running in this folder"):
        run_campaign(SMALL.make_engine(), crystals(1), TEMPERATURE, tmp_path)


def test_workers_and_schedulers_that_cannot_be(tmp_path):
    with pytest.raises(InputError, match="workers: got 0"):
        run_campaign(SMALL.make_engine(), crystals(1), TEMPERATURE, tmp_path, workers=0)
    with pytest.raises(InputError, match=r"absent\.json: no such scheduler file"):
        run_campaign(
            SMALL.make_engine(),
            crystals(1),
            TEMPERATURE,
            tmp_path,
            scheduler="dask",
            address=str(tmp_path / "absent.json"),
        )


def test_what_the_killed_left_is_cleaned_away(tmp_path):
    records = Records(tmp_path)
    records.place.mkdir()
    records.write(Record.beginning("al-00", 1))
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    with atomic_path(records.place / "al-07.nc") as temporary:
        left = temporary.name.replace(f"-{os.getpid()}-", f"-{int(ended.stdout)}-")
    (tmp_path / left).write_bytes(b"half")
    (records.place / "al-01.json").write_text('{"name": "al-01", "sta')
    (outcome,) = run_campaign(SMALL.make_engine(), crystals(1), TEMPERATURE, tmp_path)
    assert outcome.status == "computed"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".campaign", "al-00.nc"]
    assert [record.name for record in records.all()] == ["al-00"]


@pytest.mark.usefixtures("_quick_processes")
def test_a_full_disk_stops_everything_with_one_line_and_the_same_command_goes_on(tmp_path):
    """On a file system of 200 kB, a few snapshots fit."""
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs rights that are not here")
    try:
        for workers in (1, 2):
            with pytest.raises(StorageError, match=r"could not be written|cannot write") as caught:
                run_campaign(SMALL.make_engine(), crystals(12), TEMPERATURE, small / "data", workers=workers)
            assert "\n" not in str(caught.value)
            done = [name for name in crystals(12) if (small / "data" / f"{name}.nc").exists()]
            assert 0 < len(done) < 12
            for name in done:
                Snapshot.load(small / "data" / f"{name}.nc")
            assert not list((small / "data").glob(".*.tmp"))
        subprocess.run(["mount", "-o", "remount,size=40m", str(small)], check=True)
        outcomes = run_campaign(SMALL.make_engine(), crystals(12), TEMPERATURE, small / "data", workers=2)
        assert statuses(outcomes) == {name: "kept" if name in done else "computed" for name in crystals(12)}
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_ctrl_c_ends_the_workers_and_loses_what_was_running(tmp_path):
    folder, data = tmp_path / "structures", tmp_path / "data"
    folder.mkdir()
    for name, atoms in crystals(6, atoms=4).items():
        write_structure(folder / f"{name}.extxyz", atoms)
    command = [*FERMISEA, "dft", str(folder), *OPTIONS, "--workers", "2", "--out", str(data)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while ("begin", "al-02") not in log_of(data):
        assert process.poll() is None
        time.sleep(0.05)
    workers = processes_of(process.pid)
    assert len(workers) >= 2
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "interrupted" in errors
    assert "Traceback" not in errors
    deadline = time.monotonic() + 60
    while any(map(alive, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_killed_three_times_at_random_moments_it_ends_complete(tmp_path, forkserver):
    folder, data = tmp_path / "structures", tmp_path / "data"
    folder.mkdir()
    cells = crystals(8, atoms=4)
    for name, atoms in cells.items():
        write_structure(folder / f"{name}.extxyz", atoms)
    words = ["dft", str(folder), *OPTIONS, "--workers", "2", "--out", str(data)]
    chance, whole = np.random.default_rng(7), {}
    for _ in range(3):
        events = len(log_of(data))
        process = forkserver.Process(target=main, args=(words,))
        process.start()
        while len(log_of(data)) < events + 3:
            assert process.is_alive()
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 0.5))
        workers = processes_of(process.pid)
        process.kill()
        process.join()
        deadline = time.monotonic() + 60
        while any(map(alive, workers)):  # nothing goes on behind our back
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for path in data.glob("*.nc"):
            Snapshot.load(path)  # whole, whatever happened
            whole.setdefault(path.stem, len(log_of(data)))
    done = subprocess.run([*FERMISEA, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in cells:
        Snapshot.load(data / f"{name}.nc")
    assert not list(data.glob(".*.tmp"))
    assert whole
    for name, events in whole.items():
        assert ("begin", name) not in log_of(data)[events:], f"{name} was computed again"


def outcome_of(seed: int, iterations: int = 10, closure: float = 0.0, lift: float = 0.0) -> Outcome:
    snapshot = made_up_snapshot(seed, (4, 4, 4))
    reference = type(snapshot.reference)(**(vars(snapshot.reference) | {"free_energy": -228.0 + 1e-3 * seed + lift}))
    snapshot.__dict__["reference"] = reference
    record = Record(f"al-{seed}", "done", iteration=iterations, atoms=4, closure_error=4 * closure)
    return Outcome(f"al-{seed}", Path(f"al-{seed}.nc"), "kept", record, snapshot)


def test_outliers_are_named_with_their_reason():
    ordinary = [outcome_of(seed) for seed in range(6)]
    assert outliers(ordinary) == {}
    strange = outliers([*ordinary, outcome_of(7, lift=1.0), outcome_of(8, iterations=40), outcome_of(9, closure=-2e-3)])
    assert set(strange) == {"al-7", "al-8", "al-9"}
    assert strange["al-7"] == ["F = -56.7482 eV/atom, median of the others -56.9990 eV/atom"]
    assert strange["al-8"] == ["40 SCF iterations, median of the others 10"]
    assert strange["al-9"] == ["closure error (F from the LDOS - F of DFT) -2.00 meV/atom"]
    small = outcome_of(0)
    unknown = replace(small, record=replace(small.record, closure_error=None))
    assert outliers([unknown]) == {"al-0": ["the energy window of the LDOS is too small for tau_ref"]}
    assert outliers([outcome_of(0), outcome_of(1, lift=1.0)]) == {}  # of two, neither stands out


def test_no_work_needs_no_process():
    assert list(on_this_machine([], 2, None)) == []
