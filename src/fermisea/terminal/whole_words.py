"""Tables for narrow terminals, in which no number and no word is cut."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Column, Table


class WholeWordTable(Table):
    """A table whose texts break at spaces only.

    A table that is too wide for the console first breaks its heads, and then loses its frame. A table that is still too
    wide has lines longer than the console.
    """

    def __init__(self, *, whole_cells: bool = True, **options: Any) -> None:
        """Creates a table.

        Args:
            whole_cells: whether only heads may break; otherwise, the texts in the cells may break, too.
            options: options of ``rich.table.Table``.
        """
        super().__init__(**options)
        self._whole_cells = whole_cells

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Renders the table, with lines longer than the console if necessary."""
        bounds = [self._bounds(console, column) for column in self.columns]
        least, widths = [bound.minimum for bound in bounds], [bound.maximum for bound in bounds]
        fitted, whole = copy(self), sum(widths)
        room = options.max_width - (_measured(console, self).maximum - whole)
        if self.box is not None and sum(least) > room:
            fitted.box, fitted.show_edge, fitted.pad_edge, fitted.padding = box.SIMPLE_HEAD, False, False, (0, 1, 0, 0)
            room = options.max_width - (_measured(console, fitted).maximum - whole)
        while sum(widths) > max(room, sum(least)):
            slack = [width - low for width, low in zip(widths, least, strict=True)]
            widths[slack.index(max(slack))] -= 1
        fitted.columns = [replace(column, width=width) for column, width in zip(self.columns, widths, strict=True)]
        full = options.max_width + max(sum(widths) - room, 0)
        yield from Table.__rich_console__(fitted, console, options.update(width=full))

    def _bounds(self, console: Console, column: Column) -> Measurement:
        """Returns the widths of a column with all permitted breaks and without breaks."""
        head, cells = _measured(console, column.header), [_measured(console, cell) for cell in column.cells]
        low = [cell.maximum if self._whole_cells else cell.minimum for cell in cells]
        return Measurement(max([head.minimum, *low]), max([head.maximum, *(cell.maximum for cell in cells)]))


def _measured(console: Console, item: RenderableType) -> Measurement:
    return Measurement.get(console, console.options.update(max_width=1_000_000), item)
