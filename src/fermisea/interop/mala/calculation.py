"""MALA's ``.info.json``: data of a DFT run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms

from fermisea.errors import FileFormatError, InputError
from fermisea.grid import RealSpaceGrid, check_structure

_PARTS = {
    "band_energy": "band_energy_dft_calculation",
    "one_electron": "one_electron_contribution",
    "hartree": "hartree_contribution",
    "xc": "xc_contribution",
    "ewald": "ewald_contribution",
}
_KEPT = ("ecutwfc", "ecutrho", "degauss", "ibrav", "number_of_electrons_from_eigenvals")


@dataclass(frozen=True, eq=False)
class Calculation:
    """A DFT run.

    Attributes:
        atoms: the structure, periodic.
        grid: grid of the LDOS.
        electron_temperature: tau_e of the run, K.
        electrons: number of valence electrons in the cell.
        fermi_level: mu, eV, NaN if the file has none.
        free_energy: total free energy, eV, NaN if the file has none.
        entropy_term: -TS, eV, NaN if the file has none.
        parts: named energies, eV.
        forces: (n, 3), eV/Angstrom, if computed.
        pseudopotentials: file name for each element, if known.
        settings: cutoffs (Ry) and smearing (Ry) of the run, if known.
    """

    atoms: Atoms
    grid: RealSpaceGrid
    electron_temperature: float
    electrons: float
    fermi_level: float
    free_energy: float
    entropy_term: float
    parts: Mapping[str, float]
    forces: npt.NDArray[np.float64] | None
    pseudopotentials: Mapping[str, str]
    settings: Mapping[str, Any]


def parse_calculation(content: bytes, name: str) -> Calculation:
    """Returns the DFT run described by the bytes of an ``.info.json``.

    Args:
        content: content of the file.
        name: name of the file, for messages.

    Raises:
        FileFormatError: for a file that is truncated or of another kind, with the faulty entry.
    """
    data = parse_json(content, name)
    try:
        atoms = _atoms(data["atoms"])
        shape = tuple(int(n) for n in data["grid_dimensions"])
        grid = RealSpaceGrid(atoms.cell.array, (shape[0], shape[1], shape[2]))
        forces = data.get("atomic_forces_dft")
        calculation = Calculation(
            atoms=atoms,
            grid=grid,
            electron_temperature=float(data["temperature"]),
            electrons=float(data["number_of_electrons_exact"]),
            fermi_level=_number(data, "fermi_energy_dft"),
            free_energy=_number(data, "total_energy_dft_calculation"),
            entropy_term=_number(data, "entropy_contribution_dft_calculation"),
            parts={part: _number(data, key) for part, key in _PARTS.items() if data.get(key) is not None},
            forces=None if forces is None else np.array(forces, dtype=np.float64).reshape(len(atoms), 3),
            pseudopotentials={str(k): str(v) for k, v in (data.get("pseudopotentials") or {}).items()},
            settings={key: data[key] for key in _KEPT if data.get(key) is not None},
        )
        voxel = np.array(data["voxel"]["array"], dtype=np.float64) if data.get("voxel") else None
    except InputError as error:
        raise FileFormatError(f"{name}: {error}") from error
    except KeyError as error:
        raise FileFormatError(
            f"{name}: got a JSON file without the entry {error}, expected an .info.json of MALA"
        ) from error
    except (TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        detail = " ".join(str(error).split())[:120]
        raise FileFormatError(
            f"{name}: an entry has the wrong form ({detail}), expected an .info.json of MALA"
        ) from error
    _check(calculation, voxel, name)
    return calculation


def parse_json(content: bytes, name: str) -> dict[str, Any]:
    """Returns the JSON object from the bytes of a file.

    Raises:
        FileFormatError: if they contain none.
    """
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{name}: not JSON, or truncated ({str(error)[:80]}); copy the file again") from error
    if not isinstance(data, dict):
        raise FileFormatError(f"{name}: holds a JSON {type(data).__name__}, expected named entries")
    return data


def _atoms(data: Mapping[str, Any]) -> Atoms:
    cell = np.array(data["cell"], dtype=np.float64).reshape(3, 3)
    return Atoms(numbers=data["numbers"], positions=data["positions"], cell=cell, pbc=True)


def _number(data: Mapping[str, Any], key: str) -> float:
    """Returns an energy of the run, NaN if the file has none."""
    value = data.get(key)
    if value is None:
        return math.nan
    if isinstance(value, bool | str) or not math.isfinite(value):
        raise ValueError(f"{key} is {value!r}, not a finite energy in eV")
    return float(value)


def _check(calculation: Calculation, voxel: npt.NDArray[np.float64] | None, name: str) -> None:
    for what, value, unit in (
        ("temperature", calculation.electron_temperature, "K"),
        ("number_of_electrons_exact", calculation.electrons, "electrons"),
    ):
        if not (math.isfinite(value) and value > 0):
            raise FileFormatError(f"{name}: {what} is {value} {unit}, expected a finite value above 0")
    try:
        check_structure(calculation.atoms, name, periodic=False)
    except InputError as error:
        raise FileFormatError(str(error)) from error
    grid = calculation.grid
    edges = None if voxel is None else voxel * np.array(grid.shape)[:, None]
    if edges is not None and not np.allclose(edges, grid.lattice, rtol=0, atol=1e-3):
        raise FileFormatError(
            f"{name}: the voxel times the grid {grid.shape} does not give the cell; expected both from the same DFT run"
        )
