"""Data of strained aluminium at four tau_ref for a model from 300 K to 200,000 K, by the embedded engine.

The 24 structures of strained_data.py, which also makes the snapshots at 1000 K, at 10, 30 and 100 kK: cells of four
atoms, PBE, GTH pseudopotential, 217.7 eV. The k-mesh, always shifted, is 8x8x8 at 10 kK, 6x6x6 at 30 kK and 4x4x4 at
100 kK, where all states of the basis are kept. Self-consistent runs of structures without a part in the training: four
strained and rattled cells and fcc at two lattice constants, at 15 electronic temperatures. An hour and a half on one
core; the same command resumes after an interruption.

    python benchmarks/decades_data.py STRAINED DIR [--only 10000 30000 100000 runs] [--workers 2]
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import strained_data

import fermisea
from fermisea.campaign import Campaign
from fermisea.engines import PlaneWave

SETTINGS = {
    10_000: {"kpts": (8, 8, 8), "energy_window": (-6.0, 42.0), "energy_spacing": 0.3},
    30_000: {"kpts": (6, 6, 6), "energy_spacing": 0.6, "highest_electron_temperature": 60_000.0},
    100_000: {"kpts": (4, 4, 4), "bands": "all", "highest_electron_temperature": 150_000.0},
}
"""Settings of the snapshots at each tau_ref, K."""

RUNS = (300, 1000, 2000, 4000, 7000, 10_000, 15_000, 20_000, 30_000, 45_000, 60_000, 80_000, 100_000, 140_000, 200_000)
"""Electronic temperatures of the self-consistent runs, K."""

UNSEEN = {"test": ("rattled-0", "rattled-1", "rattled-2", "rattled-3"), "line": ("fcc-03", "fcc-12")}
"""Structures of the self-consistent runs, by the kinds of strained_data.py."""


def engine_at(electron_temperature: float) -> PlaneWave:
    """Returns the engine of a self-consistent run at a tau_e, K."""
    kpts, bands = (8, 8, 8), None
    if electron_temperature > 20_000:
        kpts = (6, 6, 6)
    if electron_temperature > 60_000:
        kpts, bands = (4, 4, 4), "all"
    settings = Campaign(xc="pbe", cutoff=217.7, shift=(1, 1, 1), kpts=kpts, bands=bands)
    engine = settings.make_engine()
    assert isinstance(engine, PlaneWave)  # noqa: S101  # so are the settings
    return engine


def snapshots(strained: Path, folder: Path, tau_ref: int, workers: int) -> None:
    """Writes the missing snapshots at one tau_ref, K."""
    settings = Campaign(**{"xc": "pbe", "cutoff": 217.7, "shift": (1, 1, 1)} | SETTINGS[tau_ref])
    fermisea.run_campaign(
        settings.make_engine(),
        strained_data.written(strained, "train"),
        float(tau_ref),
        folder / f"data-{tau_ref}",
        workers=workers,
        end=lambda outcome: print(f"{tau_ref} K: {outcome.status} {outcome.name}", flush=True),
    )


def runs(strained: Path, folder: Path) -> None:
    """Writes the missing self-consistent results."""
    (folder / "scf").mkdir(parents=True, exist_ok=True)
    for kind, names in UNSEEN.items():
        structures = strained_data.written(strained, kind)
        for name in names:
            for tau_e in RUNS:
                path = folder / "scf" / f"{kind}-{name}-{tau_e}.json"
                if not path.exists():
                    strained_data.write_result(path, engine_at(tau_e), structures[name], float(tau_e))


def main() -> None:
    """Computes the missing data."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("strained", type=Path, help="folder of strained_data.py")
    parser.add_argument("folder", type=Path)
    choices = [*map(str, SETTINGS), "runs"]
    parser.add_argument("--only", nargs="+", choices=choices, default=choices)
    parser.add_argument("--workers", type=int, default=2)
    values = parser.parse_args()
    warnings.filterwarnings("ignore", message="frozen core")
    for tau_ref in SETTINGS:
        if str(tau_ref) in values.only:
            snapshots(values.strained, values.folder, tau_ref, values.workers)
    if "runs" in values.only:
        runs(values.strained, values.folder)


if __name__ == "__main__":
    main()
