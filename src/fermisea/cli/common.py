"""Consoles, progress bars, tables and files that the commands share.

Results go to standard output; progress and errors go to standard error, so that output can be piped.
"""

from __future__ import annotations

import csv
import io
import json
import math
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

from fermisea.files import check_writable_folder, write_text

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
    """Returns a progress bar on standard error with the elapsed and the remaining time."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("[dim]{task.fields[note]}"),
        console=console or stderr(),
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
    """Writes rows with the same keys as a CSV table; the keys are its header."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: "" if value is None else value for key, value in row.items()} for row in rows)
    write_text(path, stream.getvalue())


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Returns a table whose columns are set flush right but for the first."""
    result = Table(title=title, title_justify="left", header_style="bold")
    for index, column in enumerate(columns):
        result.add_column(column, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        result.add_row(*row)
    return result
