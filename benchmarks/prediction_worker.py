"""Predictions of fermisea in a separate process: time, memory, results; the worker of prediction.py and wide.py."""

from __future__ import annotations

import inspect
import os
import resource
import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import Clock, Worker, serve
from gemm import rate
from systems import Sizes, aluminium, random_model

from fermisea.model.model import Model

TEMPERATURES = [300.0, 1000.0, 10000.0]
VARIANTS: dict[str, dict[str, Any]] = {
    "float32": {},
    "bfloat16": {"precision": "bfloat16"},
    "float32, no density": {"density": False},
}
"""Options of ``Model.predict`` by the name of the variant."""


@lru_cache(maxsize=2)
def _model(hidden: tuple[int, ...], energies: int) -> Model:
    return random_model(Sizes(hidden, energies))


def predict(
    hidden: list[int], energies: int, shape: list[int], electron_temperatures: list[float], variant: str
) -> dict[str, Any]:
    """Returns time (s), memory and results of one prediction.

    Args:
        hidden: widths of the hidden layers.
        energies: number of energies.
        shape: shape of the grid.
        electron_temperatures: tau_e, K.
        variant: one of ``VARIANTS``.
    """
    model, atoms = _model(tuple(hidden), energies), aluminium()
    marks: list[tuple[float, int]] = []
    start = time.perf_counter()
    with Clock() as clock:
        found = model.predict(
            atoms,
            electron_temperatures,
            (shape[0], shape[1], shape[2]),
            progress=lambda _, total: marks.append((time.perf_counter(), total)),
            **VARIANTS[variant],
        )
    return {
        "seconds": clock.seconds,
        "cores": clock.cores,
        "seconds_to_last_point": marks[-1][0] - start,
        "points_evaluated": marks[-1][1],
        "points": int(np.prod(shape)),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "fermi_level": np.asarray(found.fermi_level).tolist(),
        "dos": found.dos.tolist(),
    }


def ceiling(width: int, precision: str, rows: list[int]) -> float:
    """Returns the operations per second of torch.mm, (rows, width) times (width, width), at the best number of rows."""
    return max(rate(precision, n, width, 0.2)["flop_per_s"] for n in rows)


def variants() -> list[str]:
    """Returns the variants offered by the predictor."""
    known = inspect.signature(Model.predict).parameters
    return [name for name, named in VARIANTS.items() if known.keys() >= named.keys()]


def worker(threads: int) -> Worker:
    """Returns a process that answers the functions above."""
    return Worker(Path(__file__), threads)


def ask(
    process: Worker,
    sizes: Sizes,
    shape: list[int],
    variant: str = "float32",
    electron_temperatures: list[float] = TEMPERATURES,
) -> dict[str, Any]:
    """Returns the result of ``predict`` in a worker."""
    return process.call(
        "predict",
        hidden=list(sizes.hidden),
        energies=sizes.energies,
        shape=shape,
        electron_temperatures=electron_temperatures,
        variant=variant,
    )


if __name__ == "__main__" and sys.argv[1:] == ["--serve"]:
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    serve(predict, ceiling, variants)
