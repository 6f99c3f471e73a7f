"""Runs ABINIT with the GTH pseudopotentials of the package, for comparison with the plane-wave engine."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from hot_runs import Run, pressure

from fermisea import units
from fermisea.engines import PlaneWave

PBE = 11
"""PBE in ABINIT's list of functionals."""


def version() -> str:
    """Returns the version of the installed program."""
    return subprocess.run(["abinit", "--version"], capture_output=True, text=True, check=True).stdout.strip()


def run_abinit(
    engine: PlaneWave,
    atoms: Atoms,
    electron_temperature: float,
    bands: int,
    *,
    extended: bool = False,
    symmetric: bool = False,
) -> Run:
    """Runs ABINIT on one thread, with the cutoff, k-points and pseudopotentials of an engine.

    Args:
        engine: engine with PBE and with an explicit cutoff and k-mesh.
        atoms: structure of one element.
        electron_temperature: tau_e, K.
        bands: number of bands.
        extended: whether there are free electrons above the bands (``useextfpmd``).
        symmetric: whether symmetry reduces the k-points; the k-mesh must have the symmetry of the structure.

    Raises:
        RuntimeError: if the program fails or its SCF cycle does not converge.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "atom.gth").write_text(pseudopotential_file(potential_name(engine, atoms)))
        text = input_file(engine, atoms, electron_temperature, bands, extended=extended, symmetric=symmetric)
        (folder / "run.abi").write_text(text)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            ["abinit", "run.abi"],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        output = folder / "run.abo"
        text = output.read_text() if output.is_file() else ""
    if "is converged" not in text or "Calculation completed" not in text:
        raise RuntimeError(f"abinit failed: {text[-1500:]} {done.stdout[-1500:]} {done.stderr[-500:]}")
    return _results(text, bands, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def potential_name(engine: PlaneWave, atoms: Atoms) -> str:
    """Returns the name of the pseudopotential of the only element, such as "Al-q3" or "Al" for the default."""
    (symbol,) = set(atoms.get_chemical_symbols())
    return symbol if isinstance(engine.pseudopotentials, str | None) else str(engine.pseudopotentials[symbol])


def pseudopotential_file(name: str) -> str:
    """Returns a PBE pseudopotential of the package in ABINIT's format 10, without spin-orbit coupling.

    Args:
        name: element and valence, such as "Be-q4", or an element for its default.
    """
    text = resources.files("fermisea.pseudopotentials").joinpath("gth.json").read_text(encoding="utf-8")
    entries = json.loads(text)["potentials"]["pbe"]
    symbol = name.partition("-")[0]
    entry: dict[str, Any] = next(
        e for e in entries if e["name"] == name or (name == symbol == e["name"].partition("-")[0] and e["default"])
    )
    number = atomic_numbers[symbol]
    channels = entry["projectors"] or [{"r": entry["r_loc"], "h": [[0.0]]}]  # the format needs at least one
    coefficients = " ".join(f"{c:.10f}" for c in entry["c"])
    lines = [
        f"{symbol} GTH-PBE",
        f"{number} {entry['valence']} 20000101",
        f"10 {PBE} {len(channels) - 1} 0 2001 0",
        f"{entry['r_loc']:.10f} {len(entry['c'])} {coefficients}",
        str(len(channels)),
    ]
    for degree, channel in enumerate(channels):
        count = len(channel["h"])
        rows = [" ".join(f"{h:.10f}" for h in row) for row in channel["h"]] or [""]
        lines.append(f"{channel['r']:.10f} {count} {rows[0]}")
        lines += rows[1:]
        if degree:  # spin-orbit coefficients
            lines += [" ".join(["0.0"] * (count - i)) for i in range(count)]
    return "\n".join(lines) + "\n"


def input_file(
    engine: PlaneWave,
    atoms: Atoms,
    electron_temperature: float,
    bands: int,
    *,
    extended: bool = False,
    symmetric: bool = False,
) -> str:
    """Returns the input of a run; arguments as for ``run_abinit``."""
    shift = np.array(engine.shift or (0, 0, 0)) / 2
    values = {
        "pp_dirpath": '"."',
        "pseudos": '"atom.gth"',
        "ntypat": 1,
        "znucl": atoms.numbers[0],
        "natom": len(atoms),
        "typat": f"{len(atoms)}*1",
        "acell": "3*1.0",
        "rprim": _numbers(atoms.cell.array / units.BOHR),
        "xcart": _numbers(atoms.positions / units.BOHR),
        "ecut": f"{engine.cutoff / units.HARTREE:.10f}",
        "ngkpt": " ".join(map(str, engine.kpts)),
        "nshiftk": 1,
        "shiftk": _numbers(shift),
        "kptopt": 1 if symmetric else 2,
        "occopt": 3,
        "tsmear": f"{units.thermal_energy(electron_temperature) / units.HARTREE:.12f}",
        "nband": bands,
        "nstep": 60,
        "toldfe": "1e-6" if extended else "1e-9",  # hartree; hot runs with free electrons converge slowly
        "ixc": PBE,
        "prtwf": 0,
        "prtden": 0,
        "prteig": 0,
        "optforces": 1,
        "optstress": 1,
    }
    values |= {"useextfpmd": 1} if extended else {}
    values |= {} if symmetric else {"nsym": 1, "chksymbreak": 0}
    return "".join(f"{key} {value}\n" for key, value in values.items())


def _numbers(values: np.ndarray[Any, Any]) -> str:
    return " ".join(f"{value:.12f}" for value in np.asarray(values).ravel())


def _results(text: str, bands: int, seconds: float) -> Run:
    """Returns the results in an output file."""

    def number(pattern: str) -> float:
        return float(re.findall(pattern, text)[-1])

    def table(name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        rows = re.findall(rf"{name}: .*\n((?:- \[.*\n)+)", text)[-1].splitlines()
        return np.array([re.findall(r"-?\d\.\d+E[+-]\d+", row) for row in rows], dtype=np.float64)

    stress = table("cartesian_stress_tensor") * units.HARTREE / units.BOHR**3
    return Run(
        free_energy=number(r"total_energy +: +(\S+)") * units.HARTREE,
        entropy_term=number(r"'-kT\*entropy' +: +(\S+)") * units.HARTREE,
        pressure=pressure(stress),
        forces=(table("cartesian_forces") * units.HARTREE / units.BOHR).tolist(),
        bands=bands,
        iterations=int(number(r"At SCF step +(\d+)")),
        seconds=seconds,
        stress=stress.tolist(),
    )
