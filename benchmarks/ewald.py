"""Time of Ewald energies with forces, and of core densities with forces, direct against fast, from 256 to 131072 atoms.

Displaced fcc aluminium, one thread; the core density is of Gaussian cores on a grid with a spacing of 0.35 Angstrom.
Every fast case is a separate process; its memory is the largest one reported by the system minus the memory before.
Direct sums run only where they take less than a minute.

    python benchmarks/ewald.py
    python benchmarks/ewald.py --quick    256 atoms
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import Table, digits, finish, options, parse, timed
from torch import Tensor

from fermisea.physics import ewald, ions
from fermisea.physics.ewald import ewald_energy
from fermisea.physics.fields import FourierGrid
from fermisea.physics.ions import CoreCharge, Ion, core_density

CELLS = (4, 8, 16, 32)
"""Cubic cells along each axis, with four atoms in each."""

DIRECT = {"ewald": 16, "cores": 8}
"""Largest of these cells for direct sums."""

SPACING = 0.35
"""Spacing of the grid of the core density, Angstrom."""


def structure(cells: int) -> tuple[Tensor, Tensor]:
    """Returns positions and lattice vectors, Angstrom."""
    rng = np.random.default_rng(cells)
    corners = np.stack(np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    basis = np.array([[0.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])
    positions = 4.05 * (corners + basis).reshape(-1, 3)
    return torch.tensor(positions + rng.normal(0, 0.1, positions.shape)), 4.05 * cells * torch.eye(3).double()


def energy_and_forces(cells: int) -> list[Tensor]:
    """Returns the Ewald energy and its derivatives with respect to the positions."""
    positions, cell = structure(cells)
    positions.requires_grad_()
    energy = ewald_energy(positions, torch.full((len(positions),), 3.0, dtype=torch.float64), cell)
    return [energy.detach(), *torch.autograd.grad(energy, positions)]


def density_and_forces(cells: int) -> list[Tensor]:
    """Returns a core density and the derivatives of its integral with a potential."""
    positions, cell = structure(cells)
    positions.requires_grad_()
    n = round(4.05 * cells / SPACING)
    momenta = 0.05 * np.arange(600)
    core = {"Al": Ion("Al", 3.0, CoreCharge(0.05, np.exp(-((0.4 * momenta) ** 2) / 2)))}
    potential = torch.cos(torch.arange(n, dtype=torch.float64) * 6.283 / n)
    density = core_density(core, ["Al"] * len(positions), positions, FourierGrid(cell, (n, n, n)))
    return [density.detach(), *torch.autograd.grad((density * potential).sum(), positions)]


TASKS = {"ewald": energy_and_forces, "cores": density_and_forces}


def peak(name: str) -> int:
    """Returns a memory size of this process from /proc, bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def case(task: str, cells: int, *, compare: bool) -> None:
    """Prints seconds and bytes of a fast sum, and with ``compare`` seconds of the direct one and differences."""
    torch.set_num_threads(1)
    ewald._FAST_FROM = ions._FAST_FROM = 1  # noqa: SLF001
    TASKS[task](2)  # loads and compiles
    before = peak("VmRSS")
    seconds, fast = timed(TASKS[task], cells)
    found: dict[str, Any] = {"fast": seconds, "memory": peak("VmHWM") - before}
    if compare:
        ewald._FAST_FROM = ions._FAST_FROM = 10**9  # noqa: SLF001
        found["direct"], direct = timed(TASKS[task], cells)
        found["differences"] = [
            float((one - other).abs().max() / other.abs().max()) for one, other in zip(fast, direct, strict=True)
        ]
    print(json.dumps(found))


def main() -> None:
    """Measures, prints a table and writes JSON."""
    parser = options(__doc__, "ewald", 3)
    parser.add_argument("--case", nargs=3, help=argparse.SUPPRESS)
    values = parse(parser)
    if values.case:
        case(values.case[0], int(values.case[1]), compare=values.case[2] == "compare")
        return
    rows, results = [], {}
    for task, title in (("ewald", "Ewald energy"), ("cores", "core density")):
        for cells in CELLS[:1] if values.quick else CELLS:
            runs = []
            for _ in range(values.repeat):
                values.pace.take()
                compare = "compare" if cells <= DIRECT[task] else "fast"
                command = [sys.executable, __file__, "--case", task, str(cells), compare]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                runs.append(json.loads(done.stdout))
            results[f"{task}, {4 * cells**3}"] = runs
            fast = statistics.median(run["fast"] for run in runs)
            memory = statistics.median(run["memory"] for run in runs)
            direct, ratio, differences = "", "", ["", ""]
            if "direct" in runs[0]:
                seconds = statistics.median(run["direct"] for run in runs)
                direct, ratio = digits(seconds), digits(seconds / fast)
                differences = [f"{value:.0e}" for value in runs[0]["differences"]]
            rows.append([title, str(4 * cells**3), direct, digits(fast), ratio, digits(memory / 2**20), *differences])
    table = Table(
        "ewald",
        "Ewald energies and core densities with forces, displaced fcc Al, float64, one thread",
        ["", "atoms", "direct, s", "fast, s", "ratio", "memory of fast, MiB", "difference", "difference of forces"],
        rows,
        "The differences are relative to the largest value.",
    )
    finish(values, [table], {"runs": results})


if __name__ == "__main__":
    main()
