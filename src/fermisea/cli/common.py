"""Options, plain data and output folders shared by the commands."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from fermisea.errors import InputError
from fermisea.utilities.files import check_writable_folder

Json = Annotated[bool, typer.Option("--json", help="Results as a single JSON document on standard output.")]
"""Option of every command."""


class Origin(StrEnum):
    """Origin of F in a prediction."""

    POTENTIAL = "potential"
    ANCHORED = "anchored"
    LDOS = "ldos"


FreeEnergyOrigin = Annotated[
    Origin | None,
    typer.Option(
        "--free-energy",
        help="Origin of F, S, C_e, forces and stress: interatomic potential at tau_e; anchored, the potential at "
        "tau_ref plus the change with tau_e from the LDOS; or the LDOS alone.  "
        "[dim]\\[default: potential if its pressure is known, otherwise anchored, otherwise ldos][/]",
        show_default=False,
    ),
]
"""Option of commands that print F; None is the default of :meth:`fermisea.Model.predict`."""

Anchor = Annotated[
    bool | None,
    typer.Option("--anchor/--no-anchor", help="Short forms of --free-energy anchored and ldos.", show_default=False),
]
"""Option of commands that print F, a short form of the option above."""

GridShape = Annotated[
    tuple[int, int, int] | None,
    typer.Option(
        help="Three numbers of grid points, one along each lattice vector.  [dim]\\[default: grid spacing of the "
        "training data][/]"
    ),
]
"""Option of commands that predict on a grid."""

AllowOutside = Annotated[
    bool,
    typer.Option("--allow-outside", help="Warning in place of an error for an unphysical structure or energy."),
]
"""Option of commands that predict."""

UseTail = Annotated[
    bool,
    typer.Option("--tail/--no-tail", help="Free electrons above the energy window, which let tau_e exceed its limit."),
]
"""Option of commands that predict."""

ThermalXc = Annotated[
    str | None,
    typer.Option(
        "--thermal-xc",
        help="Exchange-correlation functional of F at tau_e, for example kdt16 for a model of pbe.  "
        "[dim]\\[default: functional of the model][/]",
        show_default=False,
    ),
]
"""Option of commands that predict F."""

Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="Device of networks and descriptors: cpu, cuda or, for one of several, cuda:1.  [dim]\\[default: cpu][/]",
        show_default=False,
    ),
]
"""Option of commands that predict."""

AllowBeyondWindow = Annotated[
    bool,
    typer.Option(
        "--allow-beyond-window", help="Warning in place of an error for tau_e that the energy window does not serve."
    ),
]
"""Option of commands that predict."""

AllowClosureError = Annotated[
    bool,
    typer.Option(
        "--allow-closure-error",
        help="Warning in place of an error where F of an LDOS and F of its DFT run differ by more than 5 meV/atom.",
    ),
]
"""Option of commands that read the energies of DFT runs."""

ModelFile = Annotated[
    Path,
    typer.Argument(help="Model file from 'fermisea train', or [bold]aluminium[/] for the shipped model."),
]
"""Argument of commands that use a model."""


def print_json(value: Any) -> None:
    """Prints plain data, arrays and paths as JSON; numbers that are not finite become null."""
    sys.stdout.write(json.dumps(plain(value), indent=2, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """Returns ``value`` as plain data for JSON."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def pseudopotential_files(words: list[str] | None) -> str | dict[str, str] | None:
    """Returns the meaning of ``gth`` or ``Al=Al.upf Be=Be.upf``; None for no words.

    Raises:
        InputError: for other words.
    """
    if not words:
        return None
    if len(words) == 1 and "=" not in words[0]:
        return words[0]
    pairs = [word.partition("=") for word in words]
    for symbol, equals, file in pairs:
        if not (symbol and equals and file):
            raise InputError(
                f"pseudopotentials: got {symbol + equals + file!r}, expected gth, or SYMBOL=FILE for each element"
            )
    return {symbol: file for symbol, _, file in pairs}


def bytes_of(text: str) -> int:
    """Returns a number of bytes from a text such as 500MB, 4 GB or 2GiB.

    Raises:
        InputError: for any other text.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kMGT]?)(i?)B\s*", text)
    if match is None or float(match[1]) <= 0:
        raise InputError(f"memory: got {text!r}, expected a size such as 500MB or 4GB")
    base = 1024 if match[3] else 1000
    return round(float(match[1]) * base ** " kMGT".index(match[2] or " "))


@contextmanager
def output_folder(folder: Path) -> Iterator[Path]:
    """Creates a folder before a long computation, and removes it if the computation fails and the folder is empty.

    Raises:
        InputError: if files cannot be created in the folder.
    """
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    check_writable_folder(folder)
    try:
        yield folder
    except BaseException:
        for place in new:
            with suppress(OSError):
                place.rmdir()
        raise
