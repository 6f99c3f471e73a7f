"""Data of strained aluminium for the comparison of potential and LDOS in docs/free-energies.md, by the embedded engine.

Cells of four atoms, PBE, GTH pseudopotential, 217.7 eV, 8x8x8 shifted k-points, LDOS every 0.2 eV up to 42 eV, for
tau_e up to 34,000 K. Training: 24 snapshots at tau_ref = 1000 K, lattice constants within 4.5 %, shears up to 3 %,
displacements of 0 to 0.15 A; and nine strained crystals. Self-consistent runs without an LDOS at 1, 15, 20 and 25 kK:
fcc at 17 lattice constants within 4 %, small strains for elastic constants, eight strained and rattled cells, and nine
unlike the training data (a vacancy, liquid-like, sheared by 6 %); for the spread alone, twelve further rattled cells,
four vacancies and four liquid-like cells. Five hours on two cores; the same command resumes after an interruption.

    python benchmarks/strained_data.py DIR [--only train line test elastic odd further] [--workers 2]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk

import fermisea
from fermisea.campaign import Campaign
from fermisea.data.structures import read_structures, write_structure
from fermisea.engines import PlaneWave
from fermisea.utilities.files import write_text

LATTICE = 4.05
REFERENCE = 1000.0
SETTINGS = Campaign(xc="pbe", cutoff=217.7, kpts=(8, 8, 8), shift=(1, 1, 1), energy_window=(-5.0, 42.0))
LINE = np.linspace(0.96, 1.04, 17)
"""Lattice constants of the line of fcc crystals, relative to 4.05 Angstrom."""

SMALL = 0.005
"""Strain for elastic constants."""

RUNS = {
    "line": (1000.0, 15_000.0, 20_000.0, 25_000.0),
    "elastic": (15_000.0, 25_000.0),
    "test": (1000.0, 20_000.0),
    "odd": (1000.0, 20_000.0),
    "further": (1000.0, 20_000.0),
}
"""Electronic temperatures of self-consistent runs, K."""

LDOS = {"train": "data", "ordered": "data-ordered", "test": "data-test"}
"""Folders of snapshots with an LDOS."""


def crystal(scale: float = 1.0) -> Atoms:
    """Returns a cube of fcc aluminium."""
    return bulk("Al", "fcc", a=LATTICE * scale, cubic=True)


def deformed(seed: int, scale: float, shear: float, rattle: float) -> Atoms:
    """Returns a sheared and rattled crystal: largest shear strain, standard deviation of displacements (Angstrom)."""
    random, atoms = np.random.default_rng(seed), crystal()
    strain = random.normal(size=(3, 3))
    strain = (strain + strain.T) / 2
    strain -= np.trace(strain) / 3 * np.eye(3)
    strain *= shear / np.abs(strain).max()
    deformation = np.eye(3) + strain
    deformation *= scale / np.cbrt(np.linalg.det(deformation))
    atoms.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
    atoms.positions += random.normal(scale=rattle, size=(4, 3))
    atoms.positions -= atoms.positions.mean(0)
    return atoms


def training() -> dict[str, Atoms]:
    """Returns the training structures by name."""
    order = np.random.default_rng(7).permutation(24)
    scales = np.linspace(0.955, 1.045, 24)[order]
    shears, rattles = (0.0, 0.015, 0.03), (0.0, 0.05, 0.1, 0.15)
    return {f"train-{n:02d}": deformed(100 + n, scale, shears[n % 3], rattles[n % 4]) for n, scale in enumerate(scales)}


def line() -> dict[str, Atoms]:
    """Returns fcc crystals at several lattice constants by name."""
    return {f"fcc-{n:02d}": crystal(scale) for n, scale in enumerate(LINE)}


def elastic() -> dict[str, Atoms]:
    """Returns the crystal with a small tetragonal strain and a small shear of either sign by name."""
    found = {}
    for sign in (-SMALL, SMALL):
        shear = np.zeros((3, 3))
        shear[0, 1] = shear[1, 0] = sign / 2
        for name, strain in (("tet", np.diag([sign, 0.0, 0.0])), ("she", shear)):
            atoms = crystal()
            atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            found[f"{name}{sign:+.3f}"] = atoms
    return found


def test() -> dict[str, Atoms]:
    """Returns strained and rattled cells by name."""
    return rattled(11, 500, 8)


def rattled(seed: int, first: int, number: int) -> dict[str, Atoms]:
    """Returns cells with random strains and displacements by name, with seeds from ``first``."""
    random = np.random.default_rng(seed)
    ranges = ((0.965, 1.035), (0.0, 0.03), (0.04, 0.12))
    return {f"rattled-{n}": deformed(first + n, *(random.uniform(*limits) for limits in ranges)) for n in range(number)}


def vacancy(seed: int, scale: float, removed: int) -> Atoms:
    """Returns a rattled crystal without one of its atoms."""
    atoms = deformed(seed, scale, 0.0, 0.05)
    del atoms[removed]
    return atoms


def odd() -> dict[str, Atoms]:
    """Returns structures unlike the training data by name: vacancies, liquid-like cells, large shears."""
    found = {f"vacancy-{n}": vacancy(700 + n, 0.98 + 0.02 * n, n) for n in range(3)}
    for n in range(4):
        found[f"liquid-{n}"] = liquid(800 + n, 0.98 + 0.02 * n)
    for n in range(2):
        found[f"sheared-{n}"] = deformed(900 + n, 0.99 + 0.02 * n, 0.06, 0.05)
    return found


def further() -> dict[str, Atoms]:
    """Returns further structures for the spread by name: rattled cells, vacancies and liquid-like cells."""
    found = rattled(12, 520, 12)
    for n, scale in enumerate((0.975, 0.99, 1.005, 1.02)):
        found[f"vacancy-{n}"] = vacancy(720 + n, scale, n)
        found[f"liquid-{n}"] = liquid(820 + n, scale)
    return found


def liquid(seed: int, scale: float, shortest: float = 2.3) -> Atoms:
    """Returns a cell with random positions at least ``shortest`` (Angstrom) apart."""
    random, atoms = np.random.default_rng(seed), crystal(scale)
    while True:
        atoms.set_scaled_positions(random.uniform(size=(4, 3)))
        distances = atoms.get_all_distances(mic=True)
        if distances[~np.eye(4, dtype=bool)].min() > shortest:
            return atoms


def ordered() -> dict[str, Atoms]:
    """Returns further crystals for training by name: at six volumes, with uniaxial strains, and with a shear."""
    found = {f"volume-{scale:g}": crystal(scale) for scale in (0.9575, 0.9775, 0.9925, 1.0075, 1.0225, 1.0425)}
    shear = np.zeros((3, 3))
    shear[0, 1] = shear[1, 0] = 0.01
    strains = {"uniaxial+0.015": np.diag([0.015, 0, 0]), "uniaxial-0.015": np.diag([-0.015, 0, 0]), "shear+0.02": shear}
    for name, strain in strains.items():
        found[name] = crystal()
        found[name].set_cell(found[name].cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return found


KINDS: dict[str, Callable[[], dict[str, Atoms]]] = {
    "train": training,
    "ordered": ordered,
    "line": line,
    "test": test,
    "elastic": elastic,
    "odd": odd,
    "further": further,
}


def written(folder: Path, kind: str) -> dict[str, Atoms]:
    """Returns the structures of a kind by name, from files that are written if they are missing."""
    place = folder / kind
    place.mkdir(parents=True, exist_ok=True)
    for name, atoms in KINDS[kind]().items():
        path = place / f"{name}.extxyz"
        if not path.exists():
            write_structure(path, atoms)
    return read_structures(place)


def solve(folder: Path, kind: str, tau_e: float) -> None:
    """Writes missing self-consistent results of the structures of a kind."""
    engine = SETTINGS.make_engine()
    assert isinstance(engine, PlaneWave)  # noqa: S101  # so are the settings
    (folder / "scf").mkdir(exist_ok=True)
    for name, atoms in written(folder, kind).items():
        path = folder / "scf" / f"{kind}-{name}-{tau_e:.0f}.json"
        if path.exists():
            continue
        write_result(path, engine, atoms, tau_e)


def write_result(path: Path, engine: PlaneWave, atoms: Atoms, tau_e: float) -> None:
    """Writes the self-consistent result of a structure."""
    result = engine.solve(atoms, tau_e).reference
    assert result.forces is not None and result.stress is not None  # noqa: S101, PT018  # of this engine
    values = {
        "free_energy": result.free_energy,
        "entropy_term": result.entropy_term,
        "fermi_level": result.fermi_level,
        "mean_potential": result.mean_potential,
        "forces": result.forces.tolist(),
        "stress": result.stress.tolist(),
    }
    write_text(path, json.dumps(values) + "\n")
    print(f"{path.name}: {result.free_energy:.6f} eV", flush=True)


def main() -> None:
    """Computes the missing data."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--workers", type=int, default=2)
    values = parser.parse_args()
    for kind in (kind for kind in LDOS if kind in values.only):
        fermisea.run_campaign(
            SETTINGS.make_engine(),
            written(values.folder, kind),
            REFERENCE,
            values.folder / LDOS[kind],
            workers=values.workers,
            end=lambda outcome: print(f"{outcome.status} {outcome.name}", flush=True),
        )
    for kind, temperatures in RUNS.items():
        if kind in values.only:
            for tau_e in temperatures:
                solve(values.folder, kind, tau_e)


if __name__ == "__main__":
    main()
