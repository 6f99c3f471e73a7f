"""Norm-conserving pseudopotentials from files of the Unified Pseudopotential Format, version 2.

The format resembles XML, but the free text in many files is not valid XML. Since the structure is flat, tags and
attributes are found by regular expressions, and the free text is ignored. Units in the file are Ry and bohr; projectors
are r beta(r). Integrals follow the conventions of Quantum ESPRESSO: Simpson's rule on the mesh of the file, to r = 10
bohr for the local potential and the core density, and to the largest cutoff of a projector for the projectors.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from scipy.special import erf
from torch import Tensor

from fermisea.errors import FileFormatError, InputError
from fermisea.physics.ions import CoreCharge
from fermisea.physics.radial import RadialTable, radial_transform, simpson_weights
from fermisea.pseudopotentials.base import ProjectorChannel, Pseudopotential, core_radius, screened_coulomb
from fermisea.pseudopotentials.upf_checks import LARGEST, check_counts, check_mesh, check_tail, flag
from fermisea.units import BOHR, COULOMB, RYDBERG
from fermisea.utilities.arrays import FloatArray
from fermisea.utilities.numerals import real_numbers

MOMENTUM = 120.0
"""Default for the highest tabulated momentum of a potential from a file, 1/Angstrom."""

_STEP = 0.05
_LONGEST = 10.0 * BOHR
_ERF_WIDTH = BOHR / math.sqrt(2)
_FUNCTIONALS = {
    "LDA": "pz",
    "PZ": "pz",
    "SLA PZ": "pz",
    "PW": "lda",
    "SLA PW": "lda",
    "PBE": "pbe",
    "SLA PW PBX PBC": "pbe",
    "SLA PW PBE PBE": "pbe",
    "PBESOL": "pbesol",
    "SLA PW PSX PSC": "pbesol",
}
_TAG = re.compile(r"<(PP_[A-Z_]+(?:\.\d+)?)((?:\s+[\w:.-]+\s*=\s*(?:\"[^\"]*\"|'[^']*'))*)\s*(/?)>")
_ATTRIBUTE = re.compile(r"([\w:.-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_FREE_TEXT = re.compile(r"<PP_INFO\b.*?</PP_INFO\s*>|<!--.*?-->", re.DOTALL)
_SHORT_EXPONENT = re.compile(r"(?<=\d)([+-]\d{3})\b")


@dataclass(frozen=True)
class UpfSection:
    """One tag of a file.

    Attributes:
        attributes: attributes by name, without surrounding blanks.
        body: text before the closing tag.
    """

    attributes: Mapping[str, str] = field(default_factory=dict)
    body: str = ""


@dataclass(frozen=True, eq=False)
class TabulatedLocal:
    """A local potential as -Z e^2/r erf(r / sqrt(2) a) plus a tabulated short-range part.

    Attributes:
        valence: Z.
        width: a, Angstrom.
        rest: transform of the short-range part, eV Angstrom^3.
        at_zero: integral of V_loc + Z e^2/r on the mesh of the file, eV Angstrom^3.
    """

    valence: float
    width: float
    rest: RadialTable
    at_zero: float

    def __call__(self, momenta: Tensor) -> Tensor:
        """Returns the transform at ``momenta`` (..., 1/Angstrom), eV Angstrom^3; at zero of V_loc + Z e^2/r."""
        values = self.rest(momenta)[0] + screened_coulomb(self.valence, self.width, momenta)
        return torch.where(momenta.detach() == 0, torch.full_like(values, self.at_zero), values)


def load_upf(path: str | os.PathLike[str], momentum: float = MOMENTUM) -> Pseudopotential:
    """Returns the pseudopotential of a UPF file.

    Args:
        path: the file.
        momentum: highest momentum at which the potential is evaluated, 1/Angstrom.

    Raises:
        InputError: if the file is missing or does not hold a norm-conserving pseudopotential.
        FileFormatError: if it is not a complete UPF file of version 2.
    """
    path = Path(path)
    content, sections, header = _read(path)
    _refuse_unsupported(path, header, sections)
    symbol = header.get("element", "").capitalize()
    valence = _number(path, "z_valence", header.get("z_valence", ""))
    radius = _numbers(path, sections, "PP_R") * BOHR
    spacing = _numbers(path, sections, "PP_RAB", len(radius)) * BOHR
    mesh_size = _number(path, "mesh_size", header["mesh_size"]) if "mesh_size" in header else None
    check_mesh(path, radius, spacing, mesh_size)
    momenta = np.asarray(_STEP * np.arange(math.ceil(momentum / _STEP) + 2), dtype=np.float64)

    beyond = np.flatnonzero(radius > _LONGEST)
    end = _odd(int(beyond[0]) + 1 if len(beyond) else len(radius))
    r, weights = radius[:end], simpson_weights(spacing[:end])
    potential = _numbers(path, sections, "PP_LOCAL", len(radius))[:end] * RYDBERG
    check_tail(path, r, potential, valence * COULOMB, valence)
    rest = r * potential + valence * COULOMB * erf(r / BOHR)
    alpha = 4 * math.pi * float(np.sum(weights * r * (r * potential + valence * COULOMB)))
    local = RadialTable(_STEP, radial_transform(0, momenta, r, [weights * r * rest]), f"local potential of {path.name}")
    core = None
    if flag(path, header, "core_correction"):
        density = _numbers(path, sections, "PP_NLCC", len(radius))[:end] / BOHR**3
        core = CoreCharge(_STEP, radial_transform(0, momenta, r, [weights * r**2 * density])[0])
    elif "PP_NLCC" in sections and sections["PP_NLCC"].body.strip() and _numbers(path, sections, "PP_NLCC").any():
        raise FileFormatError(f"{path}: PP_NLCC holds a core density, expected core_correction = T; use an intact copy")
    return Pseudopotential(
        symbol=symbol,
        valence=valence,
        name=path.name,
        digest=hashlib.sha256(content).hexdigest(),
        functional=functional_of(header.get("functional", "")),
        core=core,
        core_radius=core_radius(r, potential, valence),
        channels=_channels(path, header, sections, radius, spacing, momenta),
        local=TabulatedLocal(valence, _ERF_WIDTH, local, alpha),
    )


def upf_header(path: str | os.PathLike[str]) -> dict[str, str]:
    """Returns the header attributes of a UPF file by lower-case name, for any kind of pseudopotential.

    Raises:
        InputError: if the file is missing.
        FileFormatError: if it is not a complete UPF file of version 2.
    """
    return _read(Path(path))[2]


def functional_of(text: str) -> str | None:
    """Returns the name of the functional in a UPF header, or None if the package does not have this functional."""
    words = [word for word in re.split(r"[\s+-]+", text.strip().upper()) if word not in {"", "NOGX", "NOGC"}]
    return _FUNCTIONALS.get(" ".join(words))


def _read(path: Path) -> tuple[bytes, dict[str, UpfSection], dict[str, str]]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give an existing UPF file") from error
    sections = _sections(path, content.decode("utf-8", errors="replace"))
    return content, sections, {k.lower(): v for k, v in _need(path, sections, "PP_HEADER").attributes.items()}


def _channels(
    path: Path,
    header: Mapping[str, str],
    sections: Mapping[str, UpfSection],
    radius: FloatArray,
    spacing: FloatArray,
    momenta: FloatArray,
) -> tuple[ProjectorChannel, ...]:
    stated = _number(path, "number_of_proj", header.get("number_of_proj", ""))
    check_counts(path, sections, stated)
    count = int(stated)
    if count == 0:
        return ()
    degrees, cutoffs, forms = [], [], []
    for index in range(1, count + 1):
        tag = f"PP_BETA.{index}"
        section = _need(path, sections, tag)
        values = _numbers(path, sections, tag)
        if len(values) > len(radius):
            raise FileFormatError(
                f"{path}: {tag} holds {len(values)} values, expected {len(radius)}; use an intact copy"
            )
        degrees.append(int(_number(path, f"{tag} angular_momentum", section.attributes.get("angular_momentum", ""))))
        cutoff = int(_number(path, f"{tag} cutoff_radius_index", section.attributes.get("cutoff_radius_index", "0")))
        cutoffs.append(cutoff if cutoff > 0 else len(radius))
        forms.append(np.pad(values, (0, len(radius) - len(values))) / math.sqrt(BOHR))
    if max(degrees) > 3 or min(degrees) < 0:
        raise InputError(f"{path}: projectors with l = {max(degrees)}, expected 0 to 3; use another pseudopotential")
    coupling = _numbers(path, sections, "PP_DIJ", count**2).reshape(count, count) * RYDBERG
    if np.any(coupling[np.not_equal.outer(degrees, degrees)]) or not np.allclose(coupling, coupling.T):
        raise FileFormatError(f"{path}: PP_DIJ is not symmetric or couples different l; use an intact copy")
    end = _odd(min(max(cutoffs), len(radius)))
    r, weights = radius[:end], simpson_weights(spacing[:end])
    channels = []
    for degree in sorted(set(degrees)):
        chosen = [i for i in range(count) if degrees[i] == degree]
        table = radial_transform(degree, momenta, r, [weights * r * forms[i][:end] for i in chosen])
        block = torch.from_numpy(np.ascontiguousarray(coupling[np.ix_(chosen, chosen)]))
        name = f"l = {degree} projectors of {path.name}"
        channels.append(ProjectorChannel(degree, (block + block.T) / 2, RadialTable(_STEP, table, name)))
    return tuple(channels)


def _refuse_unsupported(path: Path, header: Mapping[str, str], sections: Mapping[str, UpfSection]) -> None:
    kind = header.get("pseudo_type", "").upper()
    wanted = "expected a norm-conserving one; use a file from PseudoDojo or SG15, or pseudopotentials='gth'"
    if kind == "PAW" or flag(path, header, "is_paw"):
        raise InputError(f"{path}: a PAW data set, {wanted}")
    if kind in {"US", "USPP"} or flag(path, header, "is_ultrasoft"):
        raise InputError(f"{path}: an ultrasoft pseudopotential, {wanted}")
    if kind == "1/R" or flag(path, header, "is_coulomb"):
        raise InputError(f"{path}: a bare Coulomb potential, {wanted}")
    if flag(path, header, "has_so") or "PP_SPIN_ORB" in sections:
        raise InputError(f"{path}: a pseudopotential with spin-orbit terms, expected a scalar-relativistic one")
    if kind not in {"NC", "SL"}:
        raise InputError(f"{path}: pseudo_type {kind or 'missing'}, {wanted}")
    if kind == "SL" and header.get("number_of_proj", "0").strip() in {"", "0"}:
        raise InputError(f"{path}: a semilocal pseudopotential without projectors, {wanted}")


def _sections(path: Path, text: str) -> dict[str, UpfSection]:
    root = re.search(r"<UPF\s+version\s*=\s*[\"']\s*([\d.]+)", text)
    if root is None:
        if re.search(r"<PP_HEADER\s*>", text):
            raise InputError(f"{path}: a UPF file of version 1, expected version 2; convert it with upfconv.x")
        raise FileFormatError(f"{path}: not a UPF file (no <UPF version=...>), expected a UPF file of version 2")
    if not root[1].startswith("2."):
        raise InputError(f"{path}: a UPF file of version {root[1]}, expected version 2")
    if not re.search(r"</UPF\s*>", text):
        raise FileFormatError(f"{path}: truncated, </UPF> is missing; copy the file again")
    text = _FREE_TEXT.sub("", text)
    sections: dict[str, UpfSection] = {}
    for match in _TAG.finditer(text):
        body = ""
        if not match[3]:
            end = re.compile(rf"</{re.escape(match[1])}\s*>").search(text, match.end())
            if end is None:
                raise FileFormatError(f"{path}: truncated or altered, </{match[1]}> is missing; copy the file again")
            body = text[match.end() : end.start()]
        pairs = {name: (double or single).strip() for name, double, single in _ATTRIBUTE.findall(match[2])}
        sections.setdefault(match[1], UpfSection(pairs, body))
    return sections


def _need(path: Path, sections: Mapping[str, UpfSection], tag: str) -> UpfSection:
    if tag not in sections:
        raise FileFormatError(
            f"{path}: {tag} is missing, expected a complete UPF file of version 2; copy the file again"
        )
    return sections[tag]


def _numbers(path: Path, sections: Mapping[str, UpfSection], tag: str, expected: int | None = None) -> FloatArray:
    body = _SHORT_EXPONENT.sub(r"E\1", _need(path, sections, tag).body.replace("D", "E").replace("d", "e"))
    try:
        values = real_numbers(body.split())
    except ValueError as error:
        raise FileFormatError(f"{path}: {tag} has text among its numbers ({error}); use an intact copy") from error
    if not np.isfinite(values).all():
        raise FileFormatError(f"{path}: {tag} holds values that are not finite; use an intact copy")
    if np.abs(values).max(initial=0.0) > LARGEST:
        raise FileFormatError(
            f"{path}: {tag} holds {values[np.argmax(np.abs(values))]:g}, expected numbers up to {LARGEST:g}; use an "
            "intact copy"
        )
    if len(values) != (expected or max(len(values), 1)):
        raise FileFormatError(f"{path}: {tag} holds {len(values)} values, expected {expected or 1}; use an intact copy")
    return values


def _number(path: Path, name: str, text: str) -> float:
    try:
        value = float(real_numbers([text.replace("D", "E").replace("d", "e")])[0])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise FileFormatError(f"{path}: {name} is {text or 'missing'}, expected a number; use an intact copy")
    return value


def _odd(count: int) -> int:
    return 2 * ((count + 1) // 2) - 1
