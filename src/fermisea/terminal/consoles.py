"""Consoles, progress bars and tables."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from fermisea.terminal.labels import LABELS
from fermisea.terminal.whole_words import WholeWordTable
from fermisea.utilities.signs import printable, spell_on, spelt


class PlainConsole(Console):
    """A console that prints every text as it is: without markup, in one line, with signs that its encoding holds."""

    def __init__(self, **options: Any) -> None:
        """Creates a console without highlighting, with the options of ``rich.console.Console``."""
        super().__init__(highlight=False, markup=False, emoji=False, **options)
        spell_on(self.file)

    def print(self, *objects: Any, **options: Any) -> None:
        """Prints objects; each text is one line."""
        super().print(*(printable(item) if isinstance(item, str) else item for item in objects), **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Returns a text in the encoding of the console, so that columns are wide enough for it."""
        return super().render_str(spelt(printable(text, keep="\n"), self.encoding), **options)

    def on_broken_pipe(self) -> None:
        """Ends the program if standard output is closed, but only the progress if standard error is closed."""
        if not self.stderr:
            super().on_broken_pipe()
        self.quiet = True


def stdout() -> Console:
    """Returns the console for results, without line wrapping outside of a terminal."""
    return PlainConsole(soft_wrap=True, width=None if sys.stdout.isatty() else 1000)


def stderr() -> Console:
    """Returns the console for progress."""
    return PlainConsole(stderr=True)


def progress_bar(console: Console | None = None) -> Progress:
    """Returns a progress bar on standard error, which is shown on a terminal only and disappears at the end."""
    console = console or stderr()
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[note]}", style="dim", markup=False),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def facts(title: str, values: Mapping[str, Any]) -> Table:
    """Returns named values as a table of two columns; names of nested values are joined by dots."""
    options = {"title_justify": "left", "show_header": False, "box": None, "pad_edge": False}
    result = WholeWordTable(title=printable(title), whole_cells=False, **options)
    result.add_column(style="bold")
    result.add_column()
    for name, text in _flat("", values):
        result.add_row(printable(name), printable(text))
    return result


def _flat(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        key = prefix + LABELS.get(name, name.replace("_", " "))
        if isinstance(value, Mapping):
            yield from _flat(f"{key}.", value)
        elif isinstance(value, Sequence) and value and isinstance(value[0], Mapping):
            yield key, "1 entry" if len(value) == 1 else f"{len(value)} entries"
        elif isinstance(value, Sequence) and not isinstance(value, str):
            yield key, " ".join(_text(item) for item in value)
        else:
            yield key, _text(value)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.8g}"
    return "-" if value is None else str(value)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Returns a table with right-aligned columns, except the first."""
    result = WholeWordTable(title=printable(title), title_justify="left", header_style="bold")
    for index, column in enumerate(columns):
        result.add_column(column, justify="left" if index == 0 else "right")
    for row in rows:
        result.add_row(*(printable(cell) for cell, _ in zip(row, columns, strict=True)))
    return result
