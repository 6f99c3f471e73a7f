"""Every point once an epoch, from memory or from disk, within the memory that is allowed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from fermisea.descriptors import PowerSpectrum
from fermisea.errors import InputError, StorageError
from fermisea.training import train
from fermisea.training.config import TrainingConfig
from fermisea.training.points import KeptPoints, StoredPoints, gather
from synthetic import made_up_snapshot
from test_training import QUICK, dataset

DESCRIPTOR = PowerSpectrum(order=3, cutoff=4.0, weights={"Al": 1.0})


@pytest.fixture(scope="module")
def snapshots():
    return [made_up_snapshot(seed, shape) for seed, shape in ((1, (20, 16, 12)), (2, (9, 11, 13)), (3, (16, 16, 16)))]


@pytest.fixture(scope="module")
def kept(snapshots) -> KeptPoints:
    return gather(snapshots, DESCRIPTOR)


@pytest.fixture(scope="module")
def stored(snapshots, kept) -> StoredPoints:
    """In a ninth of the memory that the points need."""
    size = 4 * len(kept) * kept.width
    points = gather(snapshots, DESCRIPTOR, memory=size // 2, seed=3)
    assert isinstance(points, StoredPoints)
    return points


def rows(pairs) -> np.ndarray:
    return np.concatenate([torch.cat([x, y], dim=1).numpy() for x, y in pairs])


def in_order(values: np.ndarray) -> np.ndarray:
    return values[np.lexsort(values.T)]


def test_memory_decides(snapshots, kept, stored):
    assert isinstance(kept, KeptPoints)
    assert stored.sizes == kept.sizes == tuple(s.grid.size for s in snapshots)
    assert (stored.features, stored.energies) == (kept.features, kept.energies) == (DESCRIPTOR.features, 36)
    first = snapshots[0].grid.size
    np.testing.assert_array_equal(kept.rows[:first, DESCRIPTOR.features :], snapshots[0].ldos.reshape(-1, 36))
    values = DESCRIPTOR.compute(snapshots[1].atoms, snapshots[1].grid, dtype="float32").reshape(-1, DESCRIPTOR.features)
    np.testing.assert_array_equal(kept.rows[first : first + len(values), : DESCRIPTOR.features], values)


@pytest.mark.parametrize("which", ["kept", "stored"])
@pytest.mark.parametrize("size", [7, 1000, 100_000])
def test_every_point_once_an_epoch_in_batches_of_one_size(request, kept, which, size):
    points, generator = request.getfixturevalue(which), torch.Generator().manual_seed(1)
    everything = in_order(kept.rows.numpy())
    total = len(everything)
    for _ in range(2):
        batches = list(points.batches(size, generator))
        assert [len(x) for x, _ in batches] == [*[size] * (total // size), *([total % size] if total % size else [])]
        # scratch rows come from slabs of the grid, whose descriptors differ in the last bits
        np.testing.assert_allclose(in_order(rows(batches))[:, -36:], everything[:, -36:], rtol=1e-6)


@pytest.mark.parametrize("which", ["kept", "stored"])
@pytest.mark.parametrize("skip", [1, 3, 8])
def test_skipped_batches_leave_the_others_as_they_are(request, which, skip):
    points = request.getfixturevalue(which)
    whole, rest = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    expected = list(points.batches(1000, whole))
    found = list(points.batches(1000, rest, skip=skip))
    assert (len(expected), len(found)) == (10, max(0, 10 - skip))
    for (x, y), (u, v) in zip(expected[skip:], found, strict=True):
        assert torch.equal(torch.cat([x, y], 1), torch.cat([u, v], 1))
    assert torch.equal(whole.get_state(), rest.get_state())


@pytest.mark.parametrize("which", ["kept", "stored"])
def test_batches_are_mixed_and_repeatable(request, snapshots, which):
    points = request.getfixturevalue(which)
    share = np.array([s.grid.size for s in snapshots]) / sum(s.grid.size for s in snapshots)
    mean = [s.ldos.reshape(-1, 36).mean(0) for s in snapshots]
    first, again, other = (list(points.batches(512, torch.Generator().manual_seed(seed))) for seed in (1, 1, 2))
    assert all(torch.equal(x, u) and torch.equal(y, v) for (x, y), (u, v) in zip(first, again, strict=True))
    assert not torch.equal(first[0][1], other[0][1])
    spread = np.concatenate([s.ldos.reshape(-1, 36) for s in snapshots]).std(0)
    for _, ldos in first[:-1]:
        difference = (ldos.numpy().mean(0) - share @ np.array(mean)) / spread
        assert np.abs(difference).max() < 6 / np.sqrt(512)  # as of 512 points from anywhere


@pytest.mark.parametrize("which", ["kept", "stored"])
def test_blocks_are_those_of_the_snapshots(request, snapshots, which):
    sums = np.zeros((3, 36))
    for index, _, ldos in request.getfixturevalue(which).blocks():
        sums[index] += ldos.double().sum(0).numpy()
    for total, snapshot in zip(sums, snapshots, strict=True):
        np.testing.assert_allclose(total * snapshot.grid.voxel, snapshot.dos, rtol=1e-6)


def test_points_without_a_seed_stay_in_the_order_of_their_grids(snapshots, kept):
    stored = gather(snapshots, DESCRIPTOR, memory=1_000_000, seed=None)
    assert isinstance(stored, StoredPoints)
    for index, snapshot in enumerate(snapshots):
        ldos = torch.cat([y for number, _, y in stored.blocks(index) if number == index]).numpy()
        np.testing.assert_array_equal(ldos, snapshot.ldos.reshape(-1, 36))
        assert sum(len(y) for _, _, y in kept.blocks(index)) == snapshot.grid.size


def test_training_from_disk_is_as_good_as_from_memory():
    data = dataset(1, 2, 3, 4)
    config = TrainingConfig(**(QUICK.to_dict() | {"epochs": 25, "hidden": (32, 32), "dtype": "float64"}))
    told = []
    losses = []
    for memory in (2**30, 1_000_000):
        model = train(data, config, memory=memory, progress=told.append)
        losses.append(model.provenance["final"]["validation_loss"])
    assert losses[1] == pytest.approx(losses[0], rel=0.5)
    assert [state.step for state in told if state.stage == "descriptors"] == [1, 2, 3, 4] * 2


def test_memory_and_scratch_that_cannot_be(snapshots, tmp_path):
    with pytest.raises(InputError, match=r"memory: got 0 MB, expected at least \d+ MB"):
        gather(snapshots, DESCRIPTOR, memory=10_000)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot write files to this folder"):
        gather(snapshots, DESCRIPTOR, memory=1_000_000, scratch=tmp_path / "file" / "below")


MEMORY_USE = """
import json, resource, sys, threading, time
import torch
from pathlib import Path
from fermisea.data.dataset import Dataset
from fermisea.descriptors import PowerSpectrum
from fermisea.training.points import gather
from fermisea.data.snapshot import Snapshot
torch.set_num_threads(1)
def resident():
    return next(int(l.split()[1]) * 1024 for l in open("/proc/self/status") if l.startswith("VmRSS"))
