"""Keywords of pw.x that a user may add: the free energy of the LDOS stays the free energy of the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ase.io.espresso_namelist.namelist import Namelist

from fermisea.errors import InputError

_ALLOWED = {
    "control": {
        "title",
        "verbosity",
        "iprint",
        "tstress",
        "tprnfor",
        "wfcdir",
        "max_seconds",
        "etot_conv_thr",
        "forc_conv_thr",
    },
    "system": {
        "ecutrho",
        "nr1",
        "nr2",
        "nr3",
        "nr1s",
        "nr2s",
        "nr3s",
        "noinv",
        "no_t_rev",
        "force_symmorphic",
        "use_all_frac",
        "starting_charge",
    },
    "electrons": {
        "electron_maxstep",
        "mixing_mode",
        "mixing_beta",
        "mixing_ndim",
        "diagonalization",
        "diago_thr_init",
        "diago_cg_maxiter",
        "diago_ppcg_maxiter",
        "diago_david_ndim",
        "diago_rmm_ndim",
        "diago_rmm_conv",
        "diago_gs_nblock",
        "diago_full_acc",
        "startingpot",
        "startingwfc",
        "tqr",
        "real_space",
    },
}
"""Output, numerical grids, start and convergence of the SCF cycle, by namelist."""

_OURS = {
    "calculation": "fermisea runs scf and then nscf",
    "restart_mode": "every run starts from scratch",
    "outdir": "each run has its own folder",
    "prefix": "each run has its own folder",
    "pseudo_dir": "each file is named separately",
    "disk_io": "wavefunctions are needed",
    "wf_collect": "wavefunctions are needed",
    "nosym": "an LDOS needs every k-point",
    "nosym_evc": "an LDOS needs every k-point",
    "occupations": "occupations are Fermi-Dirac",
    "smearing": "occupations are Fermi-Dirac",
    "degauss": "it is k_B tau_e",
    "nbnd": "bands must fill the energy window",
    "ecutwfc": "it is the cutoff of the engine, eV",
    "conv_thr": "it is the tolerance of the engine, eV per atom",
    "input_dft": "it is xc of the engine",
    "ibrav": "the structure defines the cell",
    "celldm": "the structure defines the cell",
    "a": "the structure defines the cell",
    "b": "the structure defines the cell",
    "c": "the structure defines the cell",
    "cosab": "the structure defines the cell",
    "cosac": "the structure defines the cell",
    "cosbc": "the structure defines the cell",
    "nat": "the structure defines the atoms",
    "ntyp": "the structure defines the atoms",
}
"""Keywords set by the engine, with the reason."""

_OFF: dict[str, Any] = {
    "tot_charge": 0,
    "nspin": 1,
    "tot_magnetization": -10000,  # pw.x: unspecified
    "noncolin": False,
    "lspinorb": False,
    "lda_plus_u": False,
    "vdw_corr": "none",
    "london": False,
    "xdm": False,
    "assume_isolated": "none",
    "tefield": False,
    "dipfield": False,
    "lelfield": False,
    "gate": False,
    "twochem": False,
    "lfcp": False,
    "trism": False,
    "lgcscf": False,
}
"""Values at which keywords outside of the allowed ones change nothing."""


def nested(input_data: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Returns keywords by namelist, from keywords with or without namelists, in the form used by ASE.

    Raises:
        InputError: for a keyword that is unknown to pw.x or set by the engine, or that could change the energy in a way
            that F of an LDOS does not contain.
    """
    try:
        given = Namelist(dict(input_data or {}))
        given.to_nested("pw", warn=False)
    except Exception as error:  # ASE raises its own kinds of exceptions
        raise InputError(
            f"input_data: got {input_data!r}, which ASE cannot assign to namelists ({error}); correct the keywords"
        ) from error
    result = {str(section).lower(): dict(values) for section, values in given.items() if values}
    places = {str(key).lower(): name for name, values in result.items() for key in values}
    for key, value in sorted(_asked(input_data).items()):
        base = key.split("(")[0]
        if base in _OURS:
            raise InputError(f"input_data: got {key}, which is set by fermisea ({_OURS[base]}); remove it")
        if base in _OFF:
            if (value.lower() if isinstance(value, str) else value) != _OFF[base]:
                raise InputError(
                    f"input_data: got {key} = {value!r}, expected {_OFF[base]!r}, because F of an LDOS does not "
                    "contain its contribution to the energy; remove it"
                )
        elif key not in places and not base.startswith("hubbard"):
            raise InputError(f"input_data: got {key}, which is not a keyword of pw.x; correct or remove it")
        elif key not in places or base not in _ALLOWED.get(places[key], ()):
            raise InputError(
                f"input_data: got {key}, which may change the energy in a way that F of an LDOS does not contain, "
                "expected keywords of output, grids and convergence such as mixing_beta; remove it"
            )
    return result


def _asked(input_data: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns the keywords without their namelists, in lower case."""
    flat: dict[str, Any] = {}
    for name, value in (input_data or {}).items():
        flat |= dict(value) if isinstance(value, Mapping) else {name: value}
    return {str(key).lower(): value for key, value in flat.items()}
