"""Output of ``--dry-run``: estimated disk, memory and processor time, without any calculation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from fermisea.cli.common import print_json
from fermisea.terminal import stdout, table
from fermisea.utilities.counts import counted

if TYPE_CHECKING:
    from fermisea.campaign.estimate import Estimate

DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Estimate of disk space, memory and core-hours of the DFT calculations, without a calculation.",
    ),
]


def show_estimates(estimates: Sequence[Estimate], *, workers: int, json: bool) -> None:
    """Prints the estimates as a table with their law and assumptions, or as JSON.

    Args:
        estimates: estimates of all classes of structures, at least one.
        workers: number of structures computed at once.
        json: whether the output is JSON.
    """
    from fermisea.campaign.estimate import law  # noqa: PLC0415  # not needed for --help

    embedded = all(math.isinf(item.memory) for item in estimates)
    place = "memory" if embedded else "disk"
    files = sum(item.structures * item.file_bytes for item in estimates)
    largest = max(item.wavefunction_bytes for item in estimates)
    hours = sum(item.core_hours for item in estimates)
    notes = list(dict.fromkeys(text for item in estimates for text in item.assumptions))
    too_large = [item for item in estimates if not item.fits]
    if json:
        print_json(
            {
                "rows": [item.to_dict() for item in estimates],
                "total": {
                    "file_bytes": files,
                    "wavefunction_bytes_at_once": workers * largest,
                    "core_hours": hours,
                },
                "law": law(),
                "assumptions": notes,
            }
        )
        return
    columns = [
        "structures",
        "tau_ref (K)",
        "k-points",
        "bands",
        "LDOS",
        "files",
        f"wavefunctions ({place})",
        "LDOS memory",
        "core-hours",
    ]
    rows = [
        [
            f"{item.structures} {item.name}",
            f"{item.electron_temperature:g}",
            str(item.kpoints),
            str(item.bands),
            f"{'x'.join(map(str, item.ldos_grid))}, {item.energies} energies",
            _size(item.structures * item.file_bytes),
            _size(item.wavefunction_bytes),
            _size(item.ldos_bytes),
            _hours(item.core_hours),
        ]
        for item in estimates
    ]
    number = sum(item.structures for item in estimates)
    rows.append([f"{number} in all", "", "", "", "", _size(files), "", "", _hours(hours)])
    stdout().print(table("Estimated cost of the DFT calculations", columns, rows))
    stdout().print(
        "files (snapshots) and core-hours: all structures of a row; wavefunctions and LDOS memory: one structure; with "
        f"{counted(workers, 'worker')} the wavefunctions need up to {_size(workers * largest)} of {place} at once",
        soft_wrap=True,
    )
    for item in too_large:
        stdout().print(
            f"{item.name}: the LDOS needs at least {_size(item.ldos_bytes)}, but memory is {_size(item.memory)}; "
            "choose a coarser grid, a narrower energy window, a wider energy spacing, or more memory",
            soft_wrap=True,
        )
    for line in [f"assumption: {text}" for text in notes] + law():
        stdout().print(line, soft_wrap=True)


def _size(number: float) -> str:
    """Returns a number of bytes with a unit."""
    power = min(max(int(math.log10(max(number, 1.0)) // 3), 2), 5)
    return f"{number / 1000**power:.3g} {' kMGTP'[power]}B"


def _hours(hours: float) -> str:
    """Returns a number of core-hours with two digits."""
    digits = f"{float(f'{hours:.2g}'):,.0f}" if hours >= 10 else f"{hours:.2g}"
    return digits.replace(",", " ")
