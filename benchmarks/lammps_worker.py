"""LAMMPS with exported SNAP files; runs in the environment of LAMMPS, as a worker. See lammps_export.py."""

from __future__ import annotations

from importlib import metadata
from typing import Any

import numpy as np
from common import Clock, serve

_BAR = 1.6021765e6
"""Pressure of 1 eV/Angstrom^3 in the unit bar of LAMMPS's metal units."""

_ENTRIES = {"xx": (0, 0), "yy": (1, 1), "zz": (2, 2), "xy": (0, 1), "xz": (0, 2), "yz": (1, 2)}


def version() -> str:
    """Returns the version of LAMMPS."""
    return metadata.version("lammps")


def evaluate(potential: str, structure: str, results: str) -> dict[str, float]:
    """Returns the energy of a structure, eV, and writes forces and stress.

    Args:
        potential: path of the SNAP files without suffix.
        structure: .npz with ``cell`` (lower triangular) and ``positions`` inside of it, Angstrom, and ``element``.
        results: .npz for ``forces``, eV/Angstrom, and ``stress``, eV/Angstrom^3.
    """
    engine = _engine(potential, structure)
    engine.command("run 0")
    count, stress = engine.get_natoms(), np.zeros((3, 3))
    for entry, (row, column) in _ENTRIES.items():
        stress[row, column] = stress[column, row] = -engine.get_thermo(f"p{entry}") / _BAR
    order = np.argsort(engine.numpy.extract_atom("id")[:count])
    np.savez(results, forces=engine.numpy.extract_atom("f")[:count][order], stress=stress)
    energy = float(engine.get_thermo("pe"))
    engine.close()
    return {"energy": energy}


def dynamics(potential: str, structure: str, ion_temperature: float, step: float, steps: int) -> dict[str, Any]:
    """Returns the energy of each atom with its kinetic part at constant energy, eV, and the time of a step.

    Args:
        potential: path of the SNAP files without suffix.
        structure: as for ``evaluate``.
        ion_temperature: temperature of the initial velocities, K.
        step: time step, ps.
        steps: number of time steps; the energy is taken twenty times.
    """
    engine = _engine(potential, structure)
    engine.commands_string(
        f"velocity all create {ion_temperature} 4711 mom yes\ntimestep {step}\nfix motion all nve\nrun 0"
    )
    count, energies, seconds, busy = engine.get_natoms(), [], 0.0, 0.0
    energies.append(engine.get_thermo("etotal") / count)
    for _ in range(min(20, steps)):
        with Clock() as clock:
            engine.command(f"run {max(1, steps // 20)} pre no post no")
        seconds, busy = seconds + clock.seconds, busy + clock.seconds * clock.cores
        energies.append(engine.get_thermo("etotal") / count)
    kinetic = float(engine.get_thermo("temp"))
    done = min(20, steps) * max(1, steps // 20)
    engine.close()
    return {
        "energies": energies,
        "temperature": kinetic,
        "seconds_per_step": seconds / done,
        "processor_seconds_per_step": busy / done,
    }


def _engine(potential: str, structure: str) -> Any:
    """Returns LAMMPS with the atoms of a structure and the potential."""
    from lammps import lammps  # noqa: PLC0415  # may be absent

    data = np.load(structure)
    cell, positions = data["cell"], data["positions"]
    engine = lammps(cmdargs=["-log", "none", "-screen", "none"])
    lengths = " ".join(f"0 {length:.17g}" for length in np.diag(cell))
    tilts = f"{cell[1, 0]:.17g} {cell[2, 0]:.17g} {cell[2, 1]:.17g}"
    engine.commands_string(
        "units metal\natom_style atomic\natom_modify map array\nboundary p p p\n"
        f"region cell prism {lengths} {tilts} units box\ncreate_box 1 cell\nmass * {float(data['mass']):.17g}"
    )
    engine.create_atoms(len(positions), None, np.ones(len(positions), int).tolist(), positions.ravel().tolist())
    if engine.get_natoms() != len(positions):
        raise RuntimeError(f"LAMMPS took {engine.get_natoms()} of {len(positions)} atoms")
    files = f"{potential}.snapcoeff {potential}.snapparam"
    engine.commands_string(f"pair_style snap\npair_coeff * * {files} {data['element']}\nneighbor 1.0 bin")
    return engine


if __name__ == "__main__":
    serve(version, evaluate, dynamics)
