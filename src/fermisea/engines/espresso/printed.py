"""Energies of an SCF run whose XML file was overwritten by a later run in its potential."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from ase.io.espresso import read_espresso_out

from fermisea import units
from fermisea.data.reference import Reference
from fermisea.engines.espresso.output import read_output
from fermisea.errors import FileFormatError

_LARGEST = 2**26
"""Number of bytes read from each file."""

_PARTS = {
    "hartree": r"hartree contribution",
    "xc": r"xc contribution",
    "ewald": r"ewald contribution",
    "entropy_term": r"smearing contrib\. \(-TS\)",
}


def read_reference(path: Path) -> Reference:
    """Returns the reference energies from the XML file or the printed output of an SCF run.

    Raises:
        FileFormatError: if the file has no such energies.
    """
    if path.suffix == ".xml":
        output = read_output(path)
        if output.calculation != "scf" or not output.converged:
            raise FileFormatError(
                f"{path}: not the XML file of a converged SCF run of pw.x; give the file of such a run"
            )
        return output.reference
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


def scf_reference(folder: Path, xml: Path, given: Path | None) -> tuple[Reference | None, str]:
    """Returns the reference of the SCF run before an ``nscf`` run, or None and a description of the problem.

    Args:
        folder: folder searched for printed output and copies of XML files.
        xml: XML file of the ``nscf`` run, which is ignored.
        given: file named by the user, if any.

    Raises:
        FileFormatError: if the file named by the user is not suitable.
    """
    if given is not None:
        return read_reference(given), ""
    found: dict[Path, Reference] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix not in {".out", ".log", ".xml"} or not path.is_file() or path.stat().st_size > _LARGEST:
            continue
        try:
            found[path] = read_reference(path)
        except FileFormatError:
            continue
    energies = [reference.free_energy for reference in found.values()]
    if not found:
        return None, (
            "free energy: pw.x does not store it in an nscf run; give the printed output of the preceding SCF run, or "
            f"a copy of its {xml.name} (scf)"
        )
    if max(energies) - min(energies) > 1e-4:
        names = ", ".join(path.name for path in found)
        return None, f"free energy: {names} have different values; name the file of the SCF run (scf)"
    # an XML file has more digits
    return next((found[path] for path in found if path.suffix == ".xml"), next(iter(found.values()))), ""


def _printed(path: Path, text: str) -> Reference:
    def last(pattern: str) -> float:
        return float(re.findall(pattern, text)[-1])

    total = last(r"!\s+total energy\s+=\s+(\S+) Ry") * units.RYDBERG
    known = {name: last(rf"{label}\s+=\s+(\S+) Ry") * units.RYDBERG for name, label in _PARTS.items()}
    with path.open(encoding="utf-8", errors="replace") as stream:
        results = list(read_espresso_out(stream))[-1].calc.results
    stress = results.get("stress")
    return Reference(
        free_energy=total,
        parts=known,
        fermi_level=last(r"the Fermi energy is\s+(\S+) ev"),
        electrons=last(r"number of electrons\s+=\s+(\S+)"),
        entropy_term=known["entropy_term"],
        forces=results.get("forces"),
        stress=None if stress is None else np.asarray(stress)[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]],
    )
