"""Complete predictions compared with MALA and LAMMPS, their memory, and the time for more electronic temperatures.

256 aluminium atoms, bispectrum with 91 features, network 91-400-400-250 with random weights, float32: DOS, and density,
mu, E_b and TS at 300, 1000 and 10 000 K on 200x200x200 points. The comparison uses LAMMPS `sna/grid` and MALA's
network and integration, in as many processes as fermisea has threads, each on its share of the points. Its time is
measured on 200x200x1 points for each process and scaled linearly to the full grid; parts that do not depend on the grid
are counted once.

    python benchmarks/prediction.py              --grid 100 takes an eighth of the time
    python benchmarks/prediction.py --quick      16x16x16 points, network 91-64-64-50
"""

from __future__ import annotations

import statistics
import tempfile
from argparse import Namespace
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from common import Table, digits, finish, options, parse
from peers import Peers
from prediction_worker import TEMPERATURES, ask, worker
from systems import VALENCE, Sizes, aluminium, random_model, save_network, save_structure

from fermisea.physics.density_of_states import DensityOfStates

SIZES, QUICK = Sizes((400, 400), 250), Sizes((64, 64), 50)
MORE_TEMPERATURES = [*TEMPERATURES, 500.0, 2000.0, 4000.0, 6000.0, 8000.0]
COMMON_GRID = [6, 6, 6]
"""Points on which the results of both codes are compared."""
PEER_STAGES = ("descriptors", "scaling", "network", "dos", "density")
"""Stages of the peer with a cost proportional to the grid."""


def compare(sizes: Sizes, shape: list[int], values: Namespace, peers: Peers) -> dict[str, Any]:
    """Returns the runs of fermisea and of the peer, and the differences of their results on the same points."""
    ours: dict[str, list[dict[str, Any]]] = {}
    theirs: dict[str, list[list[dict[str, Any]]]] = {}
    difference: dict[str, Any] = {}
    model = random_model(sizes)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        arguments = {
            "structure": save_structure(folder / "structure.npz", aluminium()),
            "network": save_network(folder / "network.npz", model, VALENCE),
            "electron_temperatures": TEMPERATURES,
        }
        with worker(1) as process:
            variants = process.call("variants")
            one = ask(process, sizes, COMMON_GRID)
        for n in values.threads:
            group = [peers.worker(stack) for _ in range(n)] if "mala" in peers.versions else []
            if group and not difference:
                two = group[0].call("predict", shape=COMMON_GRID, **arguments)
                difference = differences(one, two, model.energy_grid.energies)
            for _ in range(values.repeat):
                values.pace.take()
                if group:
                    for peer in group:
                        peer.start("predict", shape=[*shape[:2], 1], **arguments)
                    theirs.setdefault(str(n), []).append([peer.result() for peer in group])
                    print(f"peer, {n} processes: {theirs[str(n)][-1][0]['seconds']}", flush=True)
                for variant in variants:
                    values.pace.take()
                    with worker(n) as process:  # a new one: its peak memory counts
                        ask(process, sizes, COMMON_GRID, variant)
                        got = ask(process, sizes, shape, variant)
                    ours.setdefault(f"{variant}, {n}", []).append(got)
                    print(f"fermisea, {variant}, {n} threads: {got['seconds']:.1f} s", flush=True)
    return {"fermisea": ours, "peer": theirs, "difference": difference}


def differences(one: dict[str, Any], two: dict[str, Any], energies: np.ndarray) -> dict[str, Any]:
    """Returns the differences between predictions of fermisea and of the peer on the same points.

    Returns:
        ``dos_relative``: largest difference of the DOS over its largest value; for each tau_e, ours minus theirs:
        ``fermi_level`` as each code integrates, and ``same_rule`` with the peer's rule in both, eV.
    """
    dos, theirs = np.array(one["dos"]), np.array(two["dos"])
    peer_rule = DensityOfStates(energies, dos, integration="mala")
    same = [peer_rule.fermi_level(VALENCE * len(aluminium()), tau) for tau in TEMPERATURES]
    return {
        "dos_relative": float(np.max(np.abs(dos - theirs)) / theirs.max()),
        "fermi_level": (np.array(one["fermi_level"]) - two["fermi_level"]).tolist(),
        "same_rule": (np.array(same) - two["fermi_level"]).tolist(),
    }


def peer_seconds(runs: list[list[dict[str, Any]]], points: int) -> dict[str, float]:
    """Returns the peer's seconds by stage for a grid of ``points``, from runs of groups of processes.

    A group is as fast as its slowest process; medians are taken over the runs.
    """
    scaled = {
        stage: statistics.median(
            max(one["seconds"][stage] / one["points"] for one in run) * points / len(run) for run in runs
        )
        for stage in PEER_STAGES
    }
    return scaled | {"fixed": statistics.median(max(one["seconds"]["fixed"] for one in run) for run in runs)}


