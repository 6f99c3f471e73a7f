"""Live view of a running campaign: running structures, their progress, failures and remaining time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fermisea.utilities.signs import printable

if TYPE_CHECKING:
    from fermisea.campaign import Outcome, Record

_SHOWN = 12
"""Largest number of rows of running structures, and of failures."""


class CampaignView:
    """Live table on a terminal; elsewhere one line for each finished structure."""

    def __init__(self, console: Console, total: int, workers: int) -> None:
        """Stores the number of structures and the number computed at once."""
        self._console, self._total, self._workers = console, total, workers
        self._running: dict[str, Record] = {}
        self._failed: list[str] = []
        self._counts = {"computed": 0, "kept": 0, "failed": 0}
        self._spent, self._started = 0.0, time.monotonic()
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=2, transient=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def watch(self, record: Record) -> None:
        """Updates the progress of a running structure."""
        self._running = self._running | {record.name: record}

    def end(self, outcome: Outcome) -> None:
        """Stores and prints the result of a structure."""
        self._running = {name: record for name, record in self._running.items() if name != outcome.name}
        self._counts[outcome.status] += 1
        if outcome.status != "kept":
            self._spent += outcome.seconds
        if outcome.snapshot is None:
            self._failed.append(outcome.name)
            line = f"   {outcome.name}: {outcome.error or ''}"
            self._console.print(Text.assemble(("failed", "red"), printable(line)), soft_wrap=True)
            return
        energy = outcome.snapshot.reference.free_energy / len(outcome.snapshot.atoms)
        took = f", {outcome.seconds:.0f} s" if outcome.status == "computed" else ""
        self._console.print(f"{outcome.status:8s} {outcome.name}: F = {energy:.5f} eV/atom{took}", soft_wrap=True)

    def _render(self) -> RenderableType:
        ended = sum(self._counts.values())
        counts = {"done": self._counts["computed"], "kept": self._counts["kept"], "running": len(self._running)}
        counts |= {"failed": self._counts["failed"], "left": max(self._total - ended - len(self._running), 0)}
        line = "  ".join(f"{name} {number}" for name, number in counts.items())
        line += f"  time {clock(time.monotonic() - self._started)}"
        if (left := self._time_left(ended)) is not None:
            line += f"  about {clock(left)} left"
        table = Table(box=None, pad_edge=False, header_style="dim")
        for title in ("running", "iteration", "F (eV/atom)", "residual (eV/atom)", "time"):
            table.add_column(title, justify="left" if title == "running" else "right")
        for record in list(self._running.values())[:_SHOWN]:
            table.add_row(*_cells(record))
        if len(self._running) > _SHOWN:
            table.add_row(f"and {len(self._running) - _SHOWN} more")
        return Group(table, Text(line, style="bold"))

    def _time_left(self, ended: int) -> float | None:
        """Estimated remaining time, s, from the average time of computed structures."""
        fresh = self._counts["computed"] + self._counts["failed"]
        if not (fresh and self._spent):
            return None
        mean = self._spent / fresh
        begun = sum(min(time.time() - record.started, mean) for record in self._running.values())
        return max(mean * (self._total - ended) - begun, 0.0) / self._workers


def clock(seconds: float) -> str:
    """Returns a time as hours:minutes:seconds."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}"


def _cells(record: Record) -> tuple[Any, ...]:
    energy = "" if record.free_energy is None else f"{record.free_energy / record.atoms:.5f}"
    residual = "" if record.residual is None else f"{record.residual:.0e}"
    return printable(record.name), str(record.iteration or ""), energy, residual, clock(time.time() - record.started)
