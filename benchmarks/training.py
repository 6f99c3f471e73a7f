"""Training rate in grid points per second, relative to torch.mm for a wide network and to MALA for a small one.

Random descriptors and LDOS in memory, one thread. A run trains an epoch with fermisea's own loop (shuffled batches,
LDOS and density in the loss, AdamW). Only the operations of matrix products are counted: forward, and backward without
the gradient of the descriptors. MALA trains with its FastTensorDataset and Adam on data of the same size; its time
includes a validation of 1000 points after every epoch.

    python benchmarks/training.py            91-4000-4000-4000-201, batches of 1024 and 4096; 91-400-400-250, of 1000
    python benchmarks/training.py --quick    91-256-256-256-50 and 91-64-64-50
"""

from __future__ import annotations

import itertools
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from common import Clock, Table, Worker, digits, finish, options, parse, serve
from gemm import rate as product_rate
from peers import ENVIRONMENT, PYTHON, Peers

from fermisea.networks.mlp import Mlp
from fermisea.training import TrainingConfig
from fermisea.training.loop import Loop
from fermisea.training.loss import Loss
from fermisea.training.member import Member
from fermisea.training.normalisation import Normalisation
from fermisea.training.points import KeptPoints
from fermisea.utilities.torchrun import Processes

PEER_SCRIPT = Path(__file__).with_name("mala_worker.py")
WIDE, SMALL = (91, 4000, 4000, 4000, 201), (91, 400, 400, 250)
QUICK_WIDE, QUICK_SMALL = (91, 256, 256, 256, 50), (91, 64, 64, 50)
PRECISIONS = ("float32", "bfloat16")


def made_up_loop(
    sizes: Sequence[int], batch: int, points: int, precision: str, processes: Processes | None = None
) -> Loop:
    """Returns a training on random points, not yet started.

    Args:
        sizes: sizes of all layers.
        batch: points of an update.
        points: number of points in an epoch.
        precision: precision of the products.
        processes: number of processes that share every batch.
    """
    inputs, *hidden, outputs = sizes
    config = TrainingConfig(hidden=tuple(hidden), batch_size=batch, precision=precision, epochs=1000)
    generator = torch.Generator().manual_seed(1)
    rows = torch.rand((points, inputs + outputs), generator=generator)
    data = KeptPoints(rows, inputs, (points,))
    normalisation = Normalisation.of(data, config.descriptor_floor)
    network = Mlp(inputs, config.hidden, outputs, "leaky_relu")
    normalisation.apply(network)
    integrals = torch.rand((2, outputs), generator=generator)
    loss = Loss(integrals, data, normalisation, weights=(1.0, 1.0), precision=precision)
    return Loop([Member(network, config)], loss, data, None, config, processes or Processes())


def operations(sizes: tuple[int, ...]) -> float:
    """Returns the floating-point operations for one point in training."""
    layers = [a * b for a, b in itertools.pairwise(sizes)]
    return 6.0 * sum(layers) - 2.0 * layers[0]


def epoch(sizes: list[int], batch: int, points: int, precision: str, seconds: float) -> dict[str, float]:
    """Returns points per second of an epoch after a short first one, cores busy, and the rate of torch.mm around it.

    Args:
        sizes: sizes of all layers.
        batch: points of an update.
        points: number of points in the epoch.
        precision: precision of the products.
        seconds: duration of each measurement of torch.mm, s.
    """
    made_up_loop(sizes, batch, 3 * batch, precision).run_epoch(lambda: None)
    whole, hidden = made_up_loop(sizes, batch, points, precision), sizes[1:-1]
    before = product_rate(precision, batch, max(hidden), seconds)
    with Clock() as clock:
        whole.run_epoch(lambda: None)
    after = product_rate(precision, batch, max(hidden), seconds)
    return {
        "points_per_s": points / clock.seconds,
        "cores": clock.cores,
        "mm_flop_per_s": (before["flop_per_s"] + after["flop_per_s"]) / 2,
    }


def medians(runs: list[Mapping[str, float]]) -> dict[str, float]:
    """Returns the median of each number."""
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def main() -> None:
    """Measures, prints tables and writes JSON."""
    values = parse(options(__doc__, "training", 5))
    wide, small = (QUICK_WIDE, QUICK_SMALL) if values.quick else (WIDE, SMALL)
    many, few, seconds = (8000, 4096, 0.02) if values.quick else (200_000, 8192, 0.3)
    cases = {"wide": (wide, 1024, few), "wide, large": (wide, 4096, few), "small": (small, 1000, many)}
    peers = Peers.find("mala")
    runs: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder, Worker(Path(__file__), 1) as own:
        peer = Worker(PEER_SCRIPT, 1, PYTHON, ENVIRONMENT) if "mala" in peers.versions else None
        for _ in range(values.repeat):
            values.pace.take()
            for precision in PRECISIONS:
                for name, (sizes, batch, points) in cases.items():
                    named = {"sizes": sizes, "batch": batch, "points": points, "precision": precision}
                    got = own.call("epoch", **named, seconds=seconds)
                    runs.setdefault(f"{name}, {precision}", []).append(got)
            if peer is not None:
                got = peer.call("training_rate", folder=folder, sizes=list(small), batch=1000, points=many)
                runs.setdefault("MALA", []).append(got)
        if peer is not None:
            peer.__exit__()
    rows = []
    for name, (sizes, batch, _) in cases.items():
        for precision in PRECISIONS:
            got = medians(runs[f"{name}, {precision}"])
            share = 100 * got["points_per_s"] * operations(sizes) / got["mm_flop_per_s"]
            cells = [digits(got["points_per_s"]), f"{got['cores']:.2f}", digits(got["mm_flop_per_s"] / 1e9)]
            rows.append(["-".join(map(str, sizes)), str(batch), f"fermisea, {precision}", *cells, f"{share:.0f}"])
    ratios = ""
    if "MALA" in runs:
        theirs = medians(runs["MALA"])
        cells = [digits(theirs["points_per_s"]), f"{theirs['cores']:.2f}", "", ""]
        rows.append(["-".join(map(str, small)), "1000", "MALA, float32", *cells])
        parts = [f"{p} {medians(runs[f'small, {p}'])['points_per_s'] / theirs['points_per_s']:.2f}" for p in PRECISIONS]
        limit = medians(runs["small, float32"])["mm_flop_per_s"] / operations(small) / theirs["points_per_s"]
        ratios = f"Relative to MALA's rate: {', '.join(parts)}; torch.mm alone in float32 would reach {limit:.2f}. "
    gains = [
        medians(runs[f"{name}, bfloat16"])["points_per_s"] / medians(runs[f"{name}, float32"])["points_per_s"]
        for name in ("wide", "small")
    ]
    note = (
        f"{ratios}bfloat16 relative to float32: {gains[0]:.2f} with the wide network, "
        f"{gains[1]:.2f} with the small one."
    )
    columns = ["network", "batch", "code", "points/s", "cores busy", "torch.mm, GFLOP/s", "share, %"]
    table = Table(
        "training",
        "Training, one thread; share of the rate of torch.mm, (batch, width) times (width, width), just before and "
        "after",
        columns,
        rows,
        note,
    )
    finish(values, [table], {"runs": runs}, **peers.versions)


if __name__ == "__main__":
    if "--serve" in sys.argv:
        serve(epoch)
    else:
        main()
