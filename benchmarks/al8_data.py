"""The data of the comparisons in docs/training.md: Al8 at five ionic temperatures, by the embedded engine.

Cells of eight aluminium atoms (two cubes of 4.05 A), molecular dynamics with EMT at tau_i = 100, 298, 500 and 933 K for
training, and also 700 K for testing, four structures each; PBE, GTH pseudopotential, 272.1 eV, 8x8x4 k-points,
tau_ref = 1000 K, LDOS every 0.2 eV. Four more structures, scaled from 298 K to other volumes, are for equations of
state. references.json holds self-consistent runs with forces and stress: the first test structure of each tau_i at 1, 5
and 10 kK, the crystal at several lattice constants, and a cube of four atoms at many tau_e. Two hours on two cores; the
same command resumes after an interruption.

    python benchmarks/al8_data.py DIR [--workers 2]
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from ase import Atoms
from ase.build import bulk

import fermisea
from fermisea.data.reference import Reference
from fermisea.data.structures import read_structures, write_structure
from fermisea.engines import PlaneWave
from fermisea.utilities.files import write_text

TRAINING, TEST = (100.0, 298.0, 500.0, 933.0), (100.0, 298.0, 500.0, 700.0, 933.0)
REFERENCE = 1000.0
HOT = (5000.0, 10_000.0)
SCALES, CRYSTALS = (0.96, 0.98, 1.02, 1.04), (0.96, 0.973, 0.986, 1.0, 1.013, 1.027, 1.04)
"""Lattice constants of scaled structures and of the crystal, relative to 4.05 Angstrom."""

WARM = (
    900.0,
    1100.0,
    1800.0,
    2200.0,
    2700.0,
    3300.0,
    4500.0,
    5500.0,
    6750.0,
    8250.0,
    9000.0,
    11_000.0,
    13_500.0,
    16_500.0,
)
"""tau_e of the crystal for the heat capacity from entropies, K: pairs around the requested tau_e."""

SETTINGS = fermisea.Campaign(xc="pbe", cutoff=272.1, kpts=(8, 8, 4), energy_window=(-5.0, 18.6))


def structures(folder: Path, temperatures: tuple[float, ...], seed: int) -> None:
    """Writes four structures for each ion temperature, unless they exist."""
    for temperature in temperatures:
        paths = [folder / f"al8-{temperature:g}K-{number:02d}.extxyz" for number in range(4)]
        if all(path.exists() for path in paths):
            continue
        trajectory = fermisea.sample(crystal(), temperature, 4, spacing=0.5, seed=seed)
        folder.mkdir(parents=True, exist_ok=True)
        for path, atoms in zip(paths, trajectory.frames, strict=True):
            write_structure(path, atoms)


def volumes(folder: Path, sources: Path) -> None:
    """Writes the structures of 298 K scaled to other lattice constants, unless they exist."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, scale in enumerate(SCALES):
        path = folder / f"al8-scaled-{scale:g}.extxyz"
        if not path.exists():
            (atoms,) = read_structures(sources / f"al8-298K-{number:02d}.extxyz").values()
            atoms.set_cell(scale * atoms.cell.array, scale_atoms=True)
            write_structure(path, atoms)


def crystal(scale: float = 1.0) -> Atoms:
    """Two cubes of fcc aluminium."""
    return bulk("Al", "fcc", a=4.05 * scale, cubic=True).repeat((1, 1, 2))


def solved(atoms: Atoms, temperature: float) -> Reference:
    """Returns a self-consistent result."""
    engine = (SETTINGS if len(atoms) == 8 else replace(SETTINGS, kpts=(8, 8, 8))).make_engine()
    assert isinstance(engine, PlaneWave)  # noqa: S101  # so are the settings
    return engine.solve(atoms, temperature).reference


def references(folder: Path, tests: Path) -> None:
    """Writes self-consistent results at several tau_e for one structure of each ion temperature, for the cell."""
    cases = [
        (name, atoms, temperature)
        for name, atoms in read_structures(tests).items()
        if name.endswith("-00")
        for temperature in (REFERENCE, *HOT)
    ]
    cases += [(f"fcc-{scale:g}", crystal(scale), REFERENCE) for scale in CRYSTALS]
    cases += [("cube", bulk("Al", "fcc", a=4.05, cubic=True), temperature) for temperature in WARM]
    path = folder / "references.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name, atoms, temperature in cases:
        if f"{temperature:g}" in found.setdefault(name, {}):
            continue
        known = folder / "data" / "test" / f"{name}.nc"
        at_reference = known.exists() and temperature == REFERENCE
        result = fermisea.Snapshot.load(known).reference if at_reference else solved(atoms, temperature)
        assert result.forces is not None and result.stress is not None  # noqa: S101, PT018  # of this engine
        found[name][f"{temperature:g}"] = {
            "free_energy": result.free_energy,
            "entropy_term": result.entropy_term,
            "forces": result.forces.tolist(),
            "stress": result.stress.tolist(),
        }
        write_text(path, json.dumps(found, indent=2) + "\n")
        print(f"{name} at {temperature:g} K: {result.free_energy:.6f} eV", flush=True)


def main() -> None:
    """Computes the missing data."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    values = parser.parse_args()
    sources = values.folder / "structures"
    structures(sources / "train", TRAINING, seed=1)
    structures(sources / "test", TEST, seed=2)
    volumes(sources / "volumes", sources / "train")
    for part in ("train", "test", "volumes"):
        fermisea.run_campaign(
            SETTINGS.make_engine(),
            read_structures(sources / part),
            REFERENCE,
            values.folder / "data" / part,
            workers=values.workers,
            end=lambda outcome: print(f"{outcome.status} {outcome.name}", flush=True),
        )
    references(values.folder, sources / "test")


if __name__ == "__main__":
    main()
