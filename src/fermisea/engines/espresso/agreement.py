"""Agreement of the SCF run that gives energies and density with the run of pw.x that gives the bands."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from fermisea import units
from fermisea.data.agreement import structure_difference
from fermisea.data.reference import Reference
from fermisea.engines.espresso.output import PwOutput
from fermisea.engines.espresso.terms import ExtraTerms
from fermisea.pseudopotentials.upf import functional_of

FERMI_DIRAC = "fermi-dirac"
"""Name of Fermi-Dirac smearing in this package; pw.x has several."""

_FERMI_DIRAC_NAMES = {"fd", "f-d", "fermi-dirac", "fermi_dirac"}

_SAME_LEVEL = 0.02
"""Largest difference of the Fermi levels of an SCF run and of an nscf run in its potential, eV."""

_SAME_PLACE = 1e-4
"""Largest difference of coordinates, Angstrom; the printed output has seven digits."""


@dataclass(frozen=True, eq=False)
class ScfRun:
    """The SCF run before an ``nscf`` run.

    Attributes:
        reference: energies, forces and stress.
        atoms: the structure.
        smearing: kind of smearing, in lower case; "none" without smearing.
        degauss: width of the smearing, eV.
        rounding: rounding error of ``degauss`` in the file, eV.
        functional: name of the functional in pw.x.
        cutoff: plane-wave cutoff, eV.
        species: element, file name, and MD5 sum if known, of the pseudopotential of each species.
        terms: energy terms that F of an LDOS does not contain.
    """

    reference: Reference
    atoms: Atoms
    smearing: str
    degauss: float
    rounding: float
    functional: str
    cutoff: float
    species: tuple[tuple[str, str, str | None], ...]
    terms: ExtraTerms


def scf_run(output: PwOutput) -> ScfRun:
    """Returns the description of an SCF run from its XML file."""
    return ScfRun(
        reference=output.reference,
        atoms=output.atoms,
        smearing=smearing_name(output.smearing),
        degauss=output.degauss,
        rounding=1e-9 * output.degauss,
        functional=output.functional,
        cutoff=output.cutoff,
        species=tuple((symbol, name, None) for symbol, name in output.species),
        terms=output.terms,
    )


def smearing_name(name: str | None) -> str:
    """Returns the kind of smearing in lower case, "none" without smearing, with one name for Fermi-Dirac."""
    text = (name or "none").lower()
    return FERMI_DIRAC if text in _FERMI_DIRAC_NAMES else text


def disagreements(scf: ScfRun, run: PwOutput, files: Mapping[str, Path]) -> Iterator[str]:
    """Yields each property in which an SCF run differs from a later run, with both values.

    Args:
        scf: the SCF run.
        run: the run that gives the bands.
        files: pseudopotential file of each element in the later run.
    """
    if difference := structure_difference(scf.atoms, run.atoms, _SAME_PLACE):
        yield f"structure: the SCF run and this run have {difference}"
    if scf.smearing != smearing_name(run.smearing):
        yield f"smearing: {scf.smearing} in the SCF run, but {smearing_name(run.smearing)} in this run"
    if not abs(scf.degauss - run.degauss) <= scf.rounding + 1e-9 * run.degauss:
        yield (
            f"electronic temperature: degauss = {scf.degauss / units.RYDBERG:.6g} Ry "
            f"({scf.degauss / units.BOLTZMANN:.0f} K) in the SCF run, but {run.degauss / units.RYDBERG:.6g} Ry "
            f"({run.degauss / units.BOLTZMANN:.0f} K) in this run"
        )
    if functional_of(scf.functional) != functional_of(run.functional):
        yield f"functional: {scf.functional} in the SCF run, but {run.functional} in this run"
    if not abs(scf.cutoff - run.cutoff) <= 1e-4 * run.cutoff:
        yield (
            f"cutoff: ecutwfc = {scf.cutoff / units.RYDBERG:.6g} Ry in the SCF run, but "
            f"{run.cutoff / units.RYDBERG:.6g} Ry in this run"
        )
    yield from _potentials(scf, run, files)
    if not abs(scf.reference.electrons - run.reference.electrons) <= 0.01:
        yield f"electrons: {scf.reference.electrons:g} in the SCF run, but {run.reference.electrons:g} in this run"
    level, own = scf.reference.fermi_level, run.reference.fermi_level
    if not abs(level - own) <= _SAME_LEVEL:
        yield f"Fermi level: the SCF run has the Fermi level {level:.3f} eV, but this run has {own:.3f} eV"


def _potentials(scf: ScfRun, run: PwOutput, files: Mapping[str, Path]) -> Iterator[str]:
    names = dict(run.species)
    for symbol, name, checksum in scf.species:
        file = files.get(symbol)
        if file is None:
            continue  # the structures differ
        if checksum is None:
            if name != names[symbol]:
                yield f"pseudopotential of {symbol}: {name} in the SCF run, but {names[symbol]} in this run"
        elif file.is_file() and hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest() != checksum:
            yield (
                f"pseudopotential of {symbol}: {name} with the MD5 sum {checksum} in the SCF run, but {file} is "
                "another file"
            )
