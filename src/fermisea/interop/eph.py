"""Electrons for LAMMPS's ``fix eph`` of the package USER-EPH: A. Tamm et al., Phys. Rev. Lett. 120, 185501 (2018).

The fix reads two files about the electrons. A table has three comment lines, the number of rows and the step of tau_e,
and C_e and kappa_e in each row, from tau_e = 0. A grid has three comment lines, the number of cells and time steps, the
bounds of the box, the name of the table or NULL, and one row for each cell, counted from 0: i j k tau_e S rho C_e
kappa_e, whether tau_e evolves, and whether C_e and kappa_e come from the table. Units are eV, Angstrom, ps and K.

The fix stops where tau_e exceeds the last row. It has no table of the coupling G: its friction beta is a function of
the density at each ion, in a third file.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np

from fermisea.errors import InputError
from fermisea.utilities.arrays import FloatArray
from fermisea.utilities.files import write_text


def write_table(
    path: Path,
    electron_temperature: FloatArray,
    heat_capacity: FloatArray,
    conductivity: FloatArray | None = None,
    *,
    step: float = 10.0,
) -> None:
    """Writes the table of C_e and kappa_e of ``fix eph``, atomically.

    Values between the given tau_e are interpolated linearly. Below the lowest one, C_e is proportional to tau_e, as in
    every metal, and so is kappa_e. The row for tau_e = 0 has C_e of half a step, because the fix divides by C_e.

    Args:
        path: path of the file.
        electron_temperature: tau_e, ascending, (n,), K.
        heat_capacity: C_e per volume, (n,), eV/(K Angstrom^3).
        conductivity: kappa_e, (n,), eV/(ps K Angstrom); by default zero, which is right for a single cell.
        step: step of tau_e, K.

    Raises:
        InputError: for a step that is not above 0, or larger than a quarter of the highest tau_e.
    """
    t, capacities = np.asarray(electron_temperature, dtype=float), np.asarray(heat_capacity, dtype=float)
    conduction = np.zeros(t.size) if conductivity is None else np.asarray(conductivity, dtype=float)
    if not (math.isfinite(step) and 0 < step <= t[-1] / 4):  # splines through fewer rows are refused by the fix
        raise InputError(f"step of tau_e: got {step:g} K, expected a number above 0 and up to {t[-1] / 4:g} K")
    count = 1 + math.floor(t[-1] / step * (1 + 1e-12))
    places = step * np.arange(count)
    c, kappa = (np.interp(places, np.append(0.0, t), np.append(0.0, v)) for v in (capacities, conduction))
    c[0] = np.interp(step / 2, np.append(0.0, t), np.append(0.0, capacities))
    head = [
        "# electrons of fermisea",
        "# number of rows, step of T_e (K); from T_e = 0",
        "# C_e (eV/K/A^3), kappa_e (eV/ps/K/A)",
    ]
    rows = (f"{one:.9e} {two:.9e}" for one, two in zip(c, kappa, strict=True))
    write_text(path, "\n".join([*head, f"{count} {step!r}", *rows]) + "\n")


def write_grid(
    path: Path,
    *,
    electron_temperature: float,
    heat_capacity: float,
    lengths: tuple[float, float, float],
    shape: tuple[int, int, int] = (1, 1, 1),
    conductivity: float = 0.0,
    table: str | None = None,
) -> None:
    """Writes a grid of ``fix eph`` (``T_infile``) with identical cells, atomically.

    Args:
        path: path of the file.
        electron_temperature: tau_e, K.
        heat_capacity: C_e per volume, eV/(K Angstrom^3); constant without a table.
        lengths: lengths of an orthogonal box with its origin at 0, Angstrom.
        shape: number of cells along each axis.
        conductivity: kappa_e, eV/(ps K Angstrom); constant without a table.
        table: name of the table of C_e and kappa_e, as seen from the folder in which LAMMPS runs, without spaces.

    Raises:
        InputError: for lengths or numbers of cells that are not positive, or a name with spaces.
    """
    if min(*lengths, *shape) <= 0:
        raise InputError(f"grid: got {shape} cells in a box of {lengths} Angstrom, expected positive numbers")
    if table is not None and (not table or any(map(str.isspace, table))):
        raise InputError(f"table of fix eph: got the name {table!r}, expected a name without spaces")
    head = ["# electrons of fermisea", "# eV, Angstrom, ps, K", "# i j k T_e S rho C_e kappa_e dynamic T-dependent"]
    head += [" ".join(map(str, (*shape, 1))), *(f"0 {length!r}" for length in lengths), table or "NULL"]
    values = f"{electron_temperature!r} 0 1 {heat_capacity!r} {conductivity!r} 1 {0 if table is None else 1}"
    cells = itertools.product(*(range(n) for n in reversed(shape)))
    write_text(path, "\n".join([*head, *(f"{i} {j} {k} {values}" for k, j, i in cells)]) + "\n")
