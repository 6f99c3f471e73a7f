"""Consoles, progress bars, tables and files that the commands share.

Results go to standard output; progress and errors go to standard error, so that output can be piped.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from fermisea.errors import InputError
from fermisea.files import check_writable_folder, write_text

_UNITS = {"_eV_per_A": "eV/Å", "_eV": "eV", "_A3": "Å³", "_A": "Å", "temperature": "K"}

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document to standard output, for machines.")]
"""The option that every command has."""


def fail(message: str, status: int) -> int:
    """Prints an error as one line to standard error and returns ``status``."""
    sys.stderr.write(f"fermisea: {' '.join(message.split())}\n")
    return status


def stdout() -> Console:
    """Returns the console for results: nothing coloured by guesswork, nothing wrapped where no terminal's edge is."""
    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)


def stderr() -> Console:
    """Returns the console for progress."""
    return Console(stderr=True, highlight=False)


def progress_bar(console: Console | None = None) -> Progress:
    """Returns a progress bar on standard error; it leaves nothing behind, and shows only on a terminal."""
    console = console or stderr()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("[dim]{task.fields[note]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def print_json(value: Any) -> None:
    """Prints plain data, arrays and paths as JSON; numbers that are not finite become null."""
    sys.stdout.write(json.dumps(plain(value), indent=2, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """Returns ``value`` as JSON can hold it."""
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
    """Returns what ``gth`` or ``Al=Al.upf Be=Be.upf`` mean; None for nothing.

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
    """Returns a number of bytes from words such as 500MB, 4 GB or 2GiB.

    Raises:
        InputError: if it is none.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kMGT]?)(i?)B\s*", text)
    if match is None or float(match[1]) <= 0:
        raise InputError(f"memory: got {text!r}, expected a size such as 500MB or 4GB")
    base = 1024 if match[3] else 1000
    return round(float(match[1]) * base ** " kMGT".index(match[2] or " "))


@contextmanager
def output_folder(folder: Path) -> Iterator[Path]:
    """Makes a folder before long work begins, and removes it again if that fails and it is still empty.

    Raises:
        InputError: if files cannot be made there.
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


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows with the same keys as a CSV table; the keys are its header, and lists become words."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _csv_cell(value) for key, value in row.items()} for row in rows)
    write_text(path, stream.getvalue())


def _csv_cell(value: Any) -> Any:
    if isinstance(value, list):
        return " ".join(str(item) for item in value)
    return "" if value is None else value


def facts(title: str, values: Mapping[str, Any]) -> Table:
    """Returns named values as a table of two columns; names of nested values are joined by dots."""
    result = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    result.add_column(style="bold")
    result.add_column(overflow="fold")
    for name, text in _flat("", values):
        result.add_row(name, text)
    return result


def _flat(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        key = prefix + _label(name)
        if isinstance(value, Mapping):
            yield from _flat(f"{key}.", value)
        elif isinstance(value, Sequence) and value and isinstance(value[0], Mapping):
            yield key, f"{len(value)} entries"
        elif isinstance(value, Sequence) and not isinstance(value, str):
            yield key, " ".join(_text(item) for item in value)
        else:
            yield key, _text(value)


def _label(name: str) -> str:
    for ending, unit in _UNITS.items():
        if name.endswith(ending):
            return f"{name.removesuffix(ending if ending.startswith('_') else '').replace('_', ' ')} ({unit})"
    return name.replace("_", " ")


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.8g}"
    return "-" if value is None else str(value)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Returns a table whose columns are set flush right but for the first."""
    result = Table(title=title, title_justify="left", header_style="bold")
    for index, column in enumerate(columns):
        result.add_column(column, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        result.add_row(*(cell for cell, _ in zip(row, columns, strict=True)))
    return result
