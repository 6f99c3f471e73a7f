"""Electronic free energies for ``phonopy-qha --efe``: F(T, V) of fixed ions in a quasi-harmonic approximation.

``fe-v.dat`` has one row for each temperature, with the temperature (K) and F (eV) of the cell at each volume;
``e-v.dat`` has one row for each volume, with the volume (Angstrom^3) and F at 0 K (eV). The temperatures must be those
of phonopy's ``thermal_properties.yaml``, and the cell must be the one of these files. Format of phonopy-vasp-efe.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fermisea.errors import InputError
from fermisea.utilities.arrays import FloatArray
from fermisea.utilities.files import write_text


def write_free_energies(folder: Path, temperatures: FloatArray, volumes: FloatArray, free_energies: FloatArray) -> None:
    """Writes ``fe-v.dat`` and ``e-v.dat``, each atomically.

    Args:
        folder: folder of the files.
        temperatures: ascending from 0, (n,), K.
        volumes: volumes of the cell, (m,), Angstrom^3.
        free_energies: F of the cell, (n, m), eV.

    Raises:
        InputError: for temperatures that do not begin at 0 K, or sizes that differ.
    """
    t, v, f = (np.asarray(values, dtype=float) for values in (temperatures, volumes, free_energies))
    if f.shape != (t.size, v.size):
        raise InputError(
            f"free energies: got the shape {f.shape}, expected {(t.size, v.size)}, temperatures by volumes"
        )
    if t.size < 2 or t[0] != 0 or not (np.diff(t) > 0).all():
        raise InputError("temperatures: got a first temperature above 0 K or no ascending ones, expected 0 K first")
    lines = ["# volume:  " + "".join(f" {value:15.8f}" for value in v), "#    T(K)     Free energies"]
    lines += [f"{own:10.4f} " + "".join(f" {value:15.8f}" for value in row) for own, row in zip(t, f, strict=True)]
    write_text(folder / "fe-v.dat", "\n".join(lines) + "\n")
    pairs = [f"{volume:20.8f} {energy:20.8f}" for volume, energy in zip(v, f[0], strict=True)]
    write_text(folder / "e-v.dat", "\n".join(["#   cell volume   F of cold electrons", *pairs]) + "\n")
