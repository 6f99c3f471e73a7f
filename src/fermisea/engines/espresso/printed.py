"""The energies of an SCF run whose XML file a later run in its potential has overwritten."""

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
"""Bytes of the files that are looked into."""

_PARTS = {
    "hartree": r"hartree contribution",
    "xc": r"xc contribution",
    "ewald": r"ewald contribution",
    "entropy_term": r"smearing contrib\. \(-TS\)",
}


def read_reference(path: Path) -> Reference:
    """Returns the reference energies in an SCF run's XML file or in what it printed.

    Raises:
        FileFormatError: if there are none in it.
    """
    if path.suffix == ".xml":
        output = read_output(path)
        if output.calculation != "scf" or not output.converged:
            raise FileFormatError(f"{path}: not that of a converged SCF run of pw.x; give that one")
        return output.reference
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read ({error.strerror}); give the output of the SCF run") from error
    if "convergence has been achieved" not in text:
        raise FileFormatError(f"{path}: not the output of a converged SCF run of pw.x; give that one")
    try:
        return _printed(path, text)
    except (IndexError, KeyError, StopIteration, ValueError, AssertionError) as error:
        raise FileFormatError(f"{path}: not readable as the output of an SCF run ({error!r}); give that one") from error


def scf_reference(folder: Path, xml: Path, given: Path | None) -> tuple[Reference | None, str]:
    """Returns the reference of the SCF run before an ``nscf`` one, or None and what is missing.

    Args:
        folder: looked into for printed output and copies of XML files.
        xml: of the ``nscf`` run, which does not count.
        given: the file, if the user names it.

    Raises:
        FileFormatError: if the file that the user names does not serve.
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
            "free energy: pw.x does not keep it in an nscf run; give what the SCF run before it printed, or a copy of "
            f"its {xml.name} (scf)"
        )
    if max(energies) - min(energies) > 1e-4:
        names = ", ".join(path.name for path in found)
        return None, f"free energy: {names} hold different ones; name that of the SCF run (scf)"
    # an XML file holds more digits
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