data = Dataset.load(sys.argv[1])
descriptor = PowerSpectrum(order=6, cutoff=4.0, weights={"Al": 1.0})
gather([Snapshot.load(sys.argv[3])], descriptor)  # what compiles and loads is not of the points
before, peak = resident(), 0
memory = int(sys.argv[2])
def watch():
    global peak
    while True:
        peak = max(peak, resident())
        time.sleep(0.005)
threading.Thread(target=watch, daemon=True).start()
points = gather(list(data), descriptor, memory=memory, scratch=Path(sys.argv[1]))
generator = torch.Generator().manual_seed(0)
count = sum(len(y) for _ in range(2) for _, y in points.batches(1024, generator))
for block in points.blocks():
    pass
size = 4 * sum(points.sizes) * (points.features + points.energies)
print(json.dumps({"kind": type(points).__name__, "growth": peak - before, "points": count, "bytes": size}))
"""


def test_the_memory_is_kept(tmp_path):
    """Twenty snapshots of which a third fits."""
    made_up_snapshot(1, (34, 34, 34)).save(tmp_path / "00.nc")
    for number in range(1, 20):
        shutil.copy(tmp_path / "00.nc", tmp_path / f"{number:02d}.nc")
    small = tmp_path / "small" / "00.nc"
    small.parent.mkdir()
    made_up_snapshot(1, (6, 6, 6)).save(small)
    memory = 130_000_000
    arguments = [str(tmp_path), str(memory), str(small)]
    done = subprocess.run([sys.executable, "-c", MEMORY_USE, *arguments], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    assert result["kind"] == "StoredPoints"
    assert result["bytes"] > 2.5 * memory
    assert result["points"] == 2 * 20 * 34**3
    assert result["growth"] < memory
