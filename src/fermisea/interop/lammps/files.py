"""Files of an exported potential: SNAP files, an input of LAMMPS, its structure, and a table of errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms

from fermisea.interop.lammps.errors import HEADINGS, ErrorsAt, cells
from fermisea.interop.lammps.snap import Snap
from fermisea.utilities.files import atomic_path, write_text

_WIDTH = 2.0
"""Smallest width of the cell of the example, relative to the cutoff."""

_ION_TEMPERATURE, _TIME_STEP, _STEPS = 600.0, 0.001, 1000
"""Initial temperature of the ions in the example, K, twice the one in equilibrium; time step, ps; number of steps."""


def name_at(element: str, electron_temperature: float) -> str:
    """Returns the name of the files of a potential without suffix, such as ``al-5000K``."""
    return f"{element.lower()}-{electron_temperature:.10g}K"


def write_snap(folder: Path, snap: Snap, electron_temperature: float, comments: Sequence[str]) -> list[Path]:
    """Writes coefficients and parameters of a potential, and returns the files.

    Args:
        folder: folder of the files.
        snap: the potential.
        electron_temperature: tau_e, K.
        comments: lines of comment.
    """
    lines = [f"F of the ions at tau_e = {electron_temperature:.10g} K, by fermisea; LAMMPS units metal", *comments]
    name = name_at(snap.element, electron_temperature)
    files = [folder / f"{name}.snapcoeff", folder / f"{name}.snapparam"]
    write_text(files[0], snap.coefficient_text(lines))
    write_text(files[1], snap.parameter_text(lines))
    return files


def write_example(
    folder: Path, atoms: Atoms, cutoff: float, electron_temperatures: Sequence[float], comments: Sequence[str]
) -> list[Path]:
    """Writes an input of LAMMPS with a structure, repeated to at least twice the cutoff, and returns the files.

    Args:
        folder: folder of the files.
        atoms: a periodic structure of one element.
        cutoff: cutoff of the potential, Angstrom.
        electron_temperatures: tau_e of the potentials, K; the input uses the first.
        comments: lines of comment.
    """
    volume, cell = atoms.get_volume(), atoms.cell.array
    widths = [volume / np.linalg.norm(np.cross(cell[k - 2], cell[k - 1])) for k in range(3)]
    repeated = atoms.repeat([int(np.ceil(_WIDTH * cutoff / width)) for width in widths])
    data, example = folder / "example.data", folder / "in.example"
    with atomic_path(data) as temporary:
        ase.io.write(temporary, repeated, format="lammps-data", masses=True)
    element = str(atoms.symbols[0])
    names = [name_at(element, t) for t in electron_temperatures]
    text = f"""\
# Ions that move at constant energy on the free-energy surface F of hot electrons. Start LAMMPS in this folder:
#     lmp -in in.example -var potential {names[-1]}
# Potentials: {" ".join(names)}
# pe is F (eV), and the pressure contains -dF/dV at constant tau_e; pe + ke is conserved.
{_commented(comments)}
variable potential index {names[0]}
units metal
atom_style atomic
boundary p p p
read_data example.data
pair_style snap
pair_coeff * * ${{potential}}.snapcoeff ${{potential}}.snapparam {element}
neighbor 1.0 bin
velocity all create {_ION_TEMPERATURE} 87287 mom yes
timestep {_TIME_STEP}
fix motion all nve
thermo 100
thermo_style custom step time temp pe etotal press vol
thermo_modify format float %.8g
run {_STEPS}
"""
    write_text(example, text)
    return [example, data]


def write_errors(path: Path, errors: Sequence[ErrorsAt], comments: Sequence[str]) -> None:
    """Writes the errors at each tau_e as a table of text.

    Args:
        path: path of the file.
        errors: errors at each tau_e.
        comments: lines of comment.
    """
    rows = [HEADINGS, *map(cells, errors)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(HEADINGS))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    write_text(path, "\n".join([_commented(comments), *lines]) + "\n")


def _commented(lines: Sequence[str]) -> str:
    return "\n".join(f"# {line}" for line in lines)
