"""Perfect fcc aluminium under large strains: error, estimated error and domain of the shipped model, against DFT.

Self-consistent runs at tau_e = 1000 K with the settings of the study of aluminium, and runs of ABINIT for the primitive
cell with a dense k-mesh. About fifteen minutes on one core; the same command resumes after an interruption. Needs
`abinit`.

    python benchmarks/large_strains.py DIR
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from abinit import version
from ase.build import bulk
from common import Table, finish, options, parse
from dense_mesh import computed
from hot_runs import Runs

import fermisea
from fermisea.prediction.plausibility import domain_warnings_ignored
from fermisea.studies.aluminium.probes import Probe, deformed
from fermisea.studies.aluminium.references import reference
from fermisea.studies.aluminium.settings import AluminiumSettings
from fermisea.utilities.arrays import FloatArray

TAU_E = 1000.0
DENSE = (20, 20, 20)
"""k-mesh of ABINIT, around Gamma."""


def strains() -> dict[str, FloatArray]:
    """Returns deformation matrices, (3, 3), by name."""

    def shear(strain: float) -> FloatArray:
        found = np.eye(3)
        found[0, 1] = found[1, 0] = strain
        return found

    diagonal = np.array([1.0, 1.0, 0.0]) / np.sqrt(2.0)
    return {
        "lattice constant 12 % smaller": 0.88 * np.eye(3),
        "lattice constant 12 % larger": 1.12 * np.eye(3),
        "12 % along one axis": np.diag([1.12, 1.0, 1.0]),
        "-12 % along one axis": np.diag([0.88, 1.0, 1.0]),
        "12 % along two axes": np.diag([1.12, 1.12, 1.0]),
        "12 % along one axis, constant volume": np.diag([1.12, 1 / 1.12, 1.0]),
        "shear of 12 %": shear(0.12),
        "shear of 5 %": shear(0.05),
        "none": np.eye(3),
        "simple shear of 12 %": np.array([[1.0, 0.12, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
        "12 % along [110]": np.eye(3) + 0.12 * np.outer(diagonal, diagonal),
        "-12 % along one axis, constant volume": np.diag([0.88, 0.88**-0.5, 0.88**-0.5]),
    }


def main() -> None:
    """Runs DFT where results are missing, prints a table and writes JSON."""
    parser = options(__doc__, "large_strains", 1)
    parser.add_argument("folder", type=Path, help="folder of the results of DFT")
    values = parse(parser)
    settings = AluminiumSettings.load("aluminium")
    model = fermisea.load_model("aluminium")
    potential, domain = model.potential(), model.domain
    values.folder.mkdir(parents=True, exist_ok=True)
    dense = Runs(values.folder)
    rows: list[list[str]] = []
    runs: list[dict[str, Any]] = []
    for number, (name, matrix) in enumerate(strains().items()):
        atoms = deformed(bulk("Al", "fcc", a=settings.lattice_constant, cubic=True), matrix)
        dft = replace(settings.dft, kpts=settings.kpts)
        true = reference(dft, f"strain-{number}", atoms, TAU_E, values.folder).free_energy / len(atoms)
        primitive = deformed(bulk("Al", "fcc", a=settings.lattice_constant), matrix)
        probe = Probe("strain", name, primitive, DENSE, (TAU_E,))
        converged = computed(dense, settings.dft.cutoff, probe, TAU_E).free_energy
        with domain_warnings_ignored():
            found = potential.predict(atoms, TAU_E)
        error, dense_error = (1000 * (float(found.free_energy) / len(atoms) - f) for f in (true, converged))
        estimated = 1000 * float(found.free_energy_std) / len(atoms)
        warned = ", ".join(dict.fromkeys(text.partition(":")[0] for text in domain.check(atoms, TAU_E))) or "none"
        rows.append([name, f"{error:.1f}", f"{dense_error:.1f}", f"{estimated:.1f}", warned])
        runs.append(
            {
                "strain": name,
                "error": error,
                "error_dense_mesh": dense_error,
                "estimated_error": estimated,
                "warnings": warned,
            }
        )
        print(*rows[-1], sep="; ", flush=True)
    columns = ["strain", "error of F (meV/atom)", "error, dense k-mesh", "estimated error", "warnings"]
    mesh, fine = ("x".join(map(str, kpts)) for kpts in (settings.kpts, DENSE))
    title = f"Perfect fcc aluminium, {settings.lattice_constant:g} Å, tau_e = {TAU_E:g} K"
    note = (
        f"DFT: {mesh} k-points for the cubic cell, as in the data. Dense k-mesh: ABINIT, {fine} for the primitive cell."
    )
    finish(values, [Table("large_strains", title, columns, rows, note)], {"runs": runs}, abinit=version())


if __name__ == "__main__":
    main()
