"""Norm-conserving pseudopotentials: the shipped Gaussian table and UPF files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from fermisea.errors import InputError
from fermisea.pseudopotentials.base import ProjectorChannel, Pseudopotential
from fermisea.pseudopotentials.gth import load_gth
from fermisea.pseudopotentials.upf import MOMENTUM, load_upf

__all__ = ["ProjectorChannel", "Pseudopotential", "load", "load_gth", "load_upf"]

_GTH_NAME = re.compile(r"[A-Z][a-z]?-q\d+")


def load(
    source: str | Mapping[str, str | os.PathLike[str]],
    symbols: Iterable[str],
    functional: str,
    *,
    momentum: float = MOMENTUM,
    allow_other_functional: bool = False,
) -> dict[str, Pseudopotential]:
    """Returns the pseudopotential of each element.

    Args:
        source: "gth" for the shipped table's defaults, or for each element a UPF file, "gth", or a name of the table such as "Mg-q2".
        symbols: elements, repeated at will.
        functional: exchange-correlation functional of the calculation.
        momentum: highest momentum that potentials from files will be asked at, 1/Angstrom.
        allow_other_functional: take files made for another functional.

    Raises:
        InputError: if an element has no pseudopotential, a file is missing or of the wrong kind, element or functional.
    """
    wanted = sorted(set(symbols))
    if isinstance(source, str):
        if source.lower() != "gth":
            raise InputError(
                f"pseudopotentials: got {source!r}, expected 'gth' or a mapping such as {{'Al': 'Al.upf'}}"
            )
        source = dict.fromkeys(wanted, "gth")
    missing = [symbol for symbol in wanted if symbol not in source]
    if missing:
        given = ", ".join(source) or "none"
        raise InputError(
            f"pseudopotentials: none for {', '.join(missing)}, got only {given}; add a UPF file or 'gth' for each element"
        )
    loaded = {}
    for symbol in wanted:
        choice = source[symbol]
        if isinstance(choice, str) and choice.lower() == "gth":
            potential = load_gth(symbol, functional)
        elif isinstance(choice, str) and _GTH_NAME.fullmatch(choice) and not Path(choice).exists():
            potential = load_gth(choice, functional)
        else:
            potential = load_upf(choice, momentum)
        if potential.symbol != symbol:
            raise InputError(f"pseudopotential {choice}: made for {potential.symbol}, given for {symbol}; exchange it")
        if potential.functional != functional and not allow_other_functional:
            raise InputError(
                f"pseudopotential {choice}: made for functional {potential.functional or 'unknown'}, the calculation uses "
                f"{functional}; take a matching file or allow another functional"
            )
        loaded[symbol] = potential
    return loaded
