"""Rate of matrix products, the upper limit of all networks: torch.mm, (rows, n) times (n, n), per dtype and threads.

python benchmarks/gemm.py            n = 4000, 512 to 16384 rows
python benchmarks/gemm.py --quick    n = 500, 512 rows
"""

from __future__ import annotations

import statistics
import sys
from contextlib import ExitStack
from pathlib import Path

import torch
from common import Clock, Table, Worker, digits, finish, options, parse, serve, timed

DTYPES = ("float32", "bfloat16", "float64")
ROWS = (512, 2048, 16384)
WIDTH = 4000


def rate(dtype: str, rows: int, width: int, seconds: float = 0.3) -> dict[str, float]:
    """Returns the floating-point operations per second of one product, and the cores busy, over about ``seconds``.

    Args:
        dtype: ``"float32"``, ``"bfloat16"`` or ``"float64"``.
        rows: number of rows of the left factor.
        width: number of its columns, and size of the right factor.
        seconds: time to spend, for at least one product.
    """
    kind = getattr(torch, dtype)
    generator = torch.Generator().manual_seed(1)
    left, right = (torch.randn(n, width, generator=generator).to(kind) for n in (rows, width))
    out = torch.empty(rows, width, dtype=kind)
    torch.mm(left[:64], right)  # initialises the library
    times: list[float] = []
    with Clock() as clock:
        while not times or sum(times) < seconds:
            times.append(timed(torch.mm, left, right, out=out)[0])
    return {"flop_per_s": 2.0 * rows * width**2 / statistics.median(times), "cores": clock.cores}


def main() -> None:
    """Measures, prints a table and writes JSON."""
    values = parse(options(__doc__, "gemm", 3, threads=True))
    shapes, seconds = ([(512, 500)], 0.02) if values.quick else ([(rows, WIDTH) for rows in ROWS], 0.3)
    runs: dict[str, list[dict[str, float]]] = {}
    with ExitStack() as stack:
        workers = {n: stack.enter_context(Worker(Path(__file__), n)) for n in values.threads}
        for _ in range(values.repeat):
            for threads, worker in workers.items():
                for dtype in DTYPES:
                    values.pace.take()
                    for rows, width in shapes:
                        got = worker.call("rate", dtype=dtype, rows=rows, width=width, seconds=seconds)
                        runs.setdefault(f"{dtype}, {threads}, {rows}", []).append(got)
    cells = []
    for dtype in DTYPES:
        for threads in values.threads:
            several = [runs[f"{dtype}, {threads}, {rows}"] for rows, _ in shapes]
            rates = [statistics.median(run["flop_per_s"] for run in one) for one in several]
            busy = statistics.median(run["cores"] for one in several for run in one)
            cells.append([dtype, str(threads), f"{busy:.2f}", *(digits(got / 1e9) for got in rates)])
    width = shapes[0][1]
    table = Table(
        "gemm",
        f"torch.mm, (rows, {width}) times ({width}, {width}), GFLOP/s",
        ["dtype", "threads", "cores busy", *(f"{rows} rows" for rows, _ in shapes)],
        cells,
    )
    finish(values, [table], {"width": width, "runs": runs})


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        serve(rate)
    else:
        main()
