"""Time and memory of a prediction with and without forces and stress, on grids of several sizes.

256 aluminium atoms, power spectrum with 84 features, network 84-256-256-119 with random weights, float32; density and
total free energy at 5000 K in both cases. Every case is a separate process; its memory is the largest one reported by
the system minus the memory before the prediction.

    python benchmarks/forces.py
    python benchmarks/forces.py --quick    one small grid
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import torch
from common import Table, digits, finish, options, parse, timed
from systems import FREE_ELECTRON, POWER_SPECTRUM, Sizes, aluminium, random_model

import fermisea
from fermisea.networks.mlp import Mlp

TAU_E = 5000.0
ENERGIES = 119


def model() -> fermisea.Model:
    """Returns a model of the default sizes with random weights."""
    base = random_model(Sizes((8,), ENERGIES))
    network = Mlp(POWER_SPECTRUM.features, (256, 256), ENERGIES, seed=1)
    sample = torch.from_numpy(POWER_SPECTRUM.compute(aluminium(), (5, 5, 5)).reshape(-1, POWER_SPECTRUM.features))
    mean = FREE_ELECTRON * torch.from_numpy(base.energy_grid.energies).clamp(min=0).sqrt()
    network.set_normalisation(sample.mean(0), sample.std(0), mean, 0.03 * mean + 1e-6)
    network.requires_grad_(requires_grad=False)
    return replace(base, network=network, descriptor=POWER_SPECTRUM)


def peak(name: str) -> int:
    """Returns a memory size of this process from /proc, bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def case(size: int, *, forces: bool) -> None:
    """Prints seconds and bytes of a prediction."""
    torch.set_num_threads(1)
    found, atoms = model(), aluminium()
    found.predict(atoms, TAU_E, (8, 8, 8), forces=forces)  # compiles all functions
    before = peak("VmRSS")
    seconds, _ = timed(found.predict, atoms, TAU_E, (size, size, size), forces=forces)
    print(seconds, peak("VmHWM") - before)


def main() -> None:
    """Measures, prints a table and writes JSON."""
    parser = options(__doc__, "forces", 3)
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    values = parse(parser)
    if values.case:
        case(int(values.case[0]), forces=values.case[1] == "forces")
        return
    rows, results = [], {}
    for size in (20,) if values.quick else (64, 100, 144):
        runs: dict[str, list[tuple[float, float]]] = {"alone": [], "forces": []}
        for _ in range(values.repeat):
            values.pace.take()
            for kind, found in runs.items():
                command = [sys.executable, __file__, "--case", str(size), kind]
                text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                seconds, memory = map(float, text.split()[-2:])
                found.append((seconds, memory))
        times = [[seconds for seconds, _ in found] for found in runs.values()]
        sizes = [statistics.median(memory for _, memory in found) for found in runs.values()]
        ratio = statistics.median(b / a for a, b in zip(*times, strict=True))
        row = [f"{size}³", *(digits(statistics.median(found)) for found in times), digits(ratio, 2)]
        rows.append([*row, *(digits(value / 1e6) for value in sizes), *(f"{value / size**3:.0f}" for value in sizes)])
        results[str(size)] = runs
    columns = ["grid", "alone, s", "with forces, s", "ratio", "alone, MB", "with forces, MB", "bytes a point", "with"]
    title = "Prediction alone and with forces and stress, 256 atoms, 84-256-256-119, float32, one thread"
    finish(values, [Table("forces", title, columns, rows)], results)


if __name__ == "__main__":
    main()
