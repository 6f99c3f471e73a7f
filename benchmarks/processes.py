"""Training in two processes and in one, one thread each, with the same batches: wall time and weights.

Random descriptors and LDOS are in memory, and torchrun starts the processes on one machine. The time is measured over
one epoch, after a short first one.

    python benchmarks/processes.py            91-400-400-250, batches of 1000, 4000 and 16 000, 320 000 points
    python benchmarks/processes.py --quick    91-64-64-50, batches of 1000, 32 000 points
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from common import Clock, Table, digits, finish, options, parse
from training import QUICK_SMALL, SMALL, made_up_loop

from fermisea.utilities.torchrun import joined

BATCHES = (1000, 4000, 16_000)


def work(sizes: list[int], batch: int, points: int, out: Path) -> None:
    """Trains an epoch in one of the processes; the first one writes seconds and weights."""
    torch.set_num_threads(1)
    with joined() as processes:
        made_up_loop(sizes, batch, 3 * batch, "float32", processes).run_epoch(lambda: None)
        loop = made_up_loop(sizes, batch, points, "float32", processes)
        processes.any(flag=True)  # all begin together
        with Clock() as clock:
            loop.run_epoch(lambda: None)
        if processes.first:
            weights = torch.cat([weight.detach().flatten() for weight in loop.members[0].network.parameters()])
            torch.save({"seconds": clock.seconds, "cores": clock.cores, "weights": weights}, out)


def run(count: int, arguments: list[Any]) -> dict[str, Any]:
    """Returns the output of ``work`` in a given number of processes."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result.pt"
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
        command = [sys.executable, *torchrun, __file__, "--work", json.dumps([*arguments, str(out)])]
        subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        return dict(torch.load(out, weights_only=True))


def main() -> None:
    """Measures, prints a table and writes JSON."""
    values = parse(options(__doc__, "processes", 5))
    sizes, points = (QUICK_SMALL, 32_000) if values.quick else (SMALL, 320_000)
    runs: dict[int, list[dict[str, Any]]] = {batch: [] for batch in (BATCHES[:1] if values.quick else BATCHES)}
    for _ in range(values.repeat):
        values.pace.take()
        for batch, found in runs.items():
            one, two = (run(count, [list(sizes), batch, points]) for count in (1, 2))
            worst = float((one["weights"] - two["weights"]).abs().max() / one["weights"].abs().max())
            found.append({"one": one["seconds"], "two": two["seconds"], "weights": worst})
    rows = []
    for batch, found in runs.items():
        rates = [digits(points / statistics.median(run[name] for run in found)) for name in ("one", "two")]
        ratio = statistics.median(run["two"] / run["one"] for run in found)
        rows.append([str(batch), *rates, f"{ratio:.2f}", f"{max(run['weights'] for run in found):.1e}"])
    title = f"Training {'-'.join(map(str, sizes))} in two processes and in one, one thread each"
    columns = ["batch", "points/s, one", "points/s, two", "time, two over one", "difference of weights"]
    note = (
        "Largest difference of weights after an epoch of 320 000 points, relative to the largest weight."
        if not values.quick
        else ""
    )
    finish(values, [Table("processes", title, columns, rows, note)], {"runs": {str(b): r for b, r in runs.items()}})


if __name__ == "__main__":
    if "--work" in sys.argv:
        *arguments, target = json.loads(sys.argv[-1])
        work(*arguments, Path(target))
    else:
        main()
