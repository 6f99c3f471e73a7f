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
from fermisea.errors import InputError

PREFIX = "fermisea"

_BASIS = 4
"""Number of vectors per band in the eigensolver (diago_david_ndim); with the default of pw.x, 2, it may stall."""

_BAND_ACCURACY = 1e-8
"""Change of an eigenvalue, Ry, at which a band of the energy window counts as converged (diago_thr_init)."""

_UNKNOWN = "its contribution to the energy does not follow from an LDOS and its density"
_OURS = {
    "calculation": "fermisea runs scf and then nscf",
    "restart_mode": "every run starts from scratch",
    "outdir": "each run has its own folder",
    "prefix": "each run has its own folder",
    "pseudo_dir": "each file is named separately",
    "disk_io": "wavefunctions are needed",
    "wf_collect": "wavefunctions are needed",
    "nosym": "an LDOS needs every k-point",
    "occupations": "occupations are Fermi-Dirac",
    "smearing": "occupations are Fermi-Dirac",
    "degauss": "it is k_B tau_e",
    "nbnd": "bands must fill the energy window",
    "ecutwfc": "it is the cutoff of the engine, eV",
    "conv_thr": "it is the tolerance of the engine, eV per atom",
    "input_dft": "it is xc of the engine",
    "ibrav": "the structure defines the cell",
    "celldm": "the structure defines the cell",
    "nat": "the structure defines the atoms",
    "ntyp": "the structure defines the atoms",
    "nosym_evc": "an LDOS needs every k-point",
    "lda_plus_u": _UNKNOWN,
    "vdw_corr": _UNKNOWN,
    "tefield": _UNKNOWN,
    "lelfield": _UNKNOWN,
    "assume_isolated": _UNKNOWN,
    "nspin": "spin polarisation is not supported",
    "noncolin": "noncollinear magnetism is not supported",
    "lspinorb": "spin-orbit coupling is not supported",
}


def nested(input_data: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Returns keywords by namelist, from keywords with or without namelists, in the form used by ASE.

    Raises:
        InputError: for a keyword that is unknown to pw.x or set by the engine.
    """
    try:
        given = Namelist(dict(input_data or {}))
        given.to_nested("pw", warn=False)
    except Exception as error:  # ASE raises its own kinds of exceptions
        raise InputError(
            f"input_data: got {input_data!r}, which ASE cannot assign to namelists ({error}); correct the keywords"
        ) from error
    result = {str(section).lower(): dict(values) for section, values in given.items() if values}
    known = {key.lower() for values in result.values() for key in values}
    asked = {
        key.lower()
        for name, value in (input_data or {}).items()
        for key in (value if isinstance(value, Mapping) else (name,))
    }
    for key in sorted(asked):
        base = key.split("(")[0]
        if base in _OURS:
            raise InputError(f"input_data: got {key}, which is set by fermisea ({_OURS[base]}); remove it")
        if key == "tot_charge" and any(values.get(key) for values in result.values()):
            raise InputError("input_data: got a tot_charge other than zero, expected a neutral cell; remove it")
        if key not in known:
            raise InputError(f"input_data: got {key}, which is not a keyword of pw.x; correct or remove it")
    return result


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
