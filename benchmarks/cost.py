"""Cost of DFT against the number of atoms and against tau_e, in two codes, beside the cost of a prediction.

Aluminium, fcc, 4.05 Angstrom, displaced by 0.05. DFT: the embedded plane-wave engine, without and with free electrons
above the bands (tail), and pw.x (Debian package quantum-espresso) with the same GTH-PBE pseudopotential, cutoff,
k-points, number of bands and convergence threshold, each with forces and stress. Against the number of atoms, the
cutoff is 16 Ry and the density of k-points is fixed: a shifted mesh of 4x4x4 for the cubic cell of four atoms, 2x2x1
for 64 atoms. Against tau_e, four atoms have a shifted mesh of 2x2x2 and a cutoff of 20 Ry, because pw.x needs twice as
many plane waves as bands. Predictions: one network of the shipped model, anchored F on the default grid in float32,
alone and with forces and stress. All times are CPU times of one thread, because these depend little on other work on
the machine. Without pw.x its columns are empty.

Finished runs of DFT are stored in bench-output/cost, so that an interrupted benchmark resumes. A quarter of an hour on
one core.

    python benchmarks/cost.py [--quick]
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from common import OUTPUT, Table, Worker, digits, finish, options, parse, serve
from hot_codes import installed, pwscf
from hot_runs import Run, Runs, rattled
from matplotlib.figure import Figure

from fermisea import Model, load_model, units
from fermisea.engines import PlaneWave, ScfOptions
from fermisea.plots import Costs, cost_figure, save_figure

TOLERANCE = 1e-8
"""conv_thr of pw.x, Ry for the cell; fermisea uses the same energy in eV per atom."""

COLD, WARM = 1000.0, 10_000.0
"""Electronic temperatures of the predictions of all sizes, K; the DFT runs of all sizes are at the first."""

ENGINE, TAIL, PW = "engine", "engine, tail", "pw.x"
F, FORCES = "prediction of F", "prediction with forces"
"""Names of the methods in the tables and the figure."""

FEW = 64
"""Largest number of atoms of a prediction that is repeated."""


@dataclass(frozen=True)
class Plan:
    """Calculations of the benchmark.

    Attributes:
        cutoff: plane-wave cutoff of the runs of all sizes, eV.
        hot_cutoff: plane-wave cutoff of the runs at all tau_e, eV.
        mesh: number of k-points along each axis of the cubic cell of four atoms, in the runs of all sizes.
        hot_mesh: the same in the runs at all tau_e.
        atoms: numbers of atoms of the DFT runs.
        electron_temperatures: tau_e of the DFT runs of four atoms, K.
        tail_bands: number of bands below a tail; a tail is computed where more bands are occupied.
        predicted: numbers of atoms of predictions of F.
        with_forces: numbers of atoms of predictions with forces and stress.
    """

    cutoff: float = 16 * units.RYDBERG
    hot_cutoff: float = 20 * units.RYDBERG
    mesh: int = 4
    hot_mesh: int = 2
    atoms: tuple[int, ...] = (4, 8, 16, 32, 64)
    electron_temperatures: tuple[float, ...] = (1e3, 1e4, 3e4, 5e4, 1e5)
    tail_bands: int = 60
    predicted: tuple[int, ...] = (4, 16, 64, 256, 1024, 4096, 16384)
    with_forces: tuple[int, ...] = (4, 16, 64, 256)

    def engine(self, atoms: Atoms) -> PlaneWave:
        """Returns the engine, without a tail, with the k-mesh and the tolerance for a number of atoms."""
        mesh = tuple(self.mesh // count for count in repeats(len(atoms)))
        return PlaneWave(
            cutoff=self.cutoff,
            kpts=(mesh[0], mesh[1], mesh[2]),
            shift=(1, 1, 1),
            pseudopotentials="gth",
            threads=1,
            tail=False,
            scf=ScfOptions(tolerance=TOLERANCE * units.RYDBERG / len(atoms)),
        )


FULL = Plan()
QUICK = Plan(100.0, 100.0, 2, 2, (4, 8), (1e3, 3e4), 20, (4, 8), (4,))


def repeats(atoms: int) -> tuple[int, int, int]:
    """Returns the repetitions of the cubic cell for 4, 8, 16, ... atoms."""
    doublings = (atoms // 4).bit_length() - 1
    return 2 ** (doublings // 3), 2 ** ((doublings + 1) // 3), 2 ** ((doublings + 2) // 3)


def aluminium(atoms: int) -> Atoms:
    """Returns slightly displaced fcc aluminium."""
    return rattled(bulk("Al", a=4.05, cubic=True).repeat(repeats(atoms)), 0.05)


@lru_cache(maxsize=2)
def one_network(electron_temperature: float) -> Model:
    """Returns the first network of the shipped model, at the highest tau_ref up to tau_e."""
    parts = [
        part for part in load_model("aluminium").parts if part.reference_electron_temperature <= electron_temperature
    ]
    return replace(parts[-1], network=parts[-1].network.members[0])


def predict(atoms: int, electron_temperatures: list[float], *, forces: bool = False) -> float:
    """Returns the CPU time of a prediction of anchored F by the network for the first tau_e (K), s."""
    model, structure = one_network(electron_temperatures[0]), aluminium(atoms)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one network of an ensemble has narrower limits
        start = time.process_time()
        model.predict(structure, electron_temperatures, free_energy="anchored", uncertainty=False, forces=forces)
        return time.process_time() - start


def size_runs(plan: Plan, runs: Runs, *, pw: bool) -> dict[str, dict[int, Run]]:
    """Returns the DFT runs of all sizes at the lowest tau_e, by code and number of atoms."""
    found: dict[str, dict[int, Run]] = {}
    for count in plan.atoms:
        atoms = aluminium(count)
        engine = plan.engine(atoms)
        run = found.setdefault(ENGINE, {})[count] = runs(engine, atoms, COLD)
        if pw:
            found.setdefault(PW, {})[count] = peer(runs, engine, atoms, COLD, run.bands)
    return found


def hot_runs(plan: Plan, runs: Runs, *, pw: bool) -> dict[str, dict[float, Run]]:
    """Returns the DFT runs of four atoms, by code and tau_e (K)."""
    atoms = aluminium(4)
    engine = replace(plan.engine(atoms), cutoff=plan.hot_cutoff, kpts=(plan.hot_mesh,) * 3)
    found: dict[str, dict[float, Run]] = {}
    for hot in plan.electron_temperatures:
        run = found.setdefault(ENGINE, {})[hot] = runs(engine, atoms, hot)
        if run.bands > plan.tail_bands:
            found.setdefault(TAIL, {})[hot] = runs(replace(engine, tail=True, bands=plan.tail_bands), atoms, hot)
        if pw:
            found.setdefault(PW, {})[hot] = peer(runs, engine, atoms, hot, run.bands)
    return found


def peer(runs: Runs, engine: PlaneWave, atoms: Atoms, electron_temperature: float, bands: int) -> Run:
    """Returns the run of pw.x, stored or new."""
    make = partial(pwscf, engine, atoms, electron_temperature, bands, tolerance=TOLERANCE)
    return runs.stored("pw.x", (engine, bands), atoms, electron_temperature, make)


def predictions(plan: Plan, values: Any) -> tuple[dict[str, dict[int, list[float]]], dict[float, list[float]]]:
    """Returns CPU times of predictions by kind and number of atoms, and of four atoms by tau_e (K), s."""
    sizes: dict[str, dict[int, list[float]]] = {F: {}, FORCES: {}}
    hot: dict[float, list[float]] = {}
    with Worker(Path(__file__), 1) as process:

        def measure(times: int, **arguments: Any) -> list[float]:
            values.pace.take()
            return [process.call("predict", **arguments) for _ in range(times)]

        for forces in (False, True):  # compiles all functions
            process.call("predict", atoms=4, electron_temperatures=[COLD, WARM], forces=forces)
        for kind, numbers in ((F, plan.predicted), (FORCES, plan.with_forces)):
            for count in numbers:
                times = values.repeat if count <= FEW else 1
                named = {"atoms": count, "electron_temperatures": [COLD, WARM], "forces": kind == FORCES}
                sizes[kind][count] = measure(times, **named)
                print(f"{kind}, {count} atoms: {statistics.median(sizes[kind][count]):.2f} s", flush=True)
        for tau_e in plan.electron_temperatures:
            hot[tau_e] = measure(values.repeat, atoms=4, electron_temperatures=[tau_e])
    return sizes, hot


def size_table(
    plan: Plan, found: Mapping[str, Mapping[int, Run]], predicted: Mapping[str, Mapping[int, float]]
) -> Table:
    """Returns the times by number of atoms, with exponents in the last rows."""
    columns = {code: {count: run.seconds for count, run in found.get(code, {}).items()} for code in (ENGINE, PW)}
    columns |= predicted
    rows = []
    for count in sorted({*plan.atoms, *plan.predicted}):
        known = found[ENGINE].get(count)
        mesh = "x".join(map(str, plan.engine(aluminium(count)).kpts)) if known else ""
        rows.append([
            f"{count}",
            mesh,
            str(known.bands) if known else "",
            "; ".join(str(found[code][count].iterations) for code in (ENGINE, PW) if count in found.get(code, {})),
            *(digits(times[count]) if count in times else "" for times in columns.values()),
        ])  # fmt: skip
    rows.append(["exponent", "", "", "", *(_exponent(times) for times in columns.values())])
    per_point = {code: {n: s / points(plan, n) for n, s in columns[code].items()} for code in (ENGINE, PW)}
    rows.append(["exponent of the time per k-point", "", "", "", *map(_exponent, per_point.values()), "", ""])
    gaps = [
        1000 * abs(run.free_energy - found[PW][count].free_energy) / count
        for count, run in found[ENGINE].items()
        if count in found.get(PW, {})
    ]
    note = (
        f"One run of DFT, and of predictions above {FEW} atoms. Exponents are log-log slopes from a quarter of the "
        "largest size on."
    )
    if gaps:
        note += f" Free energies of the two codes differ by at most {max(gaps):.3f} meV/atom."
    title = (
        f"CPU time (s) against the number of atoms: fcc Al, GTH-PBE, {plan.cutoff / units.RYDBERG:.0f} Ry, shifted "
        f"k-mesh, one thread; DFT at {COLD:,.0f} K in complex128 with forces and stress; predictions at {COLD:,.0f} "
        f"and {WARM:,.0f} K in float32, network {'-'.join(map(str, _sizes()))}, grid spacing at most "
        f"{one_network(COLD).grid_spacing:.3f} Å"
    )
    names = ["atoms", "k-mesh", "bands", "iterations: engine; pw.x", *columns]
    return Table("cost", title, names, rows, note)


def points(plan: Plan, atoms: int) -> float:
    """Returns the number of k-points of the full mesh."""
    return float(np.prod(plan.engine(aluminium(atoms)).kpts))


def _exponent(times: Mapping[int, float]) -> str:
    value = Costs("", list(times), list(times.values())).exponent if times else None
    return "" if value is None else f"{value:.2f}"


def _sizes() -> tuple[int, ...]:
    network = one_network(COLD).network
    return (network.inputs, *network.widths, network.outputs)


def hot_table(plan: Plan, found: Mapping[str, Mapping[float, Run]], predicted: Mapping[float, float]) -> Table:
    """Returns the times of four atoms by tau_e."""
    rows = []
    for hot, run in found[ENGINE].items():
        tail, other = (found.get(code, {}).get(hot) for code in (TAIL, PW))
        rows.append([
            f"{hot:,.0f}",
            str(run.bands),
            digits(run.seconds),
            digits(other.seconds) if other else "",
            str(tail.bands) if tail else "",
            digits(tail.seconds) if tail else "",
            digits(1000 * (tail.free_energy - run.free_energy) / 4) if tail else "",
            digits(predicted[hot]),
        ])  # fmt: skip
    cutoff = f"{plan.hot_cutoff / units.RYDBERG:.0f} Ry, k {plan.hot_mesh}x{plan.hot_mesh}x{plan.hot_mesh} shifted"
    title = f"CPU time (s) against tau_e: Al4, GTH-PBE, {cutoff}, one thread; prediction of F at one tau_e"
    columns = ["tau_e (K)", "bands", ENGINE, PW, "bands below the tail", TAIL, "F, tail - bands (meV/atom)", F]
    note = (
        "One run of DFT. The prediction is made with the network of tau_ref = 1000 K below "
        f"{WARM:,.0f} K, of 10,000 K otherwise."
    )
    return Table("cost_hot", title, columns, rows, note)


def figure(
    plan: Plan,
    sizes: Mapping[str, Mapping[int, float]],
    hot: Mapping[str, Mapping[float, float]],
    predicted: Sequence[str],
) -> Figure:
    """Returns the figure of all times by method; ``predicted`` names the predictions."""
    series = [
        [Costs(name, list(times), list(times.values()), predicted=name in predicted) for name, times in group.items()]
        for group in (sizes, hot)
    ]
    mesh = "x".join([str(plan.hot_mesh)] * 3)
    titles = (f"fcc Al, DFT at {COLD:,.0f} K, fixed density of k-points", f"Al4, DFT with {mesh} k-points")
    return cost_figure(*series, time="CPU time of a structure (s)", titles=titles)


def main() -> None:
    """Runs, prints tables, writes JSON and, in a full run, the figure."""
    values = parse(options(__doc__, "cost", 3))
    torch.set_num_threads(1)
    plan = QUICK if values.quick else FULL
    pw = installed("pw.x")
    runs = Runs(OUTPUT / ("quick" if values.quick else "") / "cost")
    atoms = aluminium(4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        QUICK.engine(atoms).solve(atoms, COLD)  # the first run of a process takes longer
    sizes, hot = size_runs(plan, runs, pw=pw), hot_runs(plan, runs, pw=pw)
    predicted, hot_predicted = predictions(plan, values)
    medians = {kind: {n: statistics.median(runs) for n, runs in times.items()} for kind, times in predicted.items()}
    hot_medians = {tau_e: statistics.median(runs) for tau_e, runs in hot_predicted.items()}
    drawn = {code: {n: run.seconds for n, run in found.items()} for code, found in sizes.items()} | medians
    drawn_hot = {code: {t: run.seconds for t, run in found.items()} for code, found in hot.items()} | {F: hot_medians}
    save_figure(figure(plan, drawn, drawn_hot, (F, FORCES)), values.out.with_suffix(""))
    tables = [size_table(plan, sizes, medians), hot_table(plan, hot, hot_medians)]
    dft = {"sizes": _plain(sizes), "electron_temperatures": _plain(hot)}
    finish(values, tables, dft | {"predictions_cpu_s": predicted, "hot_predictions_cpu_s": hot_predicted})


def _plain(found: Mapping[str, Mapping[Any, Run]]) -> dict[str, dict[Any, dict[str, float]]]:
    """Returns bands, iterations, CPU time and F of runs."""
    names = ("bands", "iterations", "seconds", "free_energy", "tail_electrons")
    return {code: {key: {n: getattr(run, n) for n in names} for key, run in of.items()} for code, of in found.items()}


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        torch.set_num_threads(1)
        serve(predict)
    else:
        main()
