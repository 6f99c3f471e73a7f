"""Rate of random batches of training points from a scratch file and from memory, with real snapshot files.

Twenty snapshots together exceed the memory limit. The rate is measured over one epoch of batches of 1024 points, alone
and with training of a network (two hidden layers of 256).

    python benchmarks/batches.py            20 snapshots of 56^3 points, 500 MB
    python benchmarks/batches.py --quick    20 snapshots of 16^3 points, 15 MB
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from ase.build import bulk
from common import Table, digits, finish, options, parse

from fermisea.data.dataset import Dataset
from fermisea.data.reference import Reference
from fermisea.data.snapshot import Snapshot
from fermisea.descriptors import PowerSpectrum
from fermisea.grid import EnergyGrid, RealSpaceGrid
from fermisea.networks.mlp import Mlp
from fermisea.physics.broadening import Broadening
from fermisea.physics.ions import Ion
from fermisea.training.points import KeptPoints, Points, StoredPoints, gather

ENERGIES = EnergyGrid(-8.0, 0.2, 100)
BATCH = 1024


def snapshot(seed: int, points: int) -> Snapshot:
    """Returns aluminium with a free-electron LDOS, without DFT; the band bottom follows a smooth field."""
    rng = np.random.default_rng(seed)
    atoms = bulk("Al", "fcc", a=4.05, cubic=True)
    atoms.positions += rng.normal(0, 0.1, atoms.positions.shape)
    grid = RealSpaceGrid(atoms.cell.array, (points, points, points))
    wave = np.cos(2 * np.pi * np.arange(points) / points + rng.uniform(0, 6))
    bottom = -5 + 0.4 * (wave[:, None, None] + wave[:, None] * wave)
    ldos = 0.011 * np.sqrt(np.clip(ENERGIES.energies - bottom[..., None], 0, None)).astype(np.float32)
    density = np.full(grid.shape, 12.0 / grid.volume)
    return Snapshot(
        atoms=atoms,
        grid=grid,
        energy_grid=ENERGIES,
        ldos=ldos,
        density=density,
        electron_temperature=1000.0,
        ion_temperature=300.0,
        broadening=Broadening("gaussian", 0.2),
        reference=Reference(0.0, {}, 7.0, 12.0, 0.0),
        ions={"Al": Ion("Al", 3.0)},
        functional="lda",
        provenance={"engine": "made up"},
    )


def resident() -> int:
    """Returns the memory of this process, bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


@contextmanager
def peak() -> Iterator[list[int]]:
    """Yields a list with one number: the largest increase in memory of the process during the block, bytes."""
    before, found, ended = resident(), [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.005):
            found[0] = max(found[0], resident() - before)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def rate(points: Points, network: Mlp | None, limit: int) -> float:
    """Returns points per second of an epoch, or of its first ``limit`` points."""
    generator = torch.Generator().manual_seed(0)
    optimiser = None if network is None else torch.optim.AdamW(network.parameters())
    done, started = 0, time.perf_counter()
    for descriptors, ldos in points.batches(BATCH, generator):
        if network is not None and optimiser is not None:
            optimiser.zero_grad()
            (network(descriptors) - ldos).square().mean().backward()
            optimiser.step()
        done += len(ldos)
        if done >= limit:
            break
    return done / (time.perf_counter() - started)


def main() -> None:
    """Measures, prints a table and writes JSON."""
    values = parse(options(__doc__, "batches", 3))
    size, memory = (16, 15_000_000) if values.quick else (56, 500_000_000)
    descriptor = PowerSpectrum(order=6, cutoff=5.4, weights={"Al": 1.0})
    with tempfile.TemporaryDirectory() as name:
        for seed in range(20):
            snapshot(seed, size).save(Path(name) / f"{seed:02d}.nc")
        data = list(Dataset.load(name))
        descriptor.compute(data[0].atoms, (4, 4, 4), dtype="float32")
        with peak() as used:
            stored = gather(data, descriptor, memory=memory, scratch=Path(name))
            every = rate(stored, None, sys.maxsize)
        kept = gather(data, descriptor, memory=sys.maxsize)
        assert isinstance(stored, StoredPoints)  # noqa: S101
        assert isinstance(kept, KeptPoints)  # noqa: S101
        whole = sum(kept.sizes) * (kept.features + kept.energies) * 4
        rates: dict[tuple[str, bool], list[float]] = {}
        limit = 60_000 if values.quick else 600_000
        for _ in range(values.repeat):
            values.pace.take()
            for label, points in (("scratch file", stored), ("memory", kept)):
                rates.setdefault((label, False), []).append(rate(points, None, sys.maxsize))
                network = Mlp(descriptor.features, (256, 256), ENERGIES.size)
                rates.setdefault((label, True), []).append(rate(points, network, limit))
    rows = []
    for trained, title in ((False, "batches alone"), (True, "with training, 84-256-256-100")):
        disk, ram = (statistics.median(rates[label, trained]) for label in ("scratch file", "memory"))
        rows.append([title, digits(disk), digits(ram), f"{disk / ram:.2f}"])
    note = (
        f"{sum(kept.sizes):,} points of {len(data)} snapshots, {whole / 1e9:.2f} GB; limit {memory / 1e6:.0f} MB, "
        f"used at most {used[0] / 1e6:.0f} MB while writing and in a first epoch ({digits(every)} points/s)"
    )
    columns = ["epoch", "scratch file", "memory", "ratio"]
    table = Table(
        "batches", "Training points per second from a scratch file and from memory, one thread", columns, rows, note
    )
    results = {f"{label}, training {trained}": runs for (label, trained), runs in rates.items()}
    finish(values, [table], results | {"growth": used[0], "bytes": whole})


if __name__ == "__main__":
    main()
