"""Input files of pw.x."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any

from ase import Atoms
from ase.io.espresso import write_espresso_in
from ase.io.espresso_namelist.namelist import Namelist

from fermisea import units

PREFIX = "fermisea"

_BASIS = 4
"""Number of vectors per band in the eigensolver (diago_david_ndim); with the default of pw.x, 2, it may stall."""

_BAND_ACCURACY = 1e-8
"""Change of an eigenvalue, Ry, at which a band of the energy window counts as converged (diago_thr_init)."""


def pw_input(
    atoms: Atoms,
    *,
    calculation: str,
    bands: int,
    cutoff: float,
    electron_temperature: float,
    tolerance: float,
    kpts: tuple[int, int, int],
    shift: tuple[int, int, int],
    pseudopotentials: Mapping[str, str],
    input_dft: str | None,
    extra: Mapping[str, Mapping[str, Any]],
    solver: str = "david",
) -> str:
    """Returns an input file.

    Args:
        atoms: the structure.
        calculation: "scf" or "nscf".
        bands: number of bands at each k-point.
        cutoff: plane-wave cutoff, eV.
        electron_temperature: tau_e, K.
        tolerance: tolerance of the SCF cycle, eV per atom.
        kpts: k-mesh.
        shift: shift of the k-mesh, 0 or 1 along each axis.
        pseudopotentials: names of the files in the folder of the run.
        input_dft: functional in place of the functional of the files.
        extra: additional keywords by namelist.
        solver: value of the keyword ``diagonalization``.
    """
    data: dict[str, dict[str, Any]] = {
        "control": {
            "calculation": calculation,
            "prefix": PREFIX,
            "outdir": ".",
            "pseudo_dir": ".",
            "tprnfor": calculation == "scf",
            "tstress": calculation == "scf",
            "disk_io": "low",
        },
        "system": {
            "ecutwfc": cutoff / units.RYDBERG,
            "occupations": "smearing",
            "smearing": "fermi-dirac",
            "degauss": units.thermal_energy(electron_temperature) / units.RYDBERG,
            "nosym": True,
            "nbnd": bands,
        },
        "electrons": {
            "conv_thr": tolerance * len(atoms) / units.RYDBERG,
            "electron_maxstep": 200,
            "diagonalization": solver,
            "diago_david_ndim": _BASIS,
        },
    }
    if calculation == "nscf":
        data["electrons"]["diago_thr_init"] = _BAND_ACCURACY
    if input_dft is not None:
        data["system"]["input_dft"] = input_dft
    for section, values in extra.items():
        data.setdefault(section, {}).update(values)
    stream = io.StringIO()
    plain = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=True)  # no magnetic moments
    write_espresso_in(stream, plain, input_data=data, pseudopotentials=dict(pseudopotentials), kpts=kpts, koffset=shift)
    # earlier versions do not know the empty namelists of later versions
    return re.sub(r"&(?:FCP|RISM)\n/\n", "", stream.getvalue())


def pp_input(*, first: float, last: float, spacing: float, width: float) -> str:
    """Returns an input file of pp.x for the LDOS at equally spaced energies, a cube file for each.

    Args:
        first: first energy, eV.
        last: last energy, eV.
        spacing: energy spacing, eV.
        width: width of the kernel (degauss_ldos), eV.
    """
    names = {
        "inputpp": {
            "prefix": PREFIX,
            "outdir": ".",
            "filplot": "ldos",
            "plot_num": 3,
            "emin": first,
            "emax": last,
            "delta_e": spacing,
            "degauss_ldos": width,
        },
        "plot": {"iflag": 3, "output_format": 6, "fileout": ".cube"},
    }
    return str(Namelist(names).to_string())
