"""CPU time of the embedded plane-wave engine against pw.x on the same structure, cutoff, k-points and pseudopotential.

Both codes run on one thread, alternating; medians are quoted.

    python benchmarks/engine.py            Al32, GTH, 20 Ry, 2x2x2 shifted
    python benchmarks/engine.py --quick    Al4, 2x2x2
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from ase.build import bulk
from common import Table, digits, finish, options, parse

from fermisea import units
from fermisea.engines import PlaneWave, ScfOptions

TESTS = Path(__file__).parents[1] / "tests"
sys.path.insert(0, str(TESTS))
from espresso import run_pw  # noqa: E402

TOLERANCE = 1e-8
"""conv_thr of pw.x, Ry for the cell; fermisea uses the same energy in eV per atom."""


def main() -> None:
    """Runs the comparison, prints a table and writes JSON."""
    values = parse(options(__doc__, "engine", 3))
    repeats, kpts, shift = (1, (2, 2, 2), (0, 0, 0)) if values.quick else (2, (2, 2, 2), (1, 1, 1))
    atoms = bulk("Al", a=4.05, cubic=True).repeat(repeats)
    atoms.positions += np.random.default_rng(1).normal(0, 0.1, atoms.positions.shape)
    cutoff = 20 * units.RYDBERG
    scf = ScfOptions(tolerance=TOLERANCE * units.RYDBERG / len(atoms))
    engine = PlaneWave(cutoff=cutoff, kpts=kpts, shift=shift, threads=1, scf=scf)
    torch.set_num_threads(1)
    potential = {"Al": TESTS / "data" / "pseudopotentials" / "Al.gth-pbe.upf"}
    ours, theirs = [], []
    for _ in range(values.repeat):
        values.pace.take()
        start = time.process_time()
        state = engine.solve(atoms, 933.0)
        ours.append(time.process_time() - start)
        with tempfile.TemporaryDirectory() as folder:
            peer = run_pw(
                Path(folder), atoms, potential, 933.0, cutoff=cutoff, kpts=kpts, shift=shift, tolerance=TOLERANCE
            )
        theirs.append(peer.cpu)
        print(f"fermisea {ours[-1]:7.1f} s   pw.x {theirs[-1]:7.1f} s   ratio {ours[-1] / theirs[-1]:.2f}", flush=True)
    result = {
        "system": f"Al{len(atoms)}, GTH-PBE, 20 Ry, k {kpts} shift {shift}, 933 K, one thread, complex128",
        "fermisea_cpu_s": ours,
        "pw_cpu_s": theirs,
        "ratio": statistics.median(ours) / statistics.median(theirs),
        "fermisea_iterations": len(state.history),
        "pw_iterations": peer.iterations,
        "free_energy_difference_meV_per_atom": (state.reference.free_energy - peer.free_energy) / len(atoms) * 1e3,
    }
    rows = [
        [code, digits(statistics.median(seconds)), str(count)]
        for code, seconds, count in (("fermisea", ours, len(state.history)), ("pw.x", theirs, peer.iterations))
    ]
    gap = result["free_energy_difference_meV_per_atom"]
    note = f"Ratio {result['ratio']:.2f}; free energies differ by {gap:.4f} meV/atom."
    title = f"Self-consistent run, {result['system']}"
    finish(values, [Table("engine", title, ["code", "CPU, s", "iterations"], rows, note)], result)


if __name__ == "__main__":
    main()
