"""Valence and core charges for MALA's data, which do not hold the pseudopotential, and the assumed broadening."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fermisea.errors import FileFormatError, InputError
from fermisea.grid import Broadening
from fermisea.interop.mala.calculation import Calculation
from fermisea.physics.broadening import pp_broadening
from fermisea.physics.ions import Ion
from fermisea.pseudopotentials import load_upf, upf_header
from fermisea.pseudopotentials.upf import functional_of

PseudopotentialFiles = Mapping[str, str | os.PathLike[str]]

_WIDTH = 2.0
"""degauss_ldos in spacings of the energy grid, as MALA's own data have it."""


@dataclass(frozen=True)
class IonData:
    """What pseudopotentials say.

    Attributes:
        ions: of each element.
        functional: exchange-correlation functional, "unknown" if no file says it.
        obstacle: why there is no total free energy, None if there is one.
        provenance: for each element the name and, where known, SHA-256 of its pseudopotential.
    """

    ions: dict[str, Ion]
    functional: str
    obstacle: str | None
    provenance: dict[str, dict[str, Any]]


def assumed_broadening(spacing: float, broadening: Broadening | None, name: str, *, stacklevel: int) -> Broadening:
    """Returns ``broadening``; without it, warns and returns that of ``pp.x`` as MALA's data are usually made.

    MALA needs Fermi-Dirac smearing in the SCF run, and takes the width of its kernel in ``pp.x`` (``degauss_ldos``) to
    be twice the energy spacing.
    """
    if broadening is not None:
        return broadening
    width = _WIDTH * spacing
    assumed = pp_broadening("fermi-dirac", width)
    warnings.warn(
        f"{name}: MALA's files do not say how the LDOS is broadened; assumed is the derivative of the Fermi function "
        f"with degauss_ldos = {width:g} eV, twice the energy spacing (standard deviation "
        f"{assumed.standard_deviation:.4g} eV); give broadening=Broadening(kernel, standard_deviation in eV) "
        "if pp.x ran otherwise",
        stacklevel=stacklevel,
    )
    return assumed


def ion_data(
    calculation: Calculation, pseudopotentials: PseudopotentialFiles | None, functional: str | None, name: str
) -> IonData:
    """Returns the ions of a DFT run.

    Args:
        calculation: the run.
        pseudopotentials: UPF file of each element, of any kind; without them there are no total free energies.
        functional: of the run; without it, that of the files.
        name: of the data, for messages.

    Raises:
        InputError: for a file that is missing, or of another element, valence or functional than the run.
        FileFormatError: for a file that is not whole.
    """
    symbols = sorted(set(calculation.atoms.symbols))
    files = {symbol: Path(path) for symbol, path in (pseudopotentials or {}).items() if symbol in symbols}
    missing = [symbol for symbol in symbols if symbol not in files]
    if not files and len(symbols) == 1:
        valence = calculation.electrons / len(calculation.atoms)
        named = calculation.pseudopotentials.get(symbols[0], "unknown")
        obstacle = (
            f"MALA's files do not hold the pseudopotential of {symbols[0]} ({named}), which total energies need; "
            f"give pseudopotentials={{{symbols[0]!r}: its UPF file}}"
        )
        ions = {symbols[0]: Ion(symbols[0], valence)}
        return IonData(ions, functional or "unknown", obstacle, {symbols[0]: {"name": named}})
    if missing:
        raise InputError(
            f"{name}: no pseudopotential for {', '.join(missing)}, expected a UPF file for each of "
            f"{', '.join(symbols)} to know its valence; give pseudopotentials={{{missing[0]!r}: ...}}"
        )
    return _from_files(calculation, files, functional, name)


def _from_files(calculation: Calculation, files: Mapping[str, Path], functional: str | None, name: str) -> IonData:
    ions: dict[str, Ion] = {}
    provenance: dict[str, dict[str, Any]] = {}
    obstacles: list[str] = []
    functionals = {functional} if functional else set()
    for symbol, path in files.items():
        header = upf_header(path)
        element = header.get("element", "").capitalize()
        if element != symbol:
            raise InputError(f"{path}: a pseudopotential of {element or 'no element'}, expected one of {symbol}")
        named = calculation.pseudopotentials.get(symbol)
        if named not in (None, path.name):
            warnings.warn(
                f"{path}: the DFT run used {named}; total energies are right only if this is the same pseudopotential",
                stacklevel=4,
            )
        made_for = functional_of(header.get("functional", ""))
        if functional is None and made_for is None:
            raise InputError(
                f"{path}: made for {header.get('functional')!r}, expected a functional of this package; name that of "
                "the DFT run with functional="
            )
        functionals.add(functional or str(made_for))
        try:
            potential = load_upf(path)
        except FileFormatError:
            raise
        except InputError as error:  # ultrasoft, PAW and others: their valence serves all but total energies
            obstacles.append(_obstacle(path, str(error)))
            ions[symbol] = Ion(symbol, _valence(path, header.get("z_valence", "")))
            provenance[symbol] = {"name": path.name}
        else:
            ions[symbol] = potential.ion
            provenance[symbol] = {"name": potential.name, "sha256": potential.digest}
    if len(functionals) > 1:
        raise InputError(f"{name}: pseudopotentials for {' and '.join(sorted(functionals))}, expected one functional")
    total = math.fsum(ions[symbol].valence for symbol in calculation.atoms.symbols)
    if abs(total - calculation.electrons) > 1e-6 * total:
        raise InputError(
            f"{name}: the pseudopotentials give {total:g} electrons, but the DFT run had {calculation.electrons:g}; "
            "give the files of that run"
        )
    return IonData(ions, functionals.pop(), "; ".join(obstacles) or None, provenance)


def _obstacle(path: Path, error: str) -> str:
    kind = error.removeprefix(f"{path}: ").split(", expected")[0]
    return f"{path.name} is {kind}; total energies need a norm-conserving pseudopotential and an LDOS made with it"


def _valence(path: Path, text: str) -> float:
    try:
        return float(text.replace("D", "E").replace("d", "e"))
    except ValueError as error:
        raise FileFormatError(f"{path}: z_valence is {text or 'missing'}, expected a number") from error
