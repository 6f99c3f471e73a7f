"""Valence and core charges for MALA's data, which do not include pseudopotentials, and the assumed broadening."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fermisea.errors import FileFormatError, InputError
from fermisea.interop.mala.calculation import Calculation
from fermisea.physics.broadening import Broadening, pp_broadening
from fermisea.physics.ions import Ion
from fermisea.pseudopotentials import load_upf, upf_header
from fermisea.pseudopotentials.upf import functional_of
from fermisea.utilities.numerals import real_numbers

PseudopotentialFiles = Mapping[str, str | os.PathLike[str]]

_ADDS_UP = 1e-4
"""Largest difference between the total energy of a run and the sum of its parts, eV/atom."""

_WIDTH = 2.0
"""degauss_ldos in units of the energy spacing, as in MALA's own data."""


@dataclass(frozen=True)
class IonData:
    """Data from pseudopotentials.

    Attributes:
        ions: ion of each element.
        functional: exchange-correlation functional, "unknown" if no file states it.
        obstacle: reason why there is no total free energy, None if there is one.
        provenance: name and, if known, SHA-256 of the pseudopotential of each element.
    """

    ions: dict[str, Ion]
    functional: str
    obstacle: str | None
    provenance: dict[str, dict[str, Any]]


def assumed_broadening(spacing: float, broadening: Broadening | None, name: str, *, stacklevel: int) -> Broadening:
    """Returns ``broadening``; if it is None, warns and returns the usual broadening of MALA's data from ``pp.x``.

    MALA needs Fermi-Dirac smearing in the SCF run, and takes the width of its kernel in ``pp.x`` (``degauss_ldos``) to
    be twice the energy spacing.
    """
    if broadening is not None:
        return broadening
    width = _WIDTH * spacing
    assumed = pp_broadening("fermi-dirac", width)
    warnings.warn(
        f"{name}: MALA's files do not say how the LDOS is broadened; assuming the derivative of the Fermi function "
        f"with degauss_ldos = {width:g} eV, twice the energy spacing (standard deviation "
        f"{assumed.standard_deviation:.4g} eV); if pp.x used another broadening, "
        "give broadening=Broadening(kernel, standard_deviation in eV)",
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
        functional: functional of the run; by default the functional of the files.
        name: name of the data, for messages.

    Raises:
        InputError: for a missing file, or a file whose element, valence or functional differs from the run.
        FileFormatError: for an incomplete file.
    """
    symbols = sorted(set(calculation.atoms.symbols))
    files = {symbol: Path(path) for symbol, path in (pseudopotentials or {}).items() if symbol in symbols}
    missing = [symbol for symbol in symbols if symbol not in files]
    if not files and len(symbols) == 1:
        valence = calculation.electrons / len(calculation.atoms)
        named = calculation.pseudopotentials.get(symbols[0], "unknown")
        obstacle = (
            f"MALA's files do not hold the pseudopotential of {symbols[0]} ({named}), which total energies need; "
            f"give pseudopotentials={{{symbols[0]!r}: UPF file}}"
        )
        ions = {symbols[0]: Ion(symbols[0], valence)}
        return IonData(ions, functional or "unknown", obstacle, {symbols[0]: {"name": named}})
    if missing:
        raise InputError(
            f"{name}: no pseudopotential for {', '.join(missing)}, expected a UPF file for each of "
            f"{', '.join(symbols)}, which defines the valence; give pseudopotentials={{{missing[0]!r}: ...}}"
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
                f"{path}: the DFT run used {named}; total energies are correct only if this is the same "
                "pseudopotential",
                stacklevel=4,
            )
        made_for = functional_of(header.get("functional", ""))
        if functional is None and made_for is None:
            raise InputError(
                f"{path}: made for {header.get('functional')!r}, expected a functional of this package; name the "
                "functional of the DFT run with functional="
            )
        functionals.add(functional or str(made_for))
        try:
            potential = load_upf(path)
        except FileFormatError:
            raise
        except (
            InputError
        ) as error:  # ultrasoft, PAW and others: the valence is sufficient for everything except total energies
            obstacles.append(_obstacle(path, str(error)))
            ions[symbol] = Ion(symbol, _valence(path, header.get("z_valence", "")))
            provenance[symbol] = {"name": path.name}
        else:
            ions[symbol] = potential.ion
            provenance[symbol] = {"name": potential.name, "sha256": potential.digest}
    if len(functionals) > 1:
        raise InputError(f"{name}: pseudopotentials for {' and '.join(sorted(functionals))}, expected one functional")
    unknown = _unknown_energy(calculation)
    if unknown is not None:
        obstacles.append(unknown)
    total = math.fsum(ions[symbol].valence for symbol in calculation.atoms.symbols)
    if abs(total - calculation.electrons) > 1e-6 * total:
        raise InputError(
            f"{name}: the pseudopotentials give {total:g} electrons, but the DFT run had {calculation.electrons:g}; "
            "give the files of this run"
        )
    return IonData(ions, functionals.pop(), "; ".join(obstacles) or None, provenance)


def _obstacle(path: Path, error: str) -> str:
    kind = error.removeprefix(f"{path}: ").split(", expected")[0]
    return f"{path.name} is {kind}; total energies need a norm-conserving pseudopotential and an LDOS made with it"


def _valence(path: Path, text: str) -> float:
    try:
        valence = float(real_numbers([text.replace("D", "E").replace("d", "e")])[0])
    except ValueError:
        valence = math.nan
    if not (math.isfinite(valence) and valence > 0):
        raise FileFormatError(
            f"{path}: z_valence is {text or 'missing'}, expected a number above 0; use an intact copy"
        )
    return valence


def _unknown_energy(calculation: Calculation) -> str | None:
    """Returns the obstacle to total energies if the energies of the run do not add up to its total."""
    parts = [calculation.parts.get(name, math.nan) for name in ("one_electron", "hartree", "xc", "ewald")]
    rest = calculation.free_energy - math.fsum(parts) - calculation.entropy_term
    if math.isnan(rest) or abs(rest) <= _ADDS_UP * len(calculation.atoms):
        return None
    return (
        f"the total energy of the DFT run, {calculation.free_energy:.6f} eV, differs by {rest:.6f} eV from the sum of "
        "its parts, so the run has a further energy term such as a van der Waals correction, or the file was altered"
    )
