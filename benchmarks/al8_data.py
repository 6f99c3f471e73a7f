"""The data of the comparisons in docs/training.md: Al8 at five ionic temperatures, by the embedded engine.

Cells of eight aluminium atoms (two cubes of 4.05 A), molecular dynamics with EMT at tau_i = 100, 298, 500 and 933 K for
training and also 700 K for the test, four structures each; PBE, GTH pseudopotential, 272.1 eV, 8x8x4 k-points,
tau_ref = 1000 K, LDOS every 0.2 eV. For the first test structure of each tau_i also self-consistent runs at 5 and
10 kK. About an hour on two cores; interrupted, the same command goes on.

    python benchmarks/al8_data.py DIR [--workers 2]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ase.build import bulk

import fermisea
from fermisea.engines import PlaneWave
from fermisea.files import write_text
from fermisea.structures import read_structures, write_structure

TRAINING, TEST = (100.0, 298.0, 500.0, 933.0), (100.0, 298.0, 500.0, 700.0, 933.0)
REFERENCE = 1000.0
HOT = (5000.0, 10_000.0)
SETTINGS = fermisea.Campaign(xc="pbe", cutoff=272.1, kpts=(8, 8, 4), energy_window=(-5.0, 18.6))


def structures(folder: Path, temperatures: tuple[float, ...], seed: int) -> None:
    """Writes four structures for each ion temperature, unless they are there."""
    crystal = bulk("Al", "fcc", a=4.05, cubic=True).repeat((1, 1, 2))
    for temperature in temperatures:
        paths = [folder / f"al8-{temperature:g}K-{number:02d}.extxyz" for number in range(4)]
        if all(path.exists() for path in paths):
            continue
        trajectory = fermisea.sample(crystal, temperature, 4, spacing=0.5, seed=seed)
        folder.mkdir(parents=True, exist_ok=True)
        for path, atoms in zip(paths, trajectory.frames, strict=True):
            write_structure(path, atoms)


def references(folder: Path, tests: Path) -> None:
    """Writes self-consistent free energies of one structure of each ion temperature, eV per cell."""
    path = folder / "references.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    engine = SETTINGS.make_engine()
    assert isinstance(engine, PlaneWave)  # noqa: S101  # so are the settings
    for name, atoms in read_structures(tests).items():
        if not name.endswith("-00"):
            continue
        for temperature in (REFERENCE, *HOT):
            if f"{temperature:g}" in found.setdefault(name, {}):
                continue
            found[name][f"{temperature:g}"] = engine.solve(atoms, temperature).reference.free_energy
            write_text(path, json.dumps(found, indent=2) + "\n")
            print(f"{name} at {temperature:g} K: {found[name][f'{temperature:g}']:.6f} eV", flush=True)


def main() -> None:
    """Makes what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    values = parser.parse_args()
    for part, temperatures, seed in (("train", TRAINING, 1), ("test", TEST, 2)):
        structures(values.folder / "structures" / part, temperatures, seed)
        found = read_structures(values.folder / "structures" / part)
        fermisea.run_campaign(
            SETTINGS.make_engine(),
            found,
            REFERENCE,
            values.folder / "data" / part,
            workers=values.workers,
            end=lambda outcome: print(f"{outcome.status} {outcome.name}", flush=True),
        )
    references(values.folder, values.folder / "structures" / "test")


if __name__ == "__main__":
    main()
