"""Self-consistent runs of the study at one tau_e, without an LDOS."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from ase import Atoms

from fermisea.campaign import Campaign
from fermisea.engines import PlaneWave
from fermisea.studies.aluminium.properties import Result
from fermisea.studies.folder import Rows, stored_rows


def reference(dft: Campaign, name: str, atoms: Atoms, electron_temperature: float, folder: Path) -> Result:
    """Returns a run, from the folder if it is there.

    Args:
        dft: DFT settings of the embedded engine.
        name: name of the structure.
        atoms: the structure.
        electron_temperature: tau_e, K.
        folder: folder of the results, NAME-TAU_E.json.

    Raises:
        ConvergenceError: if the SCF cycle does not converge.
    """
    places = np.concatenate([atoms.positions, atoms.cell.array])
    key = hashlib.sha256(dft.key() + places.tobytes()).hexdigest()

    def compute() -> Rows:
        engine = dft.make_engine()
        assert isinstance(engine, PlaneWave)  # noqa: S101  # the settings of the study have no other engine
        found = engine.solve(atoms, electron_temperature).reference
        assert found.forces is not None and found.stress is not None  # noqa: S101, PT018  # of this engine
        return [{"free_energy": found.free_energy, "forces": found.forces.tolist(), "stress": found.stress.tolist()}]

    (row,) = stored_rows(folder / f"{name}-{electron_temperature:g}K.json", [key], compute)
    return Result(row["free_energy"], np.array(row["forces"]), np.array(row["stress"]))
