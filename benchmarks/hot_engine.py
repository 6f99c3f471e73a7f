"""The plane-wave engine with hot electrons: its free-electron tail against more bands, all states and theory.

Al4 (cubic cell of 4.05 Angstrom, displacements of 0.15, k 2x2x2, PBE, GTH), Be4 (all electrons, k shifted by half a
step), and fcc hydrogen at 1 g/cm3 (LDA). Every finished run is stored in bench-output/hot-engine, so that an
interrupted benchmark resumes. About a quarter of an hour on one core.

    python benchmarks/hot_engine.py [--quick]
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from common import OUTPUT, Table, digits, finish, options, parse
from hot_runs import ALUMINIUM, BERYLLIUM, GPA, Run, Runs, aluminium, beryllium, density_error, force_error
from matplotlib.figure import Figure
from scipy.optimize import brentq

from fermisea import units
from fermisea.engines import PlaneWave, ScfOptions
from fermisea.engines.planewave.ions import local_potential
from fermisea.engines.planewave.problem import Problem
from fermisea.physics.fermi_dirac import grand_potential, occupation
from fermisea.physics.fields import FourierGrid
from fermisea.physics.free_electrons import quadrature, state_density
from fermisea.physics.xc import xc_energy, xc_energy_and_potential
from fermisea.plots import save_figure
from fermisea.plots.style import GREY, MODEL, panels_figure

HYDROGEN = PlaneWave(xc="lda", cutoff=1000.0, kpts=(4, 4, 4), pseudopotentials="gth", threads=1, bands=40, tail=True)

TEMPERATURES = (1e3, 1e4, 3e4, 4.5e4, 6e4, 1e5, 3e5, 1e6, 3e6, 1e7)
"""Electronic temperatures of the table and the figure of times, K."""

WITHOUT = (1e3, 1e4, 3e4, 4.5e4, 6e4, 8e4, 1e5)
"""Electronic temperatures of the figure without a tail, K."""

WHOLE = 3e5
"""Electronic temperature of the comparison of Be4 with all states of its basis, K."""

GRAM = 6.02214076e23 / 1e24
"""Atomic mass units per cubic Angstrom in 1 g/cm3."""


def hydrogen() -> Atoms:
    """Returns fcc hydrogen at 1 g/cm3."""
    return bulk("H", "fcc", a=(4 * 1.00784 / GRAM) ** (1 / 3))


def band_table(runs: Runs, *, quick: bool) -> Table:
    """Returns errors of Al4 at 80 kK with few bands."""
    atoms, hot = aluminium(), 80_000.0
    engine = replace(ALUMINIUM, cutoff=100.0, kpts=(1, 1, 1)) if quick else ALUMINIUM
    whole = runs(replace(engine, bands="all") if quick else replace(engine, tail=False), atoms, hot)
    numbers = (20, 30) if quick else (48, *range(60, 165, 10))
    found = [runs(replace(engine, bands=count, tail=True), atoms, hot) for count in numbers]
    errors = [1000 * (run.free_energy - whole.free_energy) / len(atoms) for run in found]
    rows = [
        [
            str(count),
            digits(run.tail_electrons, 2),
            digits(error, 3),
            digits(force_error(run, whole), 2),
            digits(100 * (run.pressure / whole.pressure - 1), 2),
            digits(run.seconds, 2),
        ]
        for count, run, error in zip(numbers, found, errors, strict=True)
    ]
    note = f"All bands ({whole.bands}) give F = {whole.free_energy:.6f} eV in {digits(whole.seconds, 2)} s."
    if not quick:
        smooth = np.polynomial.Polynomial.fit(numbers[1:], errors[1:], 3)(np.array(numbers[1:]))
        note += (
            f" Largest residual of a cubic fit from 60 to 160 bands: {np.abs(errors[1:] - smooth).max():.2f} meV/atom."
        )
    columns = ("bands", "electrons in the tail", "F (meV/atom)", "forces (meV/Å)", "pressure (%)", "CPU (s)")
    return Table("hot_bands", "Al4 at 80 kK with a tail: errors against all bands", columns, rows, note)


def identity_table(runs: Runs, *, quick: bool) -> Table:
    """Returns P against -dF/dV, and dF/dtau_e against -S, of a cubic cell of four aluminium atoms."""
    atoms = bulk("Al", cubic=True, a=4.05)
    rows = []
    for hot, bands in ((80_000.0, 32),) if quick else ((80_000.0, 64), (80_000.0, 32), (1e6, 64)):
        cutoff = 100.0 if quick else 200.0
        engine = replace(ALUMINIUM, bands=bands, tail=True, cutoff=cutoff, scf=ScfOptions(tolerance=1e-12))
        middle = runs(engine, atoms, hot)
        step, energies = 1e-4, []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.set_cell(atoms.cell.array * (1 + sign * step) ** (1 / 3), scale_atoms=True)
            energies.append(runs(engine, moved, hot).free_energy)
        slope = -(energies[0] - energies[1]) / (2 * step * atoms.get_volume()) * GPA
        warmer, colder = (runs(engine, atoms, hot * (1 + sign * 1e-3)).free_energy for sign in (1, -1))
        entropy = (warmer - colder) / (2e-3 * hot) / (middle.entropy_term / hot)
        rows.append([
            f"{hot:,.0f}",
            str(bands),
            digits(middle.tail_electrons, 3),
            f"{middle.pressure / slope - 1:.1e}",
            f"{entropy - 1:.1e}",
            f"{middle.electrons - 12:.0e}",
        ])  # fmt: skip
    columns = ("tau_e (K)", "bands", "electrons in the tail", "P / (-dF/dV) - 1", "dF/dtau_e / (-S) - 1", "N - 12")
    return Table("hot_identities", "Al4 with a tail: derivatives of F by central differences", columns, rows)


def convergence_table(runs: Runs, *, quick: bool) -> Table:
    """Returns F, pressure and density of Be4 for two numbers of bands, and against all states."""
    atoms, rows = beryllium(), []
    engine = replace(BERYLLIUM, cutoff=400.0) if quick else BERYLLIUM
    few, most = (30, 60) if quick else (200, 400)
    for hot in (1e6,) if quick else (1e5, 3e5, 1e6, 3e6):
        best, best_density = runs.with_density(replace(engine, bands=most, tail=True), atoms, hot)
        default, some = (runs.with_density(e, atoms, hot) for e in (engine, replace(engine, bands=few, tail=True)))
        cells = [_errors(run, best, density_error(density, best_density)) for run, density in (default, some)]
        whole, cell = None, ""
        if quick or hot == WHOLE:
            whole, density = runs.with_density(replace(engine, bands="all"), atoms, hot)
            cell = _errors(default[0], whole, density_error(default[1], density))
        found = [default[0], some[0], best] + ([] if whole is None else [whole])
        seconds = "; ".join(digits(run.seconds, 2) for run in found)
        rows.append([f"{hot:,.0f}", str(default[0].bands), *cells, cell, digits(best.tail_electrons, 3), seconds])
    columns = ("tau_e (K)", "default bands", "default", f"{few} bands", "default against all states")
    columns += (f"electrons in the tail of {most}", "CPU (s)")
    title = f"Be4, all electrons: F; pressure; density against {most} bands, %"
    return Table("hot_beryllium", title, columns, rows, "CPU times in the order of the columns.")


def _errors(run: Run, best: Run, density: float) -> str:
    """Returns errors of F, pressure and density, %."""
    energy, push = run.free_energy / best.free_energy - 1, run.pressure / best.pressure - 1
    return f"{100 * energy:.4f}; {100 * push:.2f}; {density:.2f}"


def time_table(runs: Runs, *, quick: bool) -> Table:
    """Returns the CPU time of Al4 over tau_e with the default number of bands, and the error by twice as many."""
    atoms, rows = aluminium(), []
    engine = replace(ALUMINIUM, cutoff=272.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        replace(engine, cutoff=100.0).solve(atoms, 30_000.0)  # the first run of a process takes longer
    cold = runs(engine, atoms, 30_000.0).seconds
    for hot in (1e3, 1e5) if quick else TEMPERATURES:
        run = runs(engine, atoms, hot)
        cells = [f"{hot:,.0f}", str(run.bands), digits(run.tail_electrons, 3), str(run.iterations)]
        cells += [digits(run.seconds, 2), digits(run.seconds / cold, 2)]
        if run.tail_electrons and not quick:
            finer = runs(replace(engine, bands=2 * run.bands, tail=True), atoms, hot)
            cells.append(f"{100 * (run.free_energy / finer.free_energy - 1):.4f}")
            cells.append(f"{100 * (run.pressure / finer.pressure - 1):.3f}")
        else:
            cells += ["", ""]
        rows.append(cells)
    columns = ("tau_e (K)", "bands", "electrons in the tail", "iterations", "CPU (s)", "CPU, 30 kK = 1")
    columns += ("F against twice the bands (%)", "pressure (%)")
    return Table("hot_time", "One SCF of Al4 at 20 Ry with default settings", columns, rows)


def time_figure(runs: Runs) -> Figure:
    """Returns the CPU time of Al4 over tau_e, with the default settings and without a tail."""
    atoms, engine = aluminium(), replace(ALUMINIUM, cutoff=272.0)
    with panels_figure(1, [1.0], 3.0) as (figure, (axes,)):
        for choice, title, colour in ((False, "all bands that are occupied", GREY), ("auto", "default", MODEL)):
            temperatures = WITHOUT if choice is False else TEMPERATURES
            seconds = [runs(replace(engine, tail=choice), atoms, t).seconds for t in temperatures]
            axes.loglog(temperatures, seconds, color=colour, marker="o", label=title)
        axes.set_xlabel(r"$\tau_e$ (K)")
        axes.set_ylabel("CPU time of one SCF (s)")
        axes.legend()
    return figure


def free_energies(problem: Problem) -> tuple[float, float, float]:
    """Returns F of the ideal gas with Madelung energy, of the uniform gas in first order, and in linear response, eV.

    The response is that of free electrons at tau_e (J. Lindhard, Dan. Mat. Fys. Medd. 28, 8 (1954)), screened with
    Hartree and exchange-correlation potentials.
    """
    volume, number, tau = problem.grid.volume, problem.electrons, problem.electron_temperature
    kt = units.thermal_energy(tau)

    def integral(function: Callable[..., Any], mu: float) -> float:
        energies, weights = quadrature(0.0, 0.0, mu, kt)
        return volume * float(np.sum(weights * state_density(energies, 0.0) * function(energies, mu, tau)))

    mu = brentq(lambda level: integral(occupation, level) - number, -80 * kt, 100 + 80 * kt, xtol=1e-12)
    ideal = integral(grand_potential, mu) + mu * number + problem.ion_energy
    ionic = local_potential(problem.ions, problem.grid.shape).reshape(-1)
    uniform = torch.full(problem.grid.shape, number / volume, dtype=torch.float64)
    grid = FourierGrid.of(problem.ions.cell, uniform)
    first = ideal + number * float(ionic[0].real) + float(xc_energy(uniform, grid, problem.functional))
    levels = [
        float(xc_energy_and_potential(uniform * (1 + step), grid, problem.functional)[1].mean())
        for step in (1e-4, -1e-4)
    ]
    kernel = (levels[0] - levels[1]) / (2e-4 * number / volume)
    momenta, place = np.unique(np.round(problem.squared_momenta.reshape(-1).numpy()[1:], 8), return_inverse=True)
    squares = np.bincount(place, (ionic.abs() ** 2).numpy()[1:])
    chi = np.array([_lindhard(math.sqrt(square), mu, tau) for square in momenta])
    screened = chi / (1 - (4 * math.pi * units.COULOMB / momenta + kernel) * chi)
    return ideal, first, first + 0.5 * volume * float(squares @ screened)


def _lindhard(momentum: float, mu: float, electron_temperature: float) -> float:
    """Returns the static response of free electrons per volume, 1/(eV Angstrom^3), at a momentum, 1/Angstrom."""
    longest = math.sqrt((max(mu, 0.0) + 45 * units.thermal_energy(electron_temperature)) / units.KINETIC)
    near = momentum / 2 * np.geomspace(1e-9, 1, 40)
    splits = np.concatenate([np.linspace(0, longest, 400), momentum / 2 - near, momentum / 2 + near, [momentum / 2]])
    splits = np.unique(splits[(splits >= 0) & (splits <= longest)])
    nodes, weights = np.polynomial.legendre.leggauss(16)
    half = np.diff(splits)[:, None] / 2
    waves = splits[:-1, None] + half * (1 + nodes)
    filled = occupation(units.KINETIC * waves**2, mu, electron_temperature)
    logarithm = np.log(np.abs((2 * waves + momentum) / (2 * waves - momentum)))
    total = float(np.sum(half * weights * waves * filled * logarithm))
    return -total / (2 * math.pi**2 * units.KINETIC * momentum)


def hydrogen_table(runs: Runs, *, quick: bool) -> Table:
    """Returns F of hot hydrogen over the ideal Fermi gas and the Madelung energy, and in linear response."""
    atoms, rows = hydrogen(), []
    engine = replace(HYDROGEN, kpts=(2, 2, 2), bands=20) if quick else HYDROGEN
    for hot in (1e7,) if quick else (1e6, 1e7, 1e8):
        run = runs(engine, atoms, hot)
        ideal, first, second = free_energies(engine._problem(atoms, hot))  # noqa: SLF001  # its quantities without a run
        ours, theory = run.free_energy - ideal, second - ideal
        cells = [run.free_energy, ours, theory, 100 * (ours / theory - 1), run.free_energy - first, second - first]
        rows.append([f"{hot:,.0f}", *(f"{cell:.4f}" for cell in cells), digits(run.tail_electrons, 3)])
    columns = (
        "tau_e (K)",
        "F (eV)",
        "excess (eV)",
        "theory (eV)",
        "difference (%)",
        "response (eV)",
        "theory (eV)",
        "tail",
    )
    title = "fcc hydrogen, 1 g/cm3: F over the ideal Fermi gas and the Madelung energy, against linear response"
    return Table("hot_hydrogen", title, columns, rows, "The response is the part of the excess beyond first order.")


def main() -> None:
    """Runs, prints tables and writes JSON."""
    parser = options(__doc__, "hot_engine", 1)
    parser.add_argument("--only", nargs="+", help="names of tables  [all]")
    values = parse(parser)
    torch.set_num_threads(1)
    runs = Runs(OUTPUT / ("quick" if values.quick else "") / "hot-engine")
    makers = {
        "bands": band_table,
        "identities": identity_table,
        "time": time_table,
        "hydrogen": hydrogen_table,
        "beryllium": convergence_table,
    }
    tables = []
    for name in values.only or makers:
        tables.append(makers[name](runs, quick=values.quick))
        print(f"\n{tables[-1].markdown()}", flush=True)
    if not values.quick and "time" in (values.only or makers):
        save_figure(time_figure(runs), OUTPUT / "hot_time")
    finish(values, tables, {})


if __name__ == "__main__":
    main()
