"""Free electrons above the energy window: exact LDOS of aluminium and magnesium, and the shipped model, against DFT.

The LDOS of cells of two to four atoms is computed up to 110 eV at tau_ref = 10 kK, cut at several energies above the
Fermi level and continued by free electrons. F of the shipped model is compared with self-consistent runs up to 100 kK,
whose top bands are empty, and for a liquid with runs up to 100 kK that have free electrons above their bands from 64 kK
on. An hour on one core; the same command resumes after an interruption.

    python benchmarks/tail.py DIR
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.build import bulk, make_supercell
from common import ROOT, Table, digits, finish, options, parse
from strained_data import deformed, liquid, vacancy

import fermisea
from fermisea.engines import LdosOptions, PlaneWave
from fermisea.grid import EnergyGrid
from fermisea.physics.density_of_states import DensityOfStates
from fermisea.physics.tail import Tail
from fermisea.utilities.files import write_text

REFERENCE = 10_000.0
WINDOW = EnergyGrid(-10.0, 0.4, 300)
CUTOFF, MESH = 300.0, 4
CUTS = (10.0, 20.0, 30.0)
"""Top of the windows of the first table, eV above the Fermi level."""

HOT = (30_000.0, 50_000.0, 80_000.0)
DRAWN = {"cuts": (8.0, 10.0, 12.0, 15.0, 20.0, 25.0, 30.0, 40.0), "hot": (20_000.0, 30_000.0, 50_000.0, 80_000.0, 1e5)}
"""Windows and tau_e from which the cases of the second table are drawn."""

CASES, SEED = 20, 2026
SMALLEST = 1e-4
"""Smallest error of a case, eV/atom."""

SCF = {8: (10_000.0, 20_000.0, 30_000.0, 50_000.0), 4: (50_000.0, 80_000.0, 100_000.0)}
"""Electronic temperatures of self-consistent runs on k-meshes of this size; each shares one with the one before."""

LIQUID, LIQUID_MESH = "test-liquid16-00", (2, 2, 4)
"""A liquid of the study of aluminium, outside of the training data, and its k-mesh."""

LIQUID_SCF = (10_000.0, 30_000.0, 50_000.0, 80_000.0, 100_000.0)


def known() -> dict[str, tuple[Atoms, int]]:
    """Returns structures by name, with the size of the k-mesh, from whose errors the factor of the estimate comes."""
    return {
        "fcc": (bulk("Al", "fcc", a=4.05, cubic=True), 6),
        "rattled": (deformed(2, 1.0, 0.0, 0.2), 6),
        "small": (deformed(1, 3.85 / 4.05, 0.0, 0.1), MESH),
        "large": (deformed(3, 4.3 / 4.05, 0.0, 0.15), MESH),
        "sheared": (deformed(4, 4.0 / 4.05, 0.05, 0.08), MESH),
        "vacancy": (vacancy(5, 1.0, 0), MESH),
    }


def unseen() -> dict[str, tuple[Atoms, int]]:
    """Returns structures by name, with the size of the k-mesh, that had no part in the estimate."""
    hexagonal = make_supercell(bulk("Mg", "hcp", a=3.19, c=5.18), [[1, 0, 0], [1, 2, 0], [0, 0, 1]])
    hexagonal.positions += np.random.default_rng(31).normal(scale=0.08, size=hexagonal.positions.shape)
    cubic = bulk("Al", "bcc", a=3.24, cubic=True).repeat((1, 1, 2))
    cubic.positions += np.random.default_rng(32).normal(scale=0.08, size=cubic.positions.shape)
    return {
        "liquid-1": (liquid(41, 1.0), MESH),
        "liquid-2": (liquid(42, 1.03), MESH),
        "compressed": (deformed(43, 0.93, 0.0, 0.1), MESH),
        "strained": (deformed(44, 1.01, 0.06, 0.1), MESH),
        "bcc": (cubic, MESH),
        "magnesium": (hexagonal, MESH),
    }


def snapshot(folder: Path, name: str, atoms: Atoms, mesh: int) -> fermisea.Snapshot:
    """Returns the LDOS of a structure up to high energies, from a file if it exists."""
    path = folder / "ldos" / f"{name}.nc"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        engine = PlaneWave(
            cutoff=CUTOFF,
            kpts=(mesh,) * 3,
            shift=(1, 1, 1),
            ldos=LdosOptions(energy_grid=WINDOW, broadening=WINDOW.spacing, grid=(8, 8, 8)),
        )
        engine.run(atoms, REFERENCE).save(path)
        print(f"computed {path.name}", flush=True)
    return fermisea.Snapshot.load(path)


def band_free_energy(dos: DensityOfStates, electrons: float, tau_e: float) -> float:
    """Returns E_b - TS, eV."""
    mu = dos.fermi_level(electrons, tau_e)
    return dos.band_energy(mu, tau_e) - tau_e * dos.entropy(mu, tau_e)


def cut(of: fermisea.Snapshot, above: float) -> DensityOfStates:
    """Returns the DOS up to an energy above the Fermi level, eV, with its tail."""
    grid = of.energy_grid
    count = round((of.reference.fermi_level + above - grid.start) / grid.spacing) + 1
    shorter = replace(grid, size=count)
    tail = Tail.of(shorter, of.dos[:count] / of.grid.volume)
    return replace(of.density_of_states, energies=shorter.energies, dos=of.dos[:count], tail=tail)


def error(of: fermisea.Snapshot, above: float, tau_e: float) -> tuple[float, float, float]:
    """Returns the error of F from the tail, its estimate, and the error without a tail, eV/atom."""
    whole, atoms = band_free_energy(of.density_of_states, of.electrons, tau_e), len(of.atoms)
    short = cut(of, above)
    estimate = short.tail_error(short.fermi_level(of.electrons, tau_e), tau_e)
    found = [band_free_energy(dos, of.electrons, tau_e) - whole for dos in (short, replace(short, tail=None))]
    return found[0] / atoms, estimate / atoms, found[1] / atoms


def cut_table(folder: Path) -> tuple[Table, list[dict[str, Any]]]:
    """Returns errors of F by cutting the LDOS of known structures."""
    rows, cells = [], []
    for name, (atoms, mesh) in known().items():
        of = snapshot(folder, name, atoms, mesh)
        for above in CUTS:
            found = {tau_e: error(of, above, tau_e) for tau_e in HOT}
            rows += [
                {"name": name, "cut": above, "tau_e": t, "error": e, "estimate": s, "without": w}
                for t, (e, s, w) in found.items()
            ]
            cells.append(
                [
                    name,
                    f"{above:g}",
                    *(f"{digits(1000 * e)} ({digits(1000 * s)}; {digits(1000 * w)})" for e, s, w in found.values()),
                ]
            )
    columns = ("structure", "top - mu (eV)", *(f"{t:g} K" for t in HOT))
    title = "F of an LDOS cut above the Fermi level and continued: error (estimate; error without a tail), meV/atom"
    return Table("tail_cuts", title, columns, cells), rows


def estimate_table(folder: Path) -> tuple[Table, dict[str, Any]]:
    """Returns how the estimated error compares with errors of structures that had no part in it."""
    everything = []
    for name, (atoms, mesh) in unseen().items():
        of = snapshot(folder, name, atoms, mesh)
        for above in DRAWN["cuts"]:
            for tau_e in DRAWN["hot"]:
                wrong, estimate, _ = error(of, above, tau_e)
                if abs(wrong) > SMALLEST:
                    everything.append((name, above, tau_e, wrong, estimate))
    chosen = np.sort(np.random.default_rng(SEED).permutation(len(everything))[:CASES])
    cells, results = [], {}
    for title, cases in (("drawn", [everything[i] for i in chosen]), ("all", everything)):
        ratios = np.array([estimate / abs(wrong) for *_, wrong, estimate in cases])
        facts = {"cases": len(cases), "bounded": int(np.sum(ratios >= 1)), "median_ratio": float(np.median(ratios))}
        results[title] = facts
        cells.append(
            [title, str(len(cases)), str(facts["bounded"]), digits(facts["median_ratio"], 2), digits(ratios.max(), 2)]
        )
    columns = ("cases", "number", "error below the estimate", "median of estimate / error", "largest")
    title = f"The estimated error of the tail, errors above {1000 * SMALLEST:g} meV/atom, other structures"
    return Table("tail_estimate", title, columns, cells), results


def solve(folder: Path, name: str, atoms: Atoms, engine: PlaneWave, tau_e: float) -> float:
    """Returns F of a self-consistent run, eV, from a file if it exists."""
    path = folder / "scf" / f"{name}-{tau_e:.0f}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(engine.solve(atoms, tau_e).reference.free_energy))
        print(f"computed {path.name}", flush=True)
    return float(json.loads(path.read_text()))


def crystal_table(folder: Path) -> tuple[Table, list[dict[str, float]]]:
    """Returns errors of the change of F of the shipped model up to 100 kK in a crystal."""
    atoms, changes = deformed(7, 1.0, 0.0, 0.1), {}
    for mesh, temperatures in SCF.items():
        engine = PlaneWave(cutoff=217.7, kpts=(mesh,) * 3, shift=(1, 1, 1), tail=False)
        found = [solve(folder, str(mesh), atoms, engine, t) for t in temperatures]
        first = changes.get(temperatures[0], 0.0)
        changes |= {t: first + f - found[0] for t, f in zip(temperatures, found, strict=True)}
    title = "The shipped model, rattled fcc aluminium, against self-consistent DFT"
    note = "k-meshes of 8x8x8 up to 50 kK, of 4x4x4 for the changes above."
    cells, columns, rows = changes_of_model(atoms, changes)
    return Table("tail_model", title, columns, cells, note), rows


def liquid_table(folder: Path) -> tuple[Table, list[dict[str, float]]]:
    """Returns errors of the change of F of the shipped model up to 100 kK in a liquid."""
    frames = ase.io.read(ROOT / "tests" / "data" / "aluminium" / "structures.extxyz", ":")
    (atoms,) = (frame for frame in frames if frame.info["name"] == LIQUID)
    engine = PlaneWave(cutoff=217.7, kpts=LIQUID_MESH, shift=(1, 1, 1))
    found = {t: solve(folder, LIQUID, atoms, engine, t) for t in LIQUID_SCF}
    changes = {t: f - found[LIQUID_SCF[0]] for t, f in found.items()}
    title = f"The shipped model, liquid aluminium ({LIQUID}, {len(atoms)} atoms), against self-consistent DFT"
    mesh = "x".join(map(str, LIQUID_MESH))
    note = f"k-mesh of {mesh}; free electrons above the bands of DFT at 80 and 100 kK."
    cells, columns, rows = changes_of_model(atoms, changes)
    return Table("tail_liquid", title, columns, cells, note), rows


def changes_of_model(
    atoms: Atoms, changes: Mapping[float, float]
) -> tuple[list[list[str]], tuple[str, ...], list[dict[str, float]]]:
    """Returns cells, columns and numbers of a table of errors of the shipped model.

    Args:
        atoms: the structure.
        changes: F(tau_e) - F(10 kK) of DFT by tau_e, eV.
    """
    asked = list(changes)
    model = fermisea.load_model("aluminium")
    rows, cells = [], []
    with_tail = model.predict(atoms, asked, free_energy="anchored")
    without = model.predict(atoms, asked, free_energy="anchored", tail=False, allow_beyond_window=True)
    for k, t in enumerate(asked):
        n, true = len(atoms), changes[t]
        wrong = with_tail.free_energy[k] - with_tail.free_energy[0] - true
        cut_off = without.free_energy[k] - without.free_energy[0] - true
        row = {
            "tau_e": t,
            "change": true / n,
            "error": wrong / n,
            "without_tail": cut_off / n,
            "tail_electrons": with_tail.tail_electrons[k] / n,
            "tail_error": with_tail.tail_error[k] / n,
            "transfer_error": with_tail.transfer_error[k] / n,
        }
        rows.append({name: float(value) for name, value in row.items()})
        cells.append(
            [
                f"{t:g}",
                digits(row["change"]),
                digits(1000 * row["error"], 2),
                digits(100 * abs(wrong / true), 2) if true else "",
                digits(1000 * row["without_tail"], 2),
                digits(row["tail_electrons"], 2),
                digits(1000 * row["tail_error"], 2),
                digits(1000 * row["transfer_error"], 2),
            ]
        )
    columns = (
        "tau_e (K)",
        "F(tau_e) - F(10 kK) (eV/atom)",
        "error (meV/atom)",
        "error (%)",
        "without a tail (meV/atom)",
        "tail electrons per atom",
        "tail error (meV/atom)",
        "transfer error (meV/atom)",
    )
    return cells, columns, rows


def main() -> None:
    """Computes missing data, prints tables and writes JSON."""
    parser = options(__doc__, "tail", 1)
    parser.add_argument("folder", type=Path)
    values = parse(parser)
    cuts, cut_rows = cut_table(values.folder)
    estimates, facts = estimate_table(values.folder)
    crystal, crystal_rows = crystal_table(values.folder)
    molten, molten_rows = liquid_table(values.folder)
    numbers = {"cuts": cut_rows, "estimate": facts, "crystal": crystal_rows, "liquid": molten_rows}
    finish(values, [cuts, estimates, crystal, molten], numbers)


if __name__ == "__main__":
    main()