def compare_table(results: dict[str, Any]) -> Table:
    """Returns the table of whole predictions, their parts and their memory."""
    points, rows, totals = int(np.prod(results["grid"])), [], {}
    for threads, runs in results["peer"].items():
        stages = peer_seconds(runs, points)
        total = totals[threads] = sum(stages.values())
        integration = stages["dos"] + stages["density"] + stages["fixed"]
        busy = statistics.median(sum(one["cores"] for one in run) for run in runs)
        cells = [busy, total, points / total, total - integration, integration]
        memory = results["ldos_bytes"] / 2**30
        rows.append(["LAMMPS, MALA; scaled", "float32", threads, *map(digits, cells), f"> {memory:.0f}", "1"])
    for key, runs in results["fermisea"].items():
        variant, threads = key.rsplit(", ", 1)
        names = ("cores", "seconds", "seconds_to_last_point", "peak_memory_bytes")
        busy, total, last, peak = (statistics.median(run[name] for run in runs) for name in names)
        cells = [busy, total, points / total, last, total - last, peak / 2**30]
        ratio = digits(totals[threads] / total) if threads in totals else ""
        rows.append(["fermisea", variant, threads, *map(digits, cells), ratio])
    passes = max(run["points_evaluated"] for runs in results["fermisea"].values() for run in runs) / points
    note = (
        f"fermisea evaluates {passes:.2f} points for each grid point. Its energies include densities, mu, E_b, TS, "
        "C_e and total free energies in four forms at each tau_e; the energies of MALA do not include C_e and total "
        "free energies."
    )
    if results["difference"]:
        gaps = results["difference"]
        shift, same = (1000 * max(map(abs, gaps[name])) for name in ("fermi_level", "same_rule"))
        note += (
            " The memory of MALA counts its LDOS in float64 only. With the same weights on the same points "
            f"({np.prod(COMMON_GRID)}) the two DOS differ by at most {gaps['dos_relative']:.1e} of the largest value, "
            f"mu by {same:.1e} meV with MALA's quadrature in both codes, and by {shift:.1f} meV with each code's own."
        )
    return Table(
        "prediction",
        f"Prediction, 256 Al atoms, network {results['network']}, grid {'x'.join(map(str, results['grid']))}, "
        "three tau_e; MALA is measured on one layer of the grid for each process and scaled",
        [
            "code",
            "hidden layers",
            "threads",
            "cores busy",
            "seconds",
            "points/s",
            "LDOS, s",
            "energies, s",
            "peak memory, GiB",
            "ratio",
        ],
        rows,
        note,
    )


def temperatures(sizes: Sizes, shape: list[int], values: Namespace) -> dict[str, list[dict[str, float]]]:
    """Returns the times of predictions at three to eight tau_e (three and four in a quick run) for each run, s."""
    runs: dict[str, list[dict[str, float]]] = {}
    counts = range(len(TEMPERATURES), len(MORE_TEMPERATURES) + 1)[: 2 if values.quick else None]
    with worker(max(values.threads)) as process:
        ask(process, sizes, COMMON_GRID)
        for _ in range(values.repeat):
            for count in counts:
                values.pace.take()
                got = ask(process, sizes, shape, "float32", MORE_TEMPERATURES[:count])
                runs.setdefault(str(count), []).append(
                    {name: got[name] for name in ("seconds", "cores", "seconds_to_last_point")}
                )
                print(f"{count} temperatures: {got['seconds']:.2f} s", flush=True)
    return runs


def temperatures_table(results: dict[str, Any]) -> Table:
    """Returns the table of further electronic temperatures."""
    times = {
        int(count): [statistics.median(run[name] for run in runs) for name in ("seconds_to_last_point", "seconds")]
        for count, runs in results["temperatures"].items()
    }
    first = min(times)
    rows = []
    for count, both in times.items():
        more = [
            100 * (t / t0 - 1) / (count - first) if count > first else 0.0
            for t, t0 in zip(both, times[first], strict=True)
        ]
        cells = [f"{extra:.1f}" if count > first else "" for extra in more]
        rows.append([str(count), digits(both[0]), cells[0], digits(both[1]), cells[1]])
    grid = "x".join(map(str, results["grid"]))
    return Table(
        "temperatures",
        f"Number of electronic temperatures, network {results['network']}, grid {grid}, float32, "
        f"{max(results['threads'])} threads, with the total free energies of each",
        ["tau_e", "LDOS, s", "% for each further", "seconds", "% for each further"],
        rows,
        "The LDOS ends with the last grid point; integration to densities and total energies follow.",
    )


def main() -> None:
    """Runs both parts, prints their tables and writes JSON."""
    parser = options(__doc__, "prediction", 3, threads=True)
    parser.add_argument("--grid", type=int, help="points along each side  [200, quick 16]")
    values = parse(parser)
    shape = [values.grid or (16 if values.quick else 200)] * 3
    sizes = QUICK if values.quick else SIZES
    peers = Peers.find()
    results = {
        "network": sizes.name,
        "grid": shape,
        "threads": values.threads,
        "ldos_bytes": 8.0 * np.prod(shape) * sizes.energies,
        **compare(sizes, shape, values, peers),
        "temperatures": temperatures(sizes, shape, values),
    }
    finish(values, [compare_table(results), temperatures_table(results)], results, **peers.versions)


if __name__ == "__main__":
    main()
