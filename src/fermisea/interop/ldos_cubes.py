"""An LDOS as one cube file for each energy, the format of ``pp.x`` of Quantum ESPRESSO with ``plot_num=3``.

The files are numbered in the order of energies. Their values are states/(Ry bohr^3) of both spins, and the second line
is ``Energy = -5.0000 eV, broadening = 0.2000 eV``, where the broadening is ``degauss_ldos``.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ase import Atoms

from fermisea.data.cube import Cube, read_cube
from fermisea.errors import FileFormatError, InputError
from fermisea.grid import EnergyGrid
from fermisea.interop.cube import write_cube
from fermisea.utilities.files import check_writable_folder

PathLike = str | os.PathLike[str]

UNIT = "1/(Ry bohr^3)"
"""Unit of the values of ``pp.x``."""

_NUMBER = re.compile(r"\d+")
_ENERGY = re.compile(r"Energy\s*=\s*(\S+)\s*eV(?:,\s*broadening\s*=\s*(\S+)\s*eV)?")
_TOLERANCE = 1e-4
"""Largest difference of energies, eV; the comment has four decimals."""


def cube_files(source: PathLike | Sequence[PathLike]) -> list[Path]:
    """Returns the cube files of one LDOS in the order of their numbers.

    Args:
        source: files in any order, a folder with no other cube files, or a pattern with an asterisk.

    Raises:
        InputError: without files, for names that differ in more than one number, or for missing or repeated numbers.
    """
    if isinstance(source, str | os.PathLike):
        folder = Path(source)
        if folder.is_dir():
            found = sorted(folder.glob("*.cube"))
        else:
            found = [folder] if folder.is_file() else [Path(name) for name in glob.glob(str(source))]  # noqa: PTH207
        if not found:
            raise InputError(f"{source}: got no cube files, expected a folder of *.cube files or a pattern with *")
    else:
        found = [Path(file) for file in source]
        if not found:
            raise InputError("LDOS: got no cube files, expected one for each energy")
    if len(found) == 1:
        return found
    names = [_NUMBER.split(file.name) for file in found]
    odd = [file for file, name in zip(found, names, strict=True) if name != names[0]]
    if odd:
        raise InputError(
            f"{odd[0].name}: got a name unlike {found[0].name}, expected names that differ in one number only"
        )
    values = np.array([[int(number) for number in _NUMBER.findall(file.name)] for file in found])
    varying = np.flatnonzero((values != values[0]).any(axis=0))
    if varying.size != 1:
        raise InputError(
            f"{found[0].name} and {len(found) - 1} more: got names that differ in {varying.size} numbers, "
            "expected one, the number of the energy"
        )
    numbers = values[:, varying[0]]
    order = np.argsort(numbers, kind="stable")
    expected = min(int(numbers.min()), 1) + np.arange(len(found))  # some codes count from zero
    if (numbers[order] != expected).any():
        at = int(np.argmax(numbers[order] != expected))
        state = "twice" if numbers[order][at] < expected[at] else "missing"
        number = numbers[order][at] if state == "twice" else expected[at]
        raise InputError(f"{found[order[0]].name} and {len(found) - 1} more: file number {number} is {state}")
    return [found[index] for index in order]


def ldos_from_cubes(
    files: PathLike | Sequence[PathLike],
    energy_grid: EnergyGrid | None = None,
    *,
    unit: str = UNIT,
    constants: str = "codata2018",
    dtype: npt.DTypeLike = np.float64,
) -> npt.NDArray[np.floating]:
    """Returns the LDOS in cube files, (nx, ny, nz, energies), 1/(eV Angstrom^3).

    Args:
        files: see ``cube_files``.
        energy_grid: energies of the LDOS; compared with the energies in the files, and needed if these state none.
        unit: unit of the values, one of ``units.FIELD_UNITS``.
        constants: one of ``units.CONSTANTS``; "mala" reproduces the numbers of MALA for the same files.
        dtype: type of the result.

    Raises:
        InputError: for missing files, or files inconsistent with each other or with ``energy_grid``.
        FileFormatError: for a file that cannot be read.
    """
    return read_series(files, energy_grid, unit, constants, dtype)[0]


def write_ldos_cubes(
    folder: PathLike,
    atoms: Atoms,
    ldos: npt.NDArray[np.floating],
    energy_grid: EnergyGrid,
    *,
    name: str = "ldos",
    energy: float | None = None,
) -> list[Path]:
    """Writes an LDOS as ``NAME-001.cube`` and so on, states/(Ry bohr^3), and returns the files.

    Args:
        folder: folder of the files, created if necessary.
        atoms: the structure.
        ldos: (nx, ny, nz, energies), 1/(eV Angstrom^3).
        energy_grid: energies of the LDOS.
        name: first part of the file names.
        energy: a single energy to write, eV; the nearest energy of the grid is used.

    Raises:
        InputError: for an energy outside the window, or a folder that cannot be written to.
    """
    energies = energy_grid.energies
    chosen: Sequence[int] = range(energies.size)
    if energy is not None:
        nearest = int(np.argmin(abs(energies - energy)))
        if not abs(energies[nearest] - energy) <= energy_grid.spacing / 2 + _TOLERANCE:
            raise InputError(f"energy: got {energy} eV, expected {energies[0]:g} to {energies[-1]:g} eV")
        chosen = [nearest]
    folder = check_writable_folder(folder)
    digits = max(3, len(str(energies.size)))
    files = []
    for index in chosen:
        path = folder / f"{name}-{index + 1:0{digits}d}.cube"
        files.append(write_cube(path, atoms, ldos[..., index], UNIT, comment=f"Energy = {energies[index]:9.4f} eV"))
    return files


def read_series(
    files: PathLike | Sequence[PathLike],
    energy_grid: EnergyGrid | None,
    unit: str,
    constants: str,
    dtype: npt.DTypeLike,
) -> tuple[npt.NDArray[np.floating], Cube, EnergyGrid, float | None]:
    """Returns LDOS, first cube, energies and the width of the broadening stated in the files (eV)."""
    paths = cube_files(files)
    if energy_grid is not None and energy_grid.size != len(paths):
        raise InputError(f"LDOS: got {len(paths)} cube files, expected one for each of {energy_grid.size} energies")
    ldos: npt.NDArray[np.floating] | None = None
    first: Cube | None = None
    stated = []
    for index, (path, cube) in enumerate(_cubes(paths)):
        if ldos is None or first is None:
            first, ldos = cube, np.empty((*cube.grid.shape, len(paths)), dtype=dtype)
        check_same(path, cube, first)
        ldos[..., index] = cube.field(unit, constants)
        stated.append(_stated(cube))
    assert ldos is not None  # noqa: S101  # there is at least one file
    assert first is not None  # noqa: S101
    return ldos, first, _energy_grid(paths, energy_grid, [energy for energy, _ in stated]), stated[0][1]


def _cubes(paths: Sequence[Path]) -> Iterator[tuple[Path, Cube]]:
    for path in paths:
        yield path, read_cube(path)


def _stated(cube: Cube) -> tuple[float | None, float | None]:
    found = _ENERGY.search(cube.comment[1])
    try:
        return (float(found[1]), float(found[2]) if found[2] else None) if found else (None, None)
    except ValueError:
        return None, None


def _energy_grid(paths: Sequence[Path], energy_grid: EnergyGrid | None, stated: Sequence[float | None]) -> EnergyGrid:
    known = [energy for energy in stated if energy is not None]
    if energy_grid is None:
        if len(known) < len(stated) or len(known) < 2:
            raise InputError(f"{paths[0]}: the file does not state its energy; give the energy grid")
        energy_grid = EnergyGrid(known[0], round((known[-1] - known[0]) / (len(known) - 1), 9), len(known))
    for path, energy, expected in zip(paths, stated, energy_grid.energies, strict=True):
        if energy is not None and abs(energy - expected) > _TOLERANCE:
            raise InputError(
                f"{path}: states an energy of {energy} eV, expected {expected:.4f} eV of the grid from "
                f"{energy_grid.start:g} in steps of {energy_grid.spacing:g} eV; check the grid and the files"
            )
    return energy_grid


def check_same(path: Path, cube: Cube, first: Cube) -> None:
    """Raises FileFormatError unless two cubes have the same grid and structure."""
    if cube.grid.shape != first.grid.shape:
        raise FileFormatError(
            f"{path}: got a grid {cube.grid.shape}, expected the grid of the other files, {first.grid.shape}"
        )
    if not same_structure(cube.atoms, first.atoms):
        raise FileFormatError(
            f"{path}: got atoms or a cell different from the other files, expected the same structure"
        )


def same_structure(one: Atoms, two: Atoms) -> bool:
    """Whether two structures agree to the digits of a cube file, up to translations of atoms by lattice vectors."""
    if (
        len(one) != len(two)
        or (one.numbers != two.numbers).any()
        or not np.allclose(one.cell, two.cell, rtol=0, atol=2e-4)
    ):
        return False
    shift = (one.positions - two.positions) @ np.linalg.inv(two.cell.array)
    return bool(np.allclose((shift - np.round(shift)) @ two.cell.array, 0, atol=2e-4))
