"""Norm-conserving pseudopotentials: the shipped Gaussian table and UPF files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from fermisea.errors import InputError
from fermisea.pseudopotentials.base import FAMILIES, ProjectorChannel, Pseudopotential
from fermisea.pseudopotentials.frozen import FrozenShell, frozen_shell
from fermisea.pseudopotentials.gth import affordable, load_gth
from fermisea.pseudopotentials.upf import MOMENTUM, load_upf, upf_header

__all__ = [
    "MOMENTUM",
    "FrozenShell",
    "ProjectorChannel",
    "Pseudopotential",
    "frozen_shell",
    "load",
    "load_gth",
    "load_upf",
    "upf_header",
]

_GTH_NAME = re.compile(r"[A-Z][a-z]?-q\d+")


def load(
    source: str | Mapping[str, str | os.PathLike[str]] | None,
    symbols: Iterable[str],
    functional: str,
    *,
    momentum: float = MOMENTUM,
    allow_other_functional: bool = False,
) -> dict[str, Pseudopotential]:
    """Returns the pseudopotential of each element.

    Args:
        source: "gth" for the defaults of the shipped table; or for each element a UPF file, "gth", or a name in the
            table such as "Mg-q2"; None for the shipped table, with the softer potential of an element whose default
            needs a cutoff above 4000 eV.
        symbols: elements, possibly repeated.
        functional: exchange-correlation functional of the calculation.
        momentum: highest momentum at which potentials from files are evaluated, 1/Angstrom.
        allow_other_functional: whether files made for another functional are accepted; "lda" and "pz", and "pbe" and
            "pbesol", share pseudopotentials in any case.

    Raises:
        InputError: if an element has no pseudopotential, a file is missing or of the wrong kind, element or functional.
    """
    wanted = sorted(set(symbols))
    if source is None:
        source = {symbol: affordable(symbol, functional) for symbol in wanted}
    if isinstance(source, str):
        if source.lower() != "gth":
            raise InputError(
                f"pseudopotentials: got {source!r}, expected 'gth' or a mapping such as {{'Al': 'Al.upf'}}"
            )
        source = dict.fromkeys(wanted, "gth")
    missing = [symbol for symbol in wanted if symbol not in source]
    if missing:
        raise InputError(
            f"pseudopotentials: got {', '.join(source) or 'no element'}, but none for {', '.join(missing)}; "
            "add a UPF file or 'gth' for each missing element"
        )
    loaded = {}
    for symbol in wanted:
        choice = source[symbol]
        potential = _from_table(choice, symbol, functional)
        if potential is None:
            potential = load_upf(choice, momentum)
            if not allow_other_functional:
                _check_functional(choice, potential.functional, functional)
        if potential.symbol != symbol:
            raise InputError(f"{choice}: a pseudopotential of {potential.symbol}, expected one of {symbol}")
        loaded[symbol] = potential
    return loaded


def _from_table(choice: str | os.PathLike[str], symbol: str, functional: str) -> Pseudopotential | None:
    if not isinstance(choice, str):
        return None
    if choice.lower() == "gth":
        return load_gth(symbol, functional)
    return load_gth(choice, functional) if _GTH_NAME.fullmatch(choice) and not Path(choice).exists() else None


def _check_functional(choice: str | os.PathLike[str], got: str | None, functional: str) -> None:
    fitting = [name for name, family in FAMILIES.items() if family == FAMILIES.get(functional)]
    if got not in fitting:
        made_for = f"functional {got}" if got else "a functional outside this package"
        raise InputError(
            f"{choice}: made for {made_for}, expected {' or '.join(fitting) or functional}; "
            "use a matching file or allow_other_functional=True"
        )
