"""Properties of the UPF files of a pw.x run: charges, functional, and whether total energies are available."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fermisea.errors import FileFormatError, InputError
from fermisea.physics.ions import Ion
from fermisea.physics.xc import functional
from fermisea.pseudopotentials import load_upf, upf_header
from fermisea.pseudopotentials.upf import functional_of

_KINDS = {"US": "an ultrasoft pseudopotential", "USPP": "an ultrasoft pseudopotential", "PAW": "a PAW dataset"}


@dataclass(frozen=True, eq=False)
class Potentials:
    """The pseudopotentials of a run.

    Attributes:
        files: file of each element.
        ions: charge and core density of each element.
        core_radii: core radius of each norm-conserving pseudopotential, Angstrom.
        local_integrals: integral of V_loc(r) + Z e^2/r of each norm-conserving pseudopotential, eV Angstrom^3.
        functional: functional of the run.
        obstacle: reason why there are no total free energies, None if there are.
        provenance: name, SHA-256 and number of valence electrons for each element.
    """

    files: dict[str, Path]
    ions: dict[str, Ion]
    core_radii: dict[str, float]
    local_integrals: dict[str, float]
    functional: str
    obstacle: str | None
    provenance: dict[str, dict[str, Any]]


def load_potentials(files: Mapping[str, str | Path], symbols: Iterable[str], xc: str | None) -> Potentials:
    """Returns the pseudopotentials of some elements.

    Args:
        files: UPF file of each element.
        symbols: elements, possibly repeated.
        xc: functional of the run; None for the functional of the files.

    Raises:
        InputError: for a missing file, a file of another element, spin-orbit terms, or files of several functionals.
    """
    wanted = sorted(set(symbols))
    missing = [symbol for symbol in wanted if symbol not in files]
    if missing:
        raise InputError(
            f"pseudopotentials: got {', '.join(files) or 'no element'}, but none for {', '.join(missing)}; "
            "add a UPF file for each missing element"
        )
    paths = {symbol: Path(files[symbol]) for symbol in wanted}
    ions: dict[str, Ion] = {}
    core_radii: dict[str, float] = {}
    local_integrals: dict[str, float] = {}
    provenance: dict[str, dict[str, Any]] = {}
    made_for: dict[str, str | None] = {}
    obstacles = []
    for symbol, path in paths.items():
        header = upf_header(path)
        element = header.get("element", "").capitalize()
        if element != symbol:
            raise InputError(f"{path}: a pseudopotential of {element or 'no element'}, expected one of {symbol}")
        made_for[symbol] = functional_of(header.get("functional", ""))
        kind = _KINDS.get(header.get("pseudo_type", "").upper())
        if kind is None:
            potential = load_upf(path)
            ions[symbol], core_radii[symbol] = potential.ion, potential.core_radius
            local_integrals[symbol] = float(potential.local(torch.zeros((), dtype=torch.float64)))
        else:
            if header.get("has_so", "f").lower().strip(".") in {"t", "true", "1"}:
                raise InputError(f"{path}: a pseudopotential with spin-orbit terms, expected a scalar-relativistic one")
            ions[symbol] = Ion(symbol, _valence(path, header.get("z_valence", "")))
            obstacles.append(f"{path.name} is {kind}")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        provenance[symbol] = {"name": path.name, "sha256": digest, "valence": ions[symbol].valence}
    obstacle = "; ".join(obstacles)
    return Potentials(
        files=paths,
        ions=ions,
        core_radii=core_radii,
        local_integrals=local_integrals,
        functional=functional(xc).name if xc is not None else _common(made_for, paths),
        obstacle=f"{obstacle}; use norm-conserving ones, such as PseudoDojo or SG15" if obstacle else None,
        provenance=provenance,
    )


def _common(made_for: Mapping[str, str | None], paths: Mapping[str, Path]) -> str:
    for symbol, name in made_for.items():
        if name is None:
            raise InputError(
                f"{paths[symbol]}: made for a functional outside this package, expected lda, pz, pbe or pbesol; use "
                "another file, or choose one of these with xc="
            )
    names = sorted({str(name) for name in made_for.values()})
    if len(names) > 1:
        raise InputError(
            f"pseudopotentials: made for {' and '.join(names)}, expected one functional; choose it with xc="
        )
    return names[0]


def _valence(path: Path, text: str) -> float:
    try:
        value = float(text.replace("D", "E").replace("d", "e"))
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise FileFormatError(f"{path}: z_valence is {text or 'missing'}, expected a number; use an intact copy")
    return value
