"""Energy terms of a pw.x run that F of an LDOS does not contain."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_KNOWN_ELEMENTS = {"etot", "eband", "ehart", "vtxc", "etxc", "ewald", "demet"}
_KNOWN_LABELS = {
    "total energy",
    "harris-foulkes estimate",
    "smearing contrib. (-ts)",
    "internal energy e=f+ts",
    "one-electron contribution",
    "hartree contribution",
    "xc contribution",
    "ewald contribution",
}

_ADDED = ("vdw", "dispersion", "hubbard")
"""Parts of the names of terms that change the total energy but not the meaning of the LDOS."""

_SETTINGS = {
    "electric_potential": "an electric field",
    "dipole_correction": "a dipole correction",
    "use_gate": "a charged gate",
    "assume_isolated": "isolated boundary conditions",
    "twochem": "two chemical potentials",
    "lfcp": "a constant-potential reservoir",
    "trism": "a solvent",
}
"""Elements of an XML file, anywhere in the file, that switch on an interaction beyond a periodic crystal."""

_OFF = {"", "none", "false", ".false.", "0"}

_TERM = re.compile(r"^[ \t]+(\S.*?)\s+=\s+(\S+)\s+Ry[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class ExtraTerms:
    """Energy terms and interactions of a run beyond functional, pseudopotentials and Ewald sum.

    Attributes:
        added: terms that leave the LDOS usable, such as a dispersion correction, but its total energy incomplete.
        foreign: terms and settings with which a run cannot be imported.
    """

    added: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()

    def __or__(self, other: ExtraTerms) -> ExtraTerms:
        """Returns the terms of both, each once."""
        return ExtraTerms(
            tuple(dict.fromkeys(self.added + other.added)), tuple(dict.fromkeys(self.foreign + other.foreign))
        )

    @property
    def obstacle(self) -> str | None:
        """Reason why the LDOS gives no total free energy, None if it gives one."""
        if not self.added:
            return None
        return (
            f"the DFT run has {' and '.join(self.added)}, which F of an LDOS does not contain; run pw.x without this "
            "for total energies"
        )


def xml_terms(root: ET.Element) -> ExtraTerms:
    """Returns the terms in a ``data-file-schema.xml``, which also names interactions without a term of their own."""
    energies = root.find("output/total_energy")
    values = {} if energies is None else {child.tag: float(child.text or "nan") for child in energies}
    listed = _sorted({name: value for name, value in values.items() if name not in _KNOWN_ELEMENTS}, "Ha")
    corrections = tuple(dict.fromkeys(_corrections(root)))  # better names than the terms have
    return ExtraTerms(corrections or listed.added, listed.foreign) | ExtraTerms(foreign=tuple(_interactions(root)))


def printed_terms(text: str) -> ExtraTerms:
    """Returns the terms that the printed output of an SCF run lists below its final total energy."""
    final = text[text.rindex("\n!") :]
    listed = final[: final.index("convergence has been achieved")]
    values = {name: float(value) for name, value in _TERM.findall(listed) if name.lower() not in _KNOWN_LABELS}
    return _sorted(values, "Ry")


def _sorted(values: Mapping[str, float], unit: str) -> ExtraTerms:
    """Returns the terms that are not zero, by their effect."""
    added: list[str] = []
    foreign: list[str] = []
    for name, value in values.items():
        if value != 0:  # NaN too
            known = any(part in name.lower() for part in _ADDED)
            (added if known else foreign).append(f"the energy term {name} ({value:g} {unit})")
    return ExtraTerms(tuple(added), tuple(foreign))


def _corrections(root: ET.Element) -> Iterator[str]:
    for element in root.iter("vdw_corr"):
        if _text(element) not in _OFF:
            yield f"a dispersion correction ({_text(element)})"
    for tag in ("dftU", "london_s6"):
        if next(root.iter(tag), None) is not None:
            yield "a Hubbard correction" if tag == "dftU" else "a dispersion correction (grimme-d2)"


def _interactions(root: ET.Element) -> Iterator[str]:
    for tag, words in _SETTINGS.items():
        values = [_text(element) for element in root.iter(tag) if _text(element) not in _OFF]
        if values:
            yield f"{words} ({tag} = {values[0]})"


def _text(element: ET.Element) -> str:
    return (element.text or "").strip().lower()
