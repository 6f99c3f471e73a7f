"""Grid points per second of the descriptors, against `compute sna/grid` of LAMMPS in the same run.

256 aluminium atoms, cutoff 4.67637 Angstrom. fermisea is measured on a slab of a fine grid, as in a prediction, and on
the points used for LAMMPS: every tenth point of this grid in each direction, because the cost of LAMMPS is the same at
every point. Runs alternate; medians are quoted.

    python benchmarks/descriptors.py            slab of 200x200x4 points of 200x200x200
    python benchmarks/descriptors.py --quick    slab of 30x30x2 points of 30x30x30
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from common import Clock, Table, Worker, digits, finish, options, parse, serve, timed
from peers import Peers
from systems import BISPECTRUM, POWER_SPECTRUM, aluminium, save_structure

from fermisea.grid import RealSpaceGrid

KINDS = {
    "bispectrum": "bispectrum, 2J = 10",
    "power spectrum": "power spectrum, order 6",
}
DTYPES = ("float32", "float64")


def rate(kind: str, dtype: str, fine: int, layers: int, coarse: int, values: str | None = None) -> dict[str, float]:
    """Returns points per second of fermisea over the slab and over the coarse grid; runs in a worker.

    Args:
        kind: one of ``KINDS``.
        dtype: type of the descriptors.
        fine: points along each side of the fine grid.
        layers: number of layers of the slab.
        coarse: points along each side of the coarse grid.
        values: file for the descriptors on the coarse grid.
    """
    descriptor = BISPECTRUM if kind == "bispectrum" else POWER_SPECTRUM
    atoms = aluminium()
    preparation, evaluator = timed(descriptor.evaluator, atoms, dtype)
    grids = [RealSpaceGrid(atoms.cell.array, (n, n, n)) for n in (fine, coarse)]
    evaluator.box(grids[1], (0, 0, 0), (4, 2, 2))  # compiles
    with Clock() as clock:
        evaluator.box(grids[0], (0, 0, 0), (fine, fine, layers))
    same, result = timed(evaluator.box, grids[1], (0, 0, 0), (coarse, coarse, coarse))
    if values is not None:
        np.save(values, result)
    return {
        "points_per_s": fine * fine * layers / clock.seconds,
        "cores": clock.cores,
        "same_points_per_s": coarse**3 / same,
        "preparation_s": preparation,
        "features": descriptor.features,
    }


def largest_difference(one: np.ndarray, two: np.ndarray) -> float:
    """Returns the largest difference over points and components, relative to the component's largest value."""
    return float(np.max(np.abs(one - two) / np.abs(two).max(axis=0)))


def main() -> None:
    """Runs the comparison, prints a table and writes JSON."""
    values = parse(options(__doc__, "descriptors", 5, threads=True))
    fine, layers, coarse = (30, 2, 6) if values.quick else (200, 4, 20)
    peers = Peers.find("lammps")
    runs: dict[str, list[dict[str, float]]] = {}
    lammps: list[dict[str, float]] = []
    difference: dict[str, float] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        workers = {n: stack.enter_context(Worker(Path(__file__), n)) for n in values.threads}
        peer = peers.worker(stack)
        structure = save_structure(folder / "structure.npz", aluminium())
        for index in range(values.repeat):
            values.pace.take()
            if peer is not None:
                where = str(folder / "lammps.npy")
                got = peer.call("lammps_bispectrum", structure=structure, shape=[coarse] * 3, values=where)
                lammps.append(got)
                print(f"LAMMPS sna/grid: {got['points_per_s']:.0f} points/s", flush=True)
            for threads, worker in workers.items():
                for kind in KINDS:
                    for dtype in DTYPES:
                        values.pace.take()
                        file = str(folder / "fermisea.npy") if kind == "bispectrum" and index == 0 else None
                        got = worker.call(
                            "rate", kind=kind, dtype=dtype, fine=fine, layers=layers, coarse=coarse, values=file
                        )
                        runs.setdefault(f"{kind}, {dtype}, {threads}", []).append(got)
                        print(f"{kind}, {dtype}, {threads} threads: {got['points_per_s']:.0f} points/s", flush=True)
                        if file and peer is not None:
                            difference[dtype] = largest_difference(np.load(file), np.load(where))
    settings = {"atoms": 256, "grid": [fine] * 3, "slab": [fine, fine, layers], "lammps_grid": [coarse] * 3}
    results = {**settings, "runs": runs, "lammps": lammps, "largest_relative_difference": difference}
    table = make_table(results, values.threads)
    finish(values, [table], results, **peers.versions)


def median(runs: Sequence[Mapping[str, float]], key: str) -> float:
    """Returns the median of one number over runs."""
    return statistics.median(run[key] for run in runs)


def make_table(results: dict[str, Any], threads: list[int]) -> Table:
    """Returns the table of rates and ratios."""
    lammps = median(results["lammps"], "points_per_s") if results["lammps"] else None
    fine, coarse = results["grid"][0], results["lammps_grid"][0]
    rows = []
    if lammps is not None:
        busy = f"{median(results['lammps'], 'cores'):.2f}"
        rows.append(["LAMMPS `sna/grid`, 2J = 10", "float64", "1", busy, "", digits(lammps), "1", "1", ""])
    for kind, title in KINDS.items():
        for dtype in DTYPES:
            for n in threads:
                runs = results["runs"][f"{kind}, {dtype}, {n}"]
                slab, same, busy = (median(runs, key) for key in ("points_per_s", "same_points_per_s", "cores"))
                ratios = ["", ""] if lammps is None else [digits(slab / lammps / n), digits(same / lammps / n)]
                error = results["largest_relative_difference"].get(dtype) if kind == "bispectrum" else None
                rows.append(
                    [
                        f"{title}, {runs[0]['features']} features",
                        dtype,
                        str(n),
                        f"{busy:.2f}",
                        digits(slab),
                        digits(same),
                        *ratios,
                        "" if error is None else f"{error:.1e}",
                    ]
                )
    return Table(
        "descriptors",
        f"Descriptors, 256 Al atoms, cutoff 4.67637 A, slab {fine}x{fine}x{results['slab'][2]} of the grid {fine}^3; "
        f"LAMMPS's points: grid {coarse}^3 over the cell",
        [
            "descriptor",
            "dtype",
            "threads",
            "cores busy",
            "points/s, slab",
            "points/s, LAMMPS's points",
            "ratio per core, slab",
            "ratio per core, LAMMPS's points",
            "largest difference",
        ],
        rows,
        "Ratios are relative to LAMMPS on one core times the number of threads. The largest difference is measured on "
        "LAMMPS's points, relative to the largest value of the component; the power spectrum is a different "
        "descriptor.",
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        serve(rate)
    else:
        main()
