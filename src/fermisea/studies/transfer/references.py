"""Self-consistent runs at other electronic temperatures, the reference for the transfer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms

from fermisea.campaign import Campaign
from fermisea.engines import PlaneWave, ScfStep
from fermisea.engines.planewave import ThermalState
from fermisea.errors import InputError
from fermisea.physics.broadening import gaussian
from fermisea.utilities.files import write_text


@dataclass(frozen=True)
class Reference:
    """A self-consistent run of one structure.

    Attributes:
        name: name of the structure.
        ion_temperature: tau_i, K.
        electron_temperature: tau_e, K.
        free_energy: free energy of the cell, eV.
        entropy_term: -TS, eV.
        fermi_level: mu, eV.
        dos: density of states on the energies of the study, up to the highest band, 1/eV.
    """

    name: str
    ion_temperature: float
    electron_temperature: float
    free_energy: float
    entropy_term: float
    fermi_level: float
    dos: list[float]


def reference(
    dft: Campaign,
    name: str,
    atoms: Atoms,
    electron_temperature: float,
    folder: Path,
    report: Callable[[ScfStep], None],
) -> Reference:
    """Returns a run, from the folder if available.

    Args:
        dft: DFT settings with an energy window.
        name: name of the structure.
        atoms: the structure.
        electron_temperature: tau_e, K.
        folder: folder of the results.
        report: callback after every SCF iteration.

    Raises:
        InputError: for an engine other than the embedded one.
        ConvergenceError: if the SCF cycle does not converge.
    """
    key = hashlib.sha256(dft.key() + atoms.positions.tobytes()).hexdigest()
    path = folder / f"{name}-{electron_temperature:g}K.json"
    known = _read(path)
    if known.pop("key", None) == key:
        return Reference(**known)
    engine = dft.make_engine()
    if not isinstance(engine, PlaneWave) or engine.ldos.energy_grid is None:
        raise InputError(f"dft: got the engine {dft.engine}, expected planewave with an energy window")
    state = replace(engine, report=report).solve(atoms, electron_temperature)
    found = Reference(
        name=name,
        ion_temperature=float(atoms.info["ion_temperature"]),
        electron_temperature=electron_temperature,
        free_energy=state.reference.free_energy,
        entropy_term=state.reference.entropy_term + state.reference.xc_entropy_term,
        fermi_level=state.reference.fermi_level,
        dos=_dos(state, engine.ldos.energy_grid.energies, engine.ldos.chosen(electron_temperature).broadening),
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps({"key": key} | asdict(found), indent=1) + "\n")
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _dos(state: ThermalState, energies: np.ndarray[Any, Any], broadening: float) -> list[float]:
    """Returns the broadened DOS up to the energy that the bands of every k-point reach."""
    reach = float(state.eigenvalues.max(axis=1).min()) - 3.5 * broadening
    energies = energies[energies <= reach]
    peaks = gaussian(torch.from_numpy(energies[:, None, None] - state.eigenvalues[None]), broadening)
    values: list[float] = (2 * np.einsum("ekb,k->e", peaks.numpy(), state.weights)).tolist()
    return values
