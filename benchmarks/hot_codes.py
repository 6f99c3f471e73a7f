"""Hot electrons in the plane-wave engine against ABINIT and pw.x, with all bands, with few bands, and with a tail.

Al4 and Be4 as in hot_engine.py, on one thread. ABINIT 9.6.2 (Debian package abinit) reads the GTH parameters of the
package and pw.x (quantum-espresso) the same potential as a UPF file. The rows of a program that is not installed are
left out. Finished runs are stored in bench-output/hot-codes, so that an interrupted benchmark resumes. About ten
minutes on one core.

    apt install abinit quantum-espresso
    python benchmarks/hot_codes.py [--quick] [--only codes tails]
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Self

import torch
from abinit import run_abinit, version
from ase import Atoms
from common import OUTPUT, Table, digits, finish, options, parse
from hot_runs import ALUMINIUM, BERYLLIUM, Run, Runs, aluminium, beryllium, force_error, pressure

from fermisea import units
from fermisea.engines import PlaneWave, ScfOptions
from fermisea.engines.planewave.band_plan import BandPlan
from fermisea.engines.planewave.filling import Filling
from fermisea.engines.planewave.problem import Problem
from fermisea.engines.planewave.scf import self_consistent
from fermisea.engines.planewave.solver import KPointSolver
from fermisea.engines.planewave.total_energy import total_energy
from fermisea.utilities.threads import Workers

TESTS = Path(__file__).parents[1] / "tests"
sys.path.insert(0, str(TESTS))
from espresso import run_pw  # noqa: E402

POTENTIAL = TESTS / "data" / "pseudopotentials" / "Al.gth-pbe.upf"

TIGHT = ScfOptions(tolerance=1e-11)


class ExactBands(BandPlan):
    """A fixed number of bands without a tail, whatever the occupation of the top band."""

    def checked(self, problem: Problem, filling: Filling, highest: float) -> Self:  # noqa: ARG002  # same signature
        """Returns the plan itself."""
        return self


def exact_bands(engine: PlaneWave, atoms: Atoms, electron_temperature: float, bands: int) -> Run:
    """Runs the engine with exactly this number of bands and no tail, as the other codes do."""
    start = time.process_time()
    with Workers(1) as pool:
        problem = engine._problem(atoms, electron_temperature)  # noqa: SLF001  # no option leaves out electrons
        state = self_consistent(
            problem, KPointSolver(problem, pool), ExactBands(bands, fixed=True), options=engine.scf, pool=pool
        )
        total = total_energy(problem, state, pool)
    return Run(
        total.free_energy,
        state.filling.entropy_term,
        pressure(total.stress),
        total.forces.tolist(),
        bands,
        len(state.history),
        time.process_time() - start,
    )


def pwscf(engine: PlaneWave, atoms: Atoms, electron_temperature: float, bands: int, *, tolerance: float = 1e-11) -> Run:
    """Runs pw.x with the settings of an engine for aluminium; ``tolerance`` is its conv_thr, Ry for the cell."""
    with tempfile.TemporaryDirectory() as folder:
        found = run_pw(
            Path(folder),
            atoms,
            {"Al": POTENTIAL},
            electron_temperature,
            cutoff=engine.cutoff,
            kpts=engine.kpts,
            shift=engine.shift,
            tolerance=tolerance,
            bands=bands,
        )
    return Run(
        found.free_energy,
        found.entropy_term,
        pressure(found.stress),
        found.forces.tolist(),
        bands,
        found.iterations,
        found.cpu,
    )


@dataclass(frozen=True)
class Case:
    """A run of another code beside a run of the engine.

    Attributes:
        atoms: structure.
        engine: settings of both codes.
        electron_temperature: tau_e, K.
        bands: number of bands of the other code, enough to leave the top band empty, unless ``exact``.
        exact: whether the engine has the same number of bands, the top one occupied.
        peer: program of the other code.
    """

    atoms: Atoms
    engine: PlaneWave
    electron_temperature: float
    bands: int
    exact: bool = False
    peer: str = "abinit"

    def ours(self, runs: Runs) -> Run:
        """Returns the result of the engine with all bands that are occupied, or with the same number."""
        if self.exact:
            make = partial(exact_bands, self.engine, self.atoms, self.electron_temperature, self.bands)
            settings = (self.engine, self.bands)
            return runs.stored("fermisea, exact", settings, self.atoms, self.electron_temperature, make)
        return runs(replace(self.engine, tail=False), self.atoms, self.electron_temperature)

    def theirs(self, runs: Runs) -> Run:
        """Returns the result of the other code."""
        run: Callable[..., Run] = run_abinit if self.peer == "abinit" else pwscf
        make = partial(run, self.engine, self.atoms, self.electron_temperature, self.bands)
        return runs.stored(self.peer, (self.engine, self.bands), self.atoms, self.electron_temperature, make)


def cases(*, quick: bool) -> list[Case]:
    """Returns the comparisons without a tail."""
    metal, light = replace(ALUMINIUM, scf=TIGHT), replace(BERYLLIUM, scf=TIGHT)
    soft = replace(metal, cutoff=20 * units.RYDBERG)
    if quick:
        small = replace(metal, cutoff=100.0, kpts=(1, 1, 1))
        return [Case(aluminium(), small, 3e4, 72), Case(aluminium(), small, 8e4, 30, exact=True, peer="pw.x")]
    return [
        Case(aluminium(), metal, 3e4, 72),
        Case(aluminium(), metal, 8e4, 245),
        Case(beryllium(), light, 1e5, 150),
        Case(aluminium(), soft, 8e4, 150, exact=True, peer="pw.x"),
        Case(aluminium(), soft, 8e4, 245, peer="pw.x"),
    ]


def installed(program: str) -> bool:
    """Returns whether a program is installed, and prints a line if it is not."""
    found = shutil.which(program) is not None
    if not found:
        print(f"{program} is not installed: its rows are left out")
    return found


def code_table(runs: Runs, programs: set[str], *, quick: bool) -> Table:
    """Returns differences between the engine and other codes without a tail."""
    rows = []
    for case in cases(quick=quick):
        if case.peer not in programs:
            continue
        ours, theirs, atoms = case.ours(runs), case.theirs(runs), len(case.atoms)
        rows.append([
            f"{case.atoms.get_chemical_formula()}, {case.electron_temperature:,.0f} K, {case.engine.cutoff:.0f} eV",
            case.peer,
            f"{ours.bands}; {theirs.bands}",
            f"{1000 * (ours.free_energy - theirs.free_energy) / atoms:.4f}",
            f"{1000 * (ours.entropy_term - theirs.entropy_term) / atoms:.4f}",
            f"{force_error(ours, theirs):.2f}",
            f"{ours.pressure:.4f}; {theirs.pressure:.4f}",
            f"{100 * (ours.pressure / theirs.pressure - 1):.4f}",
            f"{digits(ours.seconds, 2)}; {digits(theirs.seconds, 2)}",
        ])  # fmt: skip
    columns = ("run", "code", "bands: engine; code", "F (meV/atom)", "-TS (meV/atom)", "forces (meV/Å)")
    columns += ("pressure: engine; code (GPa)", "pressure (%)", "CPU: engine; code (s)")
    note = "Engine minus code. Equal numbers of bands are exact, with the top band occupied; in other runs it is empty."
    return Table("hot_codes", "The engine against other codes, without a tail", columns, rows, note)


def tail_table(runs: Runs, programs: set[str], *, quick: bool) -> Table:
    """Returns errors of the tails of both codes with few bands, against all bands or most bands of the engine."""
    rows: list[list[str]] = []
    note = "Errors of both codes against the engine:"
    atoms = aluminium()
    engine = replace(ALUMINIUM, cutoff=100.0, kpts=(1, 1, 1)) if quick else ALUMINIUM
    plans = [(8e4, None, (100, 150)), (1e6, 400, (100,))] if not quick else [(8e4, 50, (30,))]
    for hot, most, numbers in plans:
        best = runs(replace(engine, bands=most, tail=most is not None), atoms, hot)
        for bands in numbers:
            found = [runs(replace(engine, bands=bands, tail=True), atoms, hot)]
            if "abinit" in programs:
                make = partial(run_abinit, engine, atoms, hot, bands, extended=True)
                found.append(runs.stored("abinit, extended", (engine, bands), atoms, hot, make))
            rows.append([
                f"{hot:,.0f}",
                str(bands),
                "; ".join(digits(1000 * (run.free_energy - best.free_energy) / len(atoms)) for run in found),
                "; ".join(digits(100 * (run.free_energy / best.free_energy - 1)) for run in found),
                "; ".join(digits(100 * (run.pressure / best.pressure - 1)) for run in found),
                "; ".join(digits(run.seconds, 2) for run in found),
            ])  # fmt: skip
        number = f"all {best.bands} bands" if most is None else f"{most} bands and a tail"
        note += f" at {hot:,.0f} K, {number}, F = {best.free_energy:.4f} eV, {best.pressure:.2f} GPa;"
    columns = ("tau_e (K)", "bands", "F (meV/atom): engine; ABINIT", "F (%)", "pressure (%)", "CPU (s)")
    title = "Al4, 400 eV, with free electrons above the bands in both codes"
    return Table("hot_tails", title, columns, rows, note.removesuffix(";") + ".")


def main() -> None:
    """Runs, prints tables and writes JSON."""
    parser = options(__doc__, "hot_codes", 1)
    makers = {"codes": code_table, "tails": tail_table}
    parser.add_argument("--only", nargs="+", choices=makers, help="names of tables  [all]")
    values = parse(parser)
    torch.set_num_threads(1)
    runs = Runs(OUTPUT / ("quick" if values.quick else "") / "hot-codes")
    programs = {name for name in ("abinit", "pw.x") if installed(name)}
    tables = [makers[name](runs, programs, quick=values.quick) for name in values.only or makers]
    finish(values, tables, {}, **({"abinit": version()} if "abinit" in programs else {}))


if __name__ == "__main__":
    main()
