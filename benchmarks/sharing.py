"""One, two and four processes that share a prediction of 16,384 aluminium atoms: time, memory and differences.

All atoms are displaced at random, so that errors at the borders between processes would show. The first network of the
shipped model at tau_ref = 1000 K. Every process has one thread; its memory is the largest one reported by the system
minus the memory before the prediction.

    python benchmarks/sharing.py                     without forces, float32
    python benchmarks/sharing.py --random --forces --float64    differences of forces, with a small random network
    python benchmarks/sharing.py --quick             32 atoms
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.build import bulk
from atoms import memory, model
from common import Table, digits, finish, options, parse
from systems import FREE_ELECTRON, Sizes, aluminium, random_model

import fermisea
from fermisea.descriptors import PowerSpectrum
from fermisea.networks.mlp import Mlp
from fermisea.utilities.arrays import FloatArray

NAMES = ("dos", "fermi_level", "free_energy", "forces", "stress")


def work(values: argparse.Namespace, cells: int) -> None:
    """Predicts as one of the processes and writes its numbers."""
    torch.set_num_threads(1)
    found = random_network() if values.random else model()
    if values.float64:
        found = replace(found, network=found.network.double())
    origin = "ldos" if values.random else "anchored"
    arguments: dict[str, Any] = {"free_energy": origin, "uncertainty": False, "forces": values.forces}
    temperatures = values.electron_temperature
    found.predict(bulk("Al", cubic=True), temperatures, memory=0, **arguments)  # compiles all functions
    atoms = bulk("Al", cubic=True) * (cells, cells, cells)
    atoms.rattle(0.05, seed=1)
    before, start = memory("VmRSS"), time.perf_counter()
    grid = None if values.grid is None else (values.grid,) * 3
    p = found.predict(atoms, temperatures, grid, memory=0, **arguments)
    seconds, used = time.perf_counter() - start, memory("VmHWM") - before
    numbers = {name: np.asarray(getattr(p, name)) for name in NAMES[: 5 if values.forces else 3]}
    np.savez(values.work / f"{p.processes.rank}.npz", seconds=seconds, memory=used, **numbers)


def random_network() -> fermisea.Model:
    """Returns a small network with random weights around a free-electron LDOS."""
    descriptor = PowerSpectrum(order=4, cutoff=5.0, weights={"Al": 1.0})
    base = random_model(Sizes((8,), 119))
    network = Mlp(descriptor.features, (32, 32), 119, seed=1)
    sample = torch.from_numpy(descriptor.compute(aluminium(), (5, 5, 5)).reshape(-1, descriptor.features))
    mean = FREE_ELECTRON * torch.from_numpy(base.energy_grid.energies).clamp(min=0).sqrt()
    network.set_normalisation(sample.mean(0), sample.std(0), mean, 0.03 * mean + 1e-6)
    network.requires_grad_(requires_grad=False)
    return replace(base, network=network.eval(), descriptor=descriptor, grid_spacing=4.05 / 20)


def run(count: int, words: list[str], folder: Path) -> list[dict[str, Any]]:
    """Returns the numbers of each of several processes, from earlier files in ``folder`` if they are there."""
    files = [folder / f"{rank}.npz" for rank in range(count)]
    if not all(file.exists() for file in files):
        folder.mkdir(parents=True, exist_ok=True)
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)] if count > 1 else []
        environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
        command = [sys.executable, *launcher, __file__, "--work", str(folder), *words]
        subprocess.run(command, check=True, env=environment)
    return [dict(np.load(file)) for file in files]


def _difference(values: FloatArray, expected: FloatArray) -> float:
    return float(np.abs(values - expected).max() / np.abs(expected).max())


def main() -> None:
    """Measures, prints a table and writes JSON."""
    parser = options(__doc__, "sharing", 1)
    parser.add_argument("--forces", action="store_true", help="forces and stress too")
    parser.add_argument("--float64", action="store_true", help="the network in float64")
    parser.add_argument("--random", action="store_true", help="a small random network: for differences, not for times")
    parser.add_argument("--cells", type=int, help="number of cubic cells along each side  [16, quick 2]")
    parser.add_argument("--grid", type=int, help="points along each side  [as in training]")
    parser.add_argument("--electron-temperature", type=float, nargs="+", default=[1000.0, 10_000.0], help="tau_e, K")
    parser.add_argument("--keep", type=Path, help="folder in which finished runs are kept, for another start")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    values = parse(parser)
    cells = values.cells or (2 if values.quick else 16)
    if values.work:
        work(values, cells)
        return
    temperatures = [f"{t:g}" for t in values.electron_temperature]
    words = ["--cells", str(cells), "--electron-temperature", *temperatures]
    words += ["--random"] * values.random
    words += [] if values.grid is None else ["--grid", str(values.grid)]
    words += ["--forces"] * values.forces + ["--float64"] * values.float64
    found = {}
    with tempfile.TemporaryDirectory() if values.keep is None else nullcontext(values.keep) as folder:
        for count in (1, 2) if values.quick else (1, 2, 4):
            values.pace.take()
            found[count] = run(count, words, Path(folder) / str(count))
    (one,) = found[1]
    rows, results = [], {}
    for count, parts in found.items():
        seconds, used = max(float(p["seconds"]) for p in parts), max(float(p["memory"]) for p in parts)
        names = NAMES[: 5 if values.forces else 3]
        differences = {
            name: float(np.abs(parts[0][name] - one[name]).max() / np.abs(one[name]).max()) for name in names
        }
        results[str(count)] = {"seconds": seconds, "memory": used, "differences": differences}
        row = [str(count), digits(seconds), digits(float(one["seconds"]) / seconds), digits(used / 2**20)]
        row += [digits(used / float(one["memory"]), 2), *(f"{value:.0e}" for value in differences.values())]
        rows.append(row)
    columns = ["processes", "time, s", "ratio", "memory of each, MiB", "ratio", "D", "mu", "F", "forces", "stress"]
    kind = ("float64" if values.float64 else "float32") + (" with random weights" if values.random else "")
    title = f"{4 * cells**3:,} displaced aluminium atoms, tau_e = {' and '.join(temperatures)} K, network in {kind}"
    title += ", one thread a process" + ("" if values.grid is None else f", {values.grid}³ points")
    note = "The last columns are differences from one process, relative to the largest value."
    finish(values, [Table("sharing", title, columns[: 5 + len(names)], rows, note)], results)


if __name__ == "__main__":
    main()
