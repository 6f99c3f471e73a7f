"""Time, memory and F of predictions of up to 131,072 aluminium atoms: density and F at 1000 and 10,000 K.

The cells repeat one displaced cell of 256 atoms, so that F per atom must stay the same. The first network of the
shipped model at tau_ref = 1000 K, float32, points 0.2025 Angstrom apart. Every case is a separate process; its memory
is the largest one reported by the system minus the memory before the prediction.

MALA, if installed, predicts LDOS, density, mu, E_b and TS of the same 256 atoms at the same tau_e, with a bispectrum
and a network of the same hidden layers and energies with random weights, in as many processes as fermisea has threads.
Its time is measured on one layer of the grid for each process and scaled; its memory is the one of the LDOS alone.

    python benchmarks/atoms.py
    python benchmarks/atoms.py --huge DENSITY    131,072 atoms too; their density is written to the file DENSITY
    python benchmarks/atoms.py --quick           256 atoms
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from common import Table, digits, finish, kept, options, parse
from peers import Peers
from prediction import peer_seconds
from systems import VALENCE, Sizes, random_model, save_network, save_structure

import fermisea
from fermisea.interop.density_file import write_density

TEMPERATURES = [1000.0, 10_000.0]
CELLS = (4, 8, 16)
HUGE = 32

POINTS = 20
"""Number of grid points along a side of the cubic cell of four atoms; their distance is the one of the training."""


def model() -> fermisea.Model:
    """Returns the shipped model at its lowest tau_ref with one network."""
    first = fermisea.load_model("aluminium").parts[0]
    return replace(first, network=first.network.members[0].eval())


def structure(cells: int) -> Atoms:
    """Returns repeats of a displaced cell of 256 atoms, ``cells`` cubic cells along each side."""
    atoms = bulk("Al", cubic=True) * (4, 4, 4)
    atoms.rattle(0.05, seed=1)
    return atoms * ((cells // 4,) * 3)


def memory(name: str) -> int:
    """Returns a memory size of this process from /proc, bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def case(cells: int, threads: int, file: Path | None) -> dict[str, Any]:
    """Returns seconds, bytes and F of a prediction."""
    torch.set_num_threads(threads)
    found = model()
    arguments: dict[str, Any] = {"free_energy": "anchored", "uncertainty": False}
    found.predict(bulk("Al", cubic=True), TEMPERATURES, memory=0, **arguments)  # compiles all functions
    atoms, before, start = structure(cells), memory("VmRSS"), time.perf_counter()
    points = POINTS * cells
    p = found.predict(atoms, TEMPERATURES, (points, points, points), memory=0, **arguments)
    seconds = time.perf_counter() - start
    if file is not None:
        write_density(file, p)
    return {
        "atoms": len(atoms),
        "grid": p.grid.shape,
        "seconds": seconds,
        "seconds_with_file": time.perf_counter() - start,
        "memory": memory("VmHWM") - before,
        "peak": memory("VmHWM"),
        "free_energy_per_atom": (np.asarray(p.free_energy) / len(atoms)).tolist(),
        "fermi_level": np.asarray(p.fermi_level).tolist(),
        "electrons": np.asarray(p.electrons).tolist(),
    }


def run(command: list[str], values: argparse.Namespace, index: int) -> dict[str, Any]:
    """Returns the numbers of a case, from an earlier start if they were kept."""

    def compute() -> dict[str, Any]:
        values.pace.take()
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return dict(json.loads(done.stdout.splitlines()[-1]))

    return dict(kept(values.keep, f"{command[3]}-{command[4]}-{index}", compute))


def peer(grid: Sequence[int], processes: int, peers: Peers) -> dict[str, float] | None:
    """Returns the seconds of MALA for the smallest cell, and the bytes of its LDOS; None without MALA."""
    if "mala" not in peers.versions:
        return None
    network = model().network
    sizes = Sizes(tuple(network.widths), network.outputs)
    points = int(np.prod(grid))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        arguments = {
            "structure": save_structure(folder / "structure.npz", structure(CELLS[0])),
            "network": save_network(folder / "network.npz", random_model(sizes), VALENCE),
            "electron_temperatures": TEMPERATURES,
            "shape": [*grid[:2], 1],
        }
        group = [worker for _ in range(processes) if (worker := peers.worker(stack)) is not None]
        for worker in group:
            worker.start("predict", **arguments)
        stages = peer_seconds([[worker.result() for worker in group]], points)
    return {"seconds": sum(stages.values()), "memory": 8.0 * points * sizes.energies}


def main() -> None:
    """Measures, prints a table and writes JSON."""
    parser = options(__doc__, "atoms", 1, threads=True)
    parser.add_argument("--huge", type=Path, metavar="DENSITY", help="131,072 atoms too; file for their density")
    parser.add_argument("--keep", type=Path, help="folder in which finished cases are kept, for another start")
    parser.add_argument("--case", nargs=2, type=int, help=argparse.SUPPRESS)
    values = parse(parser)
    if values.case:
        print(json.dumps(case(*values.case, values.huge)))
        return
    cells = CELLS[:1] if values.quick else (*CELLS, HUGE) if values.huge else CELLS
    rows, results = [], []
    peers = Peers.find()
    for size in cells:
        command = [sys.executable, __file__, "--case", str(size), str(values.threads[-1])]
        if size == HUGE:
            command += ["--huge", str(values.huge)]
        runs = [run(command, values, index) for index in range(values.repeat)]
        best = sorted(runs, key=lambda one: one["seconds"])[len(runs) // 2]
        results.append(runs)
        points = int(np.prod(best["grid"]))
        change = np.abs(np.subtract(best["free_energy_per_atom"], results[0][0]["free_energy_per_atom"])).max()
        if size == CELLS[0] and (other := peer(best["grid"], values.threads[-1], peers)) is not None:
            memory_of_peer = [digits(other["memory"] / 2**30), f"{other['memory'] / points:.0f}", ""]
            per_atom = digits(1e3 * other["seconds"] / best["atoms"])
            first = ["MALA", f"{best['atoms']:,}", f"{best['grid'][0]}³", digits(other["seconds"]), per_atom]
            rows.append([*first, *memory_of_peer])
        rows.append(
            [
                "fermisea",
                f"{best['atoms']:,}",
                f"{best['grid'][0]}³",
                digits(best["seconds"]),
                digits(1e3 * best["seconds"] / best["atoms"]),
                digits(best["memory"] / 2**30),
                f"{best['memory'] / points:.0f}",
                f"{1e3 * change:.0e}",
            ]
        )
    columns = [
        "code",
        "atoms",
        "grid",
        "time, s",
        "time, ms/atom",
        "memory, GiB",
        "bytes a point",
        "change of F, meV/atom",
    ]
    title = (
        "Density and F of aluminium at 1000 and 10,000 K, one network (float32), "
        f"{values.threads[-1]} threads; change of F from the cell of 256 atoms"
    )
    note = "MALA: scaled from one layer of the grid for each process; the memory is the one of its LDOS alone."
    finish(values, [Table("atoms", title, columns, rows, note)], {"runs": results}, **peers.versions)


if __name__ == "__main__":
    main()
