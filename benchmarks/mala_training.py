"""Training of MALA on exported snapshots, and comparison of its results for an exported LDOS with fermisea.

DFT of small aluminium cells with the embedded engine, exported with ``interop.mala_export.write_mala``; then MALA 1.4
in its own environment computes the descriptors again with LAMMPS, integrates the LDOS, and trains a network, which
fermisea reads from MALA's archive and evaluates. The script ends with status 1 if anything differs.

    python benchmarks/mala_training.py
    python benchmarks/mala_training.py --quick      three structures of one atom, under a minute
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from common import Worker, finish, options, parse
from mala_worker import PREDICTED
from peers import ENVIRONMENT, PYTHON, Peers

from fermisea.data.snapshot import Snapshot
from fermisea.engines import LdosOptions, PlaneWave
from fermisea.interop.mala import load_model
from fermisea.interop.mala_export import SETTINGS, write_mala
from fermisea.physics.density_of_states import DensityOfStates

SCRIPT = Path(__file__).with_name("mala_worker.py")
TEMPERATURES = [300.0, 1000.0, 5000.0]
REFERENCE_TEMPERATURE = 1000.0
TOLERANCE = 1e-6
"""Tolerance of energies, eV, and electrons."""
MODEL_TOLERANCE = 2e-5
"""Tolerance of a predicted LDOS, relative to its maximum; MALA uses single precision."""
DESCRIPTOR_TOLERANCE = 5e-6
"""Tolerance of single-precision descriptors, relative to the largest value of each, and of positions, Angstrom."""


def structures(quick: bool) -> list[Atoms]:
    """Returns displaced aluminium atoms, one or four in the cell."""
    found = []
    for seed, strain in enumerate((0.0, 0.02, 0.01) if quick else (0.0, 0.02, -0.01, 0.005)):
        random = np.random.default_rng(seed)
        atoms = bulk("Al", "fcc", a=4.05, cubic=not quick)
        # a along x, b in the xy plane, as LAMMPS rotates a cell; MALA stores grid positions after the rotation
        atoms.set_cell(atoms.cell.standard_form()[0].array * (1 + strain), scale_atoms=True)
        atoms.positions += 0.3 + random.normal(scale=0.1, size=atoms.positions.shape)
        found.append(atoms)
    return found


def dft(atoms: list[Atoms], quick: bool) -> Iterator[Snapshot]:
    """Yields snapshots on one energy grid."""
    energies = None
    for one in atoms:
        ldos = LdosOptions(0.5, 0.5, 5000.0, energies)
        kpts = (2, 2, 2) if quick else (3, 3, 3)
        snapshot = PlaneWave("pbe", 150.0, kpts, ldos=ldos).run(one, REFERENCE_TEMPERATURE)
        energies = snapshot.energy_grid
        print(f"DFT: {one.get_chemical_formula()}, {snapshot.grid.shape} points, {energies.size} energies", flush=True)
        yield snapshot


def integrals(snapshot: Snapshot, found: dict[str, Any]) -> dict[str, float]:
    """Returns the largest difference of each integral from the result of MALA (eV, electrons)."""
    dos = DensityOfStates(snapshot.energies, snapshot.dos, integration="mala")
    worst = {"dos": float(abs(dos.dos - np.array(found["dos"])).max())}
    ours: dict[str, list[float]] = {}
    for tau in TEMPERATURES:
        mu = dos.fermi_level(snapshot.electrons, tau)
        integral = dos.weights(mu, tau).electrons
        density = snapshot.grid.integrate(snapshot.ldos @ integral.weights + integral.per_volume)
        values = (dos.electrons(mu, tau), mu, dos.band_energy(mu, tau), -tau * dos.entropy(mu, tau), density)
        keys = ("electrons", "fermi_level", "band_energy", "entropy_term", "density_electrons")
        for key, value in zip(keys, values, strict=True):
            ours.setdefault(key, []).append(value)
    for key, values in ours.items():
        worst[key] = float(np.abs(np.array(values) - found[key]).max())
    for tau, level, energy, theirs in zip(
        TEMPERATURES, ours["fermi_level"], ours["band_energy"], found["band_energy"], strict=True
    ):
        print(f"  tau_e {tau:6g} K: mu {level:.6f} eV, E_b {energy:.8f} eV, MALA's E_b {theirs:.8f} eV")
    return worst


def model_difference(folder: Path, names: list[str], snapshot: Snapshot) -> float:
    """Returns the difference between the LDOS of the saved model and MALA's prediction, relative to the maximum."""
    model = load_model(
        folder / "run.zip",
        info=folder / f"{names[-1]}.info.json",
        broadening=snapshot.broadening,
        layer_activations="current",
    )
    predicted = np.load(folder / PREDICTED)
    return float(abs(model.ldos(snapshot.atoms, snapshot.grid) - predicted).max() / predicted.max())


@contextmanager
def peer() -> Iterator[Worker]:
    """Yields a process with MALA."""
    with Worker(SCRIPT, 1, PYTHON, ENVIRONMENT) as worker:
        yield worker


def main() -> int:
    """Runs the comparison; returns 0 if all results agree."""
    parser = options(__doc__, "mala_training", repeat=1)
    values = parse(parser)
    peers = Peers.find()
    if "mala" not in peers.versions:
        return 0
    snapshots = list(dft(structures(values.quick), values.quick))
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, peer() as worker:
        names = write_mala(snapshots, folder)
        print(f"exported {', '.join(names)} and {SETTINGS}")
        print("integrals of the LDOS, both codes:")
        found = worker.call("observables", folder=folder, snapshot=names[0], electron_temperatures=TEMPERATURES)
        results["integrals"] = integrals(snapshots[0], found)
        print("  largest differences: " + ", ".join(f"{k} {v:.1e}" for k, v in results["integrals"].items()))
        if "lammps" in peers.versions:
            results["descriptors"] = worker.call("descriptors", folder=folder, snapshot=names[0])
            print(f"descriptors of MALA with LAMMPS against the exported ones: {results['descriptors']}")
        sizes = {"widths": [64], "epochs": 10} if values.quick else {"widths": [100, 100], "epochs": 10}
        trained = worker.call("train", folder=folder, training=names[:-1], validation=names[-1:], **sizes)
        results["training"] = trained
        print(f"MALA trains {'-'.join(map(str, trained['sizes']))}, validation loss after each epoch:")
        print("  " + " ".join(f"{loss:.3e}" for loss in trained["losses"]))
        results["model"] = model_difference(Path(folder), names, snapshots[-1])
        print(f"the trained model, read from MALA's archive: LDOS differs by {results['model']:.1e} of its maximum")
    finish(values, [], results, **peers.versions)
    wrong = [name for name, value in results["integrals"].items() if value > TOLERANCE]
    again = results.get("descriptors", {"positions": 0.0, "descriptors": 0.0})
    wrong += [name for name in ("positions", "descriptors") if again[name] > DESCRIPTOR_TOLERANCE]
    wrong += ["model"] * (results["model"] > MODEL_TOLERANCE)
    wrong += ["training"] * (trained["losses"][-1] >= 0.8 * trained["losses"][0])
    print("differs: " + ", ".join(wrong) if wrong else "both codes agree")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
