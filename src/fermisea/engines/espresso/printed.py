"""The SCF run whose XML file was overwritten by a later run in its potential: printed output, or a copy of the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from ase.io.espresso import read_espresso_out

from fermisea import units
from fermisea.data.reference import Reference
from fermisea.engines.espresso.agreement import ScfRun, disagreements, scf_run, smearing_name
from fermisea.engines.espresso.output import PwOutput, read_output
from fermisea.engines.espresso.terms import printed_terms
from fermisea.errors import FileFormatError

_LARGEST = 2**26
"""Number of bytes read from each file."""

_PARTS = {
    "hartree": r"hartree contribution",
    "xc": r"xc contribution",
    "ewald": r"ewald contribution",
    "entropy_term": r"smearing contrib\. \(-TS\)",
}


_SMEARING = re.compile(r"number of k points=\s*\d+\s+(\S.*?)\s+smearing, width \(Ry\)=\s*(\S+)")
_POTENTIAL = re.compile(r"PseudoPot\. #\s*\d+ for\s+(\S+)\s+read from file:?\s+(\S+)(?:\s+MD5 check sum:\s*(\w+))?")


def read_scf(path: Path) -> ScfRun:
    """Returns the SCF run described by an XML file or by the printed output.

    Raises:
        FileFormatError: if the file does not describe a converged SCF run.
    """
    if path.suffix == ".xml":
        output = read_output(path)
        if output.calculation != "scf" or not output.converged:
            raise FileFormatError(
                f"{path}: not the XML file of a converged SCF run of pw.x; give the file of such a run"
            )
        return scf_run(output)
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read ({error.strerror}); give the output of the SCF run") from error
    if "convergence has been achieved" not in text:
        raise FileFormatError(f"{path}: not the output of a converged SCF run of pw.x; give the output of such a run")
    try:
        return _printed(path, text)
    except (IndexError, KeyError, StopIteration, ValueError, AssertionError) as error:
        raise FileFormatError(
            f"{path}: not readable as the output of an SCF run ({error!r}); give the output of such a run"
        ) from error


def scf_before(
    folder: Path, run: PwOutput, files: Mapping[str, Path], xml: Path, given: Path | None
) -> tuple[ScfRun | None, list[str]]:
    """Returns the SCF run before an ``nscf`` run, and the problems that prevent its use.

    Args:
        folder: folder searched for printed output and copies of XML files.
        run: the ``nscf`` run.
        files: pseudopotential file of each element in the ``nscf`` run.
        xml: XML file of the ``nscf`` run, which is ignored.
        given: file named by the user, if any.

    Raises:
        FileFormatError: if the file named by the user does not describe a converged SCF run.
    """
    if given is not None:
        scf = read_scf(given)
        return scf, _differences(given, scf, run, files)
    found: dict[Path, ScfRun] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix not in {".out", ".log", ".xml"} or not path.is_file() or path.stat().st_size > _LARGEST:
            continue
        try:
            found[path] = read_scf(path)
        except FileFormatError:
            continue
    if not found:
        missing = (
            "free energy: pw.x does not store it in an nscf run; give the printed output of the preceding SCF run, or "
            f"a copy of its {xml.name} (scf)"
        )
        return None, [missing]
    problems = {path: _differences(path, scf, run, files) for path, scf in found.items()}
    fitting = [path for path in found if not problems[path]]
    if not fitting:
        return None, min(problems.values(), key=len)
    energies = [found[path].reference.free_energy for path in fitting]
    if max(energies) - min(energies) > 1e-4:
        names = ", ".join(path.name for path in fitting)
        return None, [f"free energy: {names} have different values; name the file of the SCF run (scf)"]
    # an XML file has more digits
    return found[next((path for path in fitting if path.suffix == ".xml"), fitting[0])], []


def _differences(path: Path, scf: ScfRun, run: PwOutput, files: Mapping[str, Path]) -> list[str]:
    return [
        f"{text} ({path.name}); give the SCF run that made the density of this run (scf), or run nscf again after it"
        for text in disagreements(scf, run, files)
    ]


def _printed(path: Path, text: str) -> ScfRun:
    def last(pattern: str) -> str:
        return str(re.findall(pattern, text)[-1])

    total = float(last(r"!\s+total energy\s+=\s+(\S+) Ry")) * units.RYDBERG
    known = {name: float(last(rf"{label}\s+=\s+(\S+) Ry")) * units.RYDBERG for name, label in _PARTS.items()}
    with path.open(encoding="utf-8", errors="replace") as stream:
        atoms = list(read_espresso_out(stream))[-1]
    stress = atoms.calc.results.get("stress")
    kind, width = _SMEARING.findall(text)[-1]
    return ScfRun(
        reference=Reference(
            free_energy=total,
            parts=known,
            fermi_level=float(last(r"the Fermi energy is\s+(\S+) ev")),
            electrons=float(last(r"number of electrons\s+=\s+(\S+)")),
            entropy_term=known["entropy_term"],
            forces=atoms.calc.results.get("forces"),
            stress=None if stress is None else np.asarray(stress)[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]],
        ),
        atoms=atoms,
        smearing=smearing_name(kind),
        degauss=float(width) * units.RYDBERG,
        rounding=0.501 * 10.0 ** -len(width.partition(".")[2]) * units.RYDBERG,
        functional=last(r"Exchange-correlation\s*=\s*([^(\n]*)").strip(),
        cutoff=float(last(r"kinetic-energy cutoff\s+=\s+(\S+)\s+Ry")) * units.RYDBERG,
        species=tuple(
            (symbol.rstrip("0123456789"), Path(name).name, checksum or None)
            for symbol, name, checksum in _POTENTIAL.findall(text)
        ),
        terms=printed_terms(text),
    )
