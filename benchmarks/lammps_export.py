"""Exported SNAP files, run by LAMMPS, against the potential of the model, on structures that the model has not seen.

    python benchmarks/lammps_export.py [--unseen FILE...] [--structures FILE...] [--twojmax 6] [--cutoff 6]
    python benchmarks/lammps_export.py --quick        a linear potential with few structures

The tables give the errors of LAMMPS against the model for each kind of structure, the difference between LAMMPS and
the same coefficients in the package, conservation of energy over a picosecond, and the time of a step. The kind of an
unseen structure is the first word of its file name; crystals are strained by 3 % too.
"""

from __future__ import annotations

import re
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from common import ROOT, Table, Worker, digits, finish, options, parse
from peers import ENVIRONMENT, PYTHON

import fermisea
from fermisea.interop.lammps import Snap, export_lammps
from fermisea.interop.lammps.files import name_at

SCRIPT = Path(__file__).with_name("lammps_worker.py")
TAU_E = (300.0, 1000.0, 5000.0, 10_000.0, 30_000.0)
STRAIN = 0.03
UNSEEN = ROOT / "tests" / "data" / "aluminium" / "structures.extxyz"
WORDS = ("test", "other")
"""Words at the beginning of a file name that name no kind."""


@dataclass
class LammpsRunner:
    """LAMMPS in its own environment.

    Attributes:
        worker: process with LAMMPS.
        folder: scratch folder.
        names: path of the SNAP files of each tau_e without suffix.
    """

    worker: Worker
    folder: Path
    names: list[str]

    def energy_forces_stress(self, atoms: Atoms) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns energies, (nT,), forces, (nT, atoms, 3), and stress, (nT, 3, 3), of a structure."""
        found: list[tuple[float, np.ndarray, np.ndarray]] = []
        for name in self.names:
            results = self.folder / "results.npz"
            files = {"structure": self.structure(atoms), "results": str(results)}
            energy = self.worker.call("evaluate", potential=name, **files)["energy"]
            with np.load(results) as data:
                found.append((energy, data["forces"], data["stress"]))
        energies, forces, stress = zip(*found, strict=True)
        return np.array(energies), np.array(forces), np.array(stress)

    def structure(self, atoms: Atoms) -> str:
        """Writes a structure for LAMMPS, and returns the file."""
        file = self.folder / "structure.npz"
        mass, element = atoms.get_masses()[0], str(atoms.symbols[0])
        np.savez(file, cell=atoms.cell.array, positions=atoms.positions, mass=mass, element=element)
        return str(file)


def turned(atoms: Atoms) -> Atoms:
    """Returns the structure in a cell as LAMMPS needs it: lower triangular, with all atoms inside."""
    other = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=True)
    other.set_cell(atoms.cell.standard_form()[0], scale_atoms=True)
    other.wrap()
    return other


def named(files: list[Path]) -> dict[str, Atoms]:
    """Returns the structures of files by name; without files those of the tests, unseen by the shipped model."""
    if files:
        return fermisea.read_structures(files)
    frames = fermisea.structures.read_frames(UNSEEN)
    return {atoms.info["name"]: atoms for atoms in frames}


def unseen(structures: dict[str, Atoms]) -> dict[str, list[Atoms]]:
    """Returns unseen structures by kind, crystals also with four strains."""
    found: dict[str, list[Atoms]] = {}
    for name, atoms in structures.items():
        kind = next(word for word in re.split(r"[-_0-9]+", name) if word not in WORDS)
        found.setdefault(kind, []).append(turned(atoms))
        if kind != "crystal":
            continue
        shear, stretch = np.zeros((3, 3)), np.diag([STRAIN, -STRAIN, 0.0])
        shear[0, 1] = shear[1, 0] = STRAIN
        for strain in (STRAIN * np.eye(3), -STRAIN * np.eye(3), stretch, shear):
            other = atoms.copy()
            other.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            found.setdefault("strained by 3 %", []).append(turned(other))
    return found


def errors(model: fermisea.Model, runner: LammpsRunner, structures: list[Atoms]) -> list[dict[str, float]]:
    """Returns the errors of LAMMPS against the model at each tau_e; changes are from 1000 K."""
    potential, reference = model.potential(), TAU_E.index(1000.0)
    rows: list[dict[str, list[np.ndarray]]] = [{} for _ in TAU_E]
    for atoms in structures:
        exact, (energies, forces, stress) = potential.predict(atoms, TAU_E), runner.energy_forces_stress(atoms)
        off, moved = energies - exact.free_energy, forces - exact.forces
        for t in range(len(TAU_E)):
            values = {
                "change": (off[t] - off[reference]) / len(atoms),
                "free_energy": off[t] / len(atoms),
                "forces": moved[t],
                "force_size": exact.forces[t],
                "force_change": moved[t] - moved[reference],
                "force_change_size": exact.forces[t] - exact.forces[reference],
                "pressure": np.trace(stress[t] - exact.stress[t]) / 3 / fermisea.units.GIGAPASCAL,
            }
            for name, value in values.items():
                rows[t].setdefault(name, []).append(np.ravel(value))
    found = []
    for row, tau_e in zip(rows, TAU_E, strict=True):
        means = {name: float(np.sqrt(np.mean(np.square(np.concatenate(value))))) for name, value in row.items()}
        largest = float(np.abs(np.concatenate(row["change"])).max())
        found.append({"electron_temperature": tau_e, "largest_change": largest} | means)
    return found


def same(folder: Path, runner: LammpsRunner, repeat: int) -> list[dict[str, float]]:
    """Returns relative differences between LAMMPS and the package for the same coefficients, displaced atoms."""
    atoms = bulk("Al", "fcc", a=4.05, cubic=True).repeat(repeat)
    atoms.rattle(0.1, seed=5)
    atoms.wrap()
    energies, forces, stress = runner.energy_forces_stress(atoms)
    found = []
    for t, tau_e in enumerate(TAU_E):
        name = folder / name_at("Al", tau_e)
        files = [name.with_name(f"{name.name}.{end}") for end in ("snapcoeff", "snapparam")]
        own = Snap.read(*files).regular(tau_e).predict(atoms)
        found.append(
            {
                "electron_temperature": tau_e,
                "atoms": len(atoms),
                "energy": abs(energies[t] / own.free_energy - 1),
                "forces": float(np.abs(forces[t] - own.forces).max() / np.abs(own.forces).max()),
                "virial": float(np.abs(stress[t] - own.stress).max() / np.abs(own.stress).max()),
            }
        )
    return found


def main() -> None:
    """Exports, runs LAMMPS, prints the tables."""
    parser = options(__doc__, "lammps_export", 1)
    parser.add_argument("--model", default="aluminium", help="model file  [aluminium]")
    parser.add_argument("--structures", type=Path, nargs="+", default=[], help="further structures for the fit")
    parser.add_argument(
        "--unseen", type=Path, nargs="+", default=[], help="structures for the errors  [tests/data/aluminium]"
    )
    parser.add_argument("--twojmax", type=int, default=6, help="of the bispectrum  [6]")
    parser.add_argument(
        "--cutoff", type=float, help="of the bispectrum, Å  [effective cutoff of the potential of the model]"
    )
    parser.add_argument("--variants", type=int, help="number of variants of each structure")
    parser.add_argument("--folder", type=Path, help="folder of the SNAP files  [temporary]")
    parser.add_argument("--existing", action="store_true", help="files in the folder from an earlier run are used")
    parser.add_argument("--lammps", type=Path, default=PYTHON, help="interpreter with LAMMPS  [.venv/peers/bin/python]")
    values = parse(parser)
    if not values.lammps.exists():
        sys.exit(f"no LAMMPS: {values.lammps} does not exist; create the environment with 'make bench'")
    model = fermisea.load_model(values.model)
    environment = ENVIRONMENT | {"LD_LIBRARY_PATH": str(values.lammps.parents[1] / "lib")}
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder = (values.folder or scratch / "snap").resolve()
        if not values.existing:
            structures = list(fermisea.read_structures(values.structures).values()) if values.structures else []
            export_lammps(
                model,
                TAU_E,
                folder,
                structures=structures,
                twojmax=2 if values.quick else values.twojmax,
                cutoff=values.cutoff,
                number=2 if values.quick else values.variants,
            )
        names = [str(folder / name_at("Al", tau_e)) for tau_e in TAU_E]
        runner = LammpsRunner(stack.enter_context(Worker(SCRIPT, 1, values.lammps, environment)), scratch, names)
        results: dict[str, Any] = {"same": same(folder, runner, 2 if values.quick else 5)}
        kinds = {} if values.quick else unseen(named(values.unseen))
        results["errors"] = {kind: errors(model, runner, own) for kind, own in kinds.items()}
        crystal = bulk("Al", "fcc", a=4.05, cubic=True)
        steps = 20 if values.quick else 1000
        results["dynamics"] = runner.worker.call(
            "dynamics",
            potential=names[3],
            structure=runner.structure(crystal.repeat(2)),
            ion_temperature=1000.0,
            step=0.001,
            steps=steps,
        )
        results["speed"] = runner.worker.call(
            "dynamics",
            potential=names[3],
            structure=runner.structure(crystal.repeat(3 if values.quick else 10)),
            ion_temperature=600.0,
            step=0.001,
            steps=1 if values.quick else 5,
        )
        version = runner.worker.call("version")
        results["speed"]["atoms"] = 4 * (3 if values.quick else 10) ** 3
    finish(values, tables(results, steps), results, lammps=version)


def tables(results: dict[str, Any], steps: int) -> list[Table]:
    """Returns the printed tables."""
    rows = [
        (
            kind,
            f"{row['electron_temperature']:g}",
            f"{1000 * row['change']:.2f}",
            f"{1000 * row['largest_change']:.2f}",
            f"{1000 * row['free_energy']:.1f}",
            f"{row['forces']:.3f}",
            f"{row['force_size']:.2f}",
            f"{100 * row['force_change'] / max(row['force_change_size'], 1e-12):.0f}",
            f"{row['force_change_size']:.3f}",
            f"{row['pressure']:.2f}",
        )
        for kind, own in results["errors"].items()
        for row in own
    ]
    columns = (
        "structures",
        "tau_e (K)",
        "change of F (meV/atom)",
        "largest",
        "F (meV/atom)",
        "forces (eV/Å)",
        "of",
        "change of forces (%)",
        "of (eV/Å)",
        "P (GPa)",
    )
    exact = [
        (f"{row['electron_temperature']:g}", *(digits(row[name], 2) for name in ("energy", "forces", "virial")))
        for row in results["same"]
    ]
    moving, speed = results["dynamics"], results["speed"]
    drift = max(abs(energy - moving["energies"][0]) for energy in moving["energies"])
    whole = speed["processor_seconds_per_step"] / speed["atoms"] * 1e5
    facts = [
        ("largest change of F + kinetic energy (meV/atom)", digits(1000 * drift, 2)),
        ("time of a step of 100,000 atoms, one core (s)", digits(whole, 2)),
        ("time of a step of 100,000 atoms, two cores (s)", digits(whole / 2, 2)),
    ]
    title = "Errors of LAMMPS with the exported files against the potential of the model, unseen structures"
    time = "Processor time of LAMMPS, divided by two for two cores."
    return [
        Table("lammps_errors", title, columns, rows, "Root mean squares; changes are from 1000 K."),
        Table(
            "lammps_same",
            f"LAMMPS against the package, same coefficients, {results['same'][0]['atoms']} displaced atoms, relative",
            ("tau_e (K)", "energy", "forces", "virial"),
            exact,
        ),
        Table("lammps_dynamics", f"Dynamics in LAMMPS, {steps} steps of 1 fs", ("quantity", "value"), facts, time),
    ]


if __name__ == "__main__":
    main()
