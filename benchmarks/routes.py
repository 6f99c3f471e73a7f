"""Processor time of descriptors and predictions by compiled loops and by tensor operations, both on the CPU.

256 aluminium atoms, one thread, float32; networks 91-256-256-119 (bispectrum) and 84-256-256-119 (power spectrum) with
random weights; density and total free energy at 5000 K.

    python benchmarks/routes.py            grid 32x32x32
    python benchmarks/routes.py --quick    grid 8x8x8
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from common import Clock, Table, digits, finish, options, parse
from forces import ENERGIES, TAU_E
from forces import model as power_spectrum_model
from systems import Sizes, aluminium, random_model

import fermisea
from fermisea.prediction.route import evaluator_of

ROUTES = ("compiled", "torch")


def tasks(model: fermisea.Model, route: str, size: int) -> dict[str, Callable[[], Any]]:
    """Returns the measured functions of one route by name."""
    atoms, shape = aluminium(), (size, size, size)
    grid = fermisea.RealSpaceGrid(atoms.cell.array, shape)
    evaluator = evaluator_of(model.descriptor, atoms, model.network, route, threads=1)
    return {
        "descriptors": lambda: evaluator.box(grid, (0, 0, 0), shape),
        "prediction": lambda: model.predict(atoms, TAU_E, shape, route=route),
        "prediction with forces": lambda: model.predict(atoms, TAU_E, shape, route=route, forces=True),
    }


def main() -> None:
    """Measures, prints a table and writes JSON."""
    values = parse(options(__doc__, "routes", 3))
    torch.set_num_threads(1)
    size = 8 if values.quick else 32
    models = {
        "bispectrum, 2J = 10": random_model(Sizes((256, 256), ENERGIES)),
        "power spectrum, order 6": power_spectrum_model(),
    }
    rows, results = [], {}
    for title, model in models.items():
        small, full = ({route: tasks(model, route, n) for route in ROUTES} for n in (8, size))
        for name in full["torch"]:
            runs: dict[str, list[float]] = {route: [] for route in ROUTES}
            found = {}
            for route in ROUTES:
                small[route][name]()  # compiles all functions
            for _ in range(values.repeat):
                values.pace.take()
                for route, seconds in runs.items():
                    with Clock() as clock:
                        found[route] = full[route][name]()
                    seconds.append(clock.seconds * clock.cores)
            same = _same(*found.values())
            ratio = statistics.median(b / a for a, b in zip(*runs.values(), strict=True))
            medians = (digits(statistics.median(seconds)) for seconds in runs.values())
            rows.append([title, name, *medians, digits(ratio, 2), f"{same:.0e}"])
            results[f"{title}, {name}"] = runs | {"largest_relative_difference": same}
            print(*rows[-1], flush=True)
    table = Table(
        "routes",
        f"Compiled loops and tensor operations on the CPU, 256 atoms, grid {size}³, networks n-256-256-{ENERGIES}, "
        "float32, one thread",
        ["descriptor", "", "compiled, s", "torch, s", "ratio", "largest difference"],
        rows,
        "Processor time. The difference is of the descriptors or of the DOS, relative to the largest value of each "
        "component.",
    )
    finish(values, [table], results)


def _same(one: Any, two: Any) -> float:
    """Returns the largest relative difference of descriptors, or of the DOS of predictions."""
    if isinstance(one, fermisea.Prediction):
        return float(np.abs(one.dos - two.dos).max() / np.abs(one.dos).max())
    one, two = np.asarray(one), np.asarray(two)
    return float((np.abs(one - two).max(axis=0) / np.abs(one).max(axis=0)).max())


if __name__ == "__main__":
    main()
