"""Runs Quantum ESPRESSO's pw.x (Debian's package) as the independent code that tests and benchmarks compare with."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io.espresso import write_espresso_in

from fermisea import units

PW = shutil.which("pw.x")


@dataclass(frozen=True)
class PwRun:
    """What pw.x printed, in eV and Angstrom; ``cpu`` is the time of its process, s."""

    free_energy: float
    entropy_term: float
    fermi_level: float
    forces: np.ndarray
    stress: np.ndarray
    iterations: int
    cpu: float


def run_pw(
    folder: Path,
    atoms: Atoms,
    pseudopotentials: dict[str, Path],
    electron_temperature: float,
    *,
    cutoff: float,
    kpts: tuple[int, int, int],
    shift: tuple[int, int, int] = (0, 0, 0),
    tolerance: float = 1e-10,
    bands: int | None = None,
    dft: str | None = None,
) -> PwRun:
    """Runs one SCF calculation with one thread; ``cutoff`` in eV, ``tolerance`` in Ry (conv_thr)."""
    (source,) = {p.parent for p in pseudopotentials.values()}
    system = {
        "ecutwfc": cutoff / units.RYDBERG,
        "occupations": "smearing",
        "smearing": "fermi-dirac",
        "degauss": units.thermal_energy(electron_temperature) / units.RYDBERG,
        "nosym": True,
    }
    if bands:
        system["nbnd"] = bands
    if dft:
        system["input_dft"] = dft
    control = {"tprnfor": True, "tstress": True, "pseudo_dir": str(source), "outdir": str(folder), "disk_io": "none"}
    data = {"control": control, "system": system, "electrons": {"conv_thr": tolerance}}
    with (folder / "pw.in").open("w") as stream:
        names = {symbol: path.name for symbol, path in pseudopotentials.items()}
        write_espresso_in(stream, atoms, input_data=data, pseudopotentials=names, kpts=kpts, koffset=shift)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = ["pw.x", "-in", "pw.in"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    text = done.stdout
    if "JOB DONE" not in text:
        raise RuntimeError(f"pw.x failed: {text[-2000:]} {done.stderr[-1000:]}")

    def number(pattern: str) -> float:
        return float(re.findall(pattern, text)[-1])

    forces = re.findall(r"atom +\d+ type +\d+ +force = +(\S+) +(\S+) +(\S+)", text)[: len(atoms)]
    stress = re.search(r"total +stress.*\n((?:.*\n){3})", text)
    if stress is None:
        raise RuntimeError("pw.x printed no stress")
    rows = [[float(x) for x in line.split()[:3]] for line in stress.group(1).splitlines()]
    return PwRun(
        free_energy=number(r"! +total energy += +(\S+) Ry") * units.RYDBERG,
        entropy_term=number(r"smearing contrib. \(-TS\) += +(\S+) Ry") * units.RYDBERG,
        fermi_level=number(r"the Fermi energy is +(\S+) ev"),
        forces=np.array(forces, dtype=float) * units.RYDBERG / units.BOHR,
        stress=-np.array(rows) * units.RYDBERG / units.BOHR**3,
        iterations=int(number(r"convergence has been achieved in +(\d+)")),
        cpu=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    )
