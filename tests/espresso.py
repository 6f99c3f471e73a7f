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
from ase.build import bulk
from ase.io.espresso import write_espresso_in

from fermisea import units
from fermisea.engines.espresso.inputs import pw_input

POTENTIALS = Path(__file__).parent / "data" / "pseudopotentials"
FILES = {"Al": POTENTIALS / "PD_Al_std.upf", "Be": POTENTIALS / "PD_Be_std.upf"}
TEMPERATURE = 1000.0
SMALL = {"cutoff": 20 * units.RYDBERG, "kpts": (2, 2, 2)}
"""A run of a second."""


def rattled(atoms: Atoms, seed: int = 5) -> Atoms:
    """Moves the atoms of a structure, in place, and returns it."""
    atoms.positions += np.random.default_rng(seed).normal(0, 0.08, atoms.positions.shape)
    return atoms


def aluminium() -> Atoms:
    """One atom, whose ion temperature is known."""
    atoms = rattled(bulk("Al", "fcc", a=4.05))
    atoms.info["ion_temperature"] = 298.0
    return atoms


def finished_run(folder: Path, atoms: Atoms, kind: str = "scf", kpoints: str | None = None, **system) -> Path:
    """A run as a user would make it, with its own input; of kind "nscf" after an "scf" one in the same folder."""
    text = pw_input(
        atoms,
        calculation=kind,
        bands=system.pop("bands", 12),
        cutoff=SMALL["cutoff"],
        electron_temperature=TEMPERATURE,
        tolerance=1e-11,
        kpts=SMALL["kpts"],
        shift=(0, 0, 0),
        pseudopotentials={symbol: f"{symbol}.upf" for symbol in dict.fromkeys(atoms.symbols)},
        input_dft=None,
        extra={"system": system},
    )
    if kpoints is not None:
        text = re.sub(r"K_POINTS.*\n.*\n", f"K_POINTS {kpoints}\n", text)
    folder.mkdir(exist_ok=True)
    for symbol in dict.fromkeys(atoms.symbols):
        shutil.copy(FILES[symbol], folder / f"{symbol}.upf")
    (folder / f"{kind}.in").write_text(text)
    done = subprocess.run(["pw.x", "-in", f"{kind}.in"], cwd=folder, capture_output=True, text=True, check=True)
    (folder / f"{kind}.out").write_text(done.stdout)
    return folder


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
