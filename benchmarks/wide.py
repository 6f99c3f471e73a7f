"""Rate of predictions with a wide network, 91-4000-4000-4000-201, relative to matrix products.

256 aluminium atoms on a coarse grid, random weights. torch.mm and predictions alternate in one process.

    python benchmarks/wide.py            24x24x24 points
    python benchmarks/wide.py --quick    10x10x10 points, network 91-256-256-256-50
"""

from __future__ import annotations

import itertools
import statistics
from typing import Any

import numpy as np
from common import Table, digits, finish, options, parse
from prediction_worker import ask, worker
from systems import Sizes

WIDE, QUICK = Sizes((4000, 4000, 4000), 201), Sizes((256, 256, 256), 50)


def operations(sizes: Sizes) -> float:
    """Returns the floating-point operations of one point up to the last hidden layer."""
    return 2.0 * sum(a * b for a, b in itertools.pairwise((sizes.inputs, *sizes.hidden)))


def make_table(results: dict[str, Any]) -> Table:
    """Returns the table of rates and shares."""
    points, rows = int(np.prod(results["grid"])), []
    for key, runs in results["runs"].items():
        precision, threads = key.split(", ")
        for run in runs:
            per_point = results["flop_per_point"] / run["mm_flop_per_s"]
            run["whole"] = per_point * points / run["seconds"]
            run["pass"] = per_point * run["points_evaluated"] / run["seconds_to_last_point"]
        median = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        rows.append(
            [
                precision,
                threads,
                f"{median['cores']:.2f}",
                digits(median["mm_flop_per_s"] / 1e9),
                digits(median["seconds"]),
                digits(points / median["seconds"]),
                f"{100 * median['pass']:.0f}",
                f"{100 * median['whole']:.0f}",
            ]
        )
    grid = "x".join(map(str, results["grid"]))
    return Table(
        "wide",
        f"Network {results['network']}, grid {grid} over 256 Al atoms, three tau_e, "
        f"{results['flop_per_point'] / 1e6:.1f} MFLOP for each point up to the last hidden layer",
        ["hidden layers", "threads", "cores busy", "torch.mm, GFLOP/s", "seconds", "points/s", "pass, %", "whole, %"],
        rows,
        "Percentages are relative to torch.mm at its best number of rows, in the same process just before each "
        "prediction. 'Pass' counts all evaluated points, in the time up to the last of them including descriptors; "
        "'whole' counts each grid point once, in the total time.",
    )


def main() -> None:
    """Measures, prints a table and writes JSON."""
    parser = options(__doc__, "wide", 3, threads=True)
    parser.add_argument("--grid", type=int, help="points along each side  [24, quick 10]")
    values = parse(parser)
    shape = [values.grid or (10 if values.quick else 24)] * 3
    sizes, rows = (QUICK, [512]) if values.quick else (WIDE, [512, 2048, 8192])
    runs: dict[str, list[dict[str, float]]] = {}
    for threads in values.threads:
        with worker(threads) as process:
            for precision in (name for name in process.call("variants") if name in ("float32", "bfloat16")):
                ask(process, sizes, [4, 4, 4], precision)
                for _ in range(values.repeat):
                    values.pace.take()
                    best = process.call("ceiling", width=max(sizes.hidden), precision=precision, rows=rows)
                    got = ask(process, sizes, shape, precision)
                    run = {
                        name: got[name] for name in ("seconds", "cores", "seconds_to_last_point", "points_evaluated")
                    }
                    runs.setdefault(f"{precision}, {threads}", []).append(run | {"mm_flop_per_s": best})
                    print(f"{precision}, {threads} threads: {got['seconds']:.1f} s", flush=True)
    results = {"network": sizes.name, "grid": shape, "flop_per_point": operations(sizes), "runs": runs}
    finish(values, [make_table(results)], results)


if __name__ == "__main__":
    main()
