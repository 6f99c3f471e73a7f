"""``fermisea evaluate``: errors of a model against DFT."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import fermisea
from fermisea.cli.common import Json, output_folder, print_json, progress_bar, stdout, table, write_csv

_ERRORS = (
    ("free_energy_error", "F", 1000, 3),
    ("reference_error", "F(tau_ref), DFT", 1000, 3),
    ("free_energy_change_error", "F - F(tau_ref)", 1000, 3),
    ("entropy_term_error", "-TS", 1000, 3),
    ("fermi_level_error", "mu (meV)", 1000, 2),
    ("density_error_percent", "density (%)", 1, 3),
    ("ldos_error_percent", "LDOS (%)", 1, 2),
)
"""Columns of the table: name, title, factor, digits."""


def evaluate(
    model: Annotated[Path, typer.Argument(help="A model file that 'fermisea train' wrote.")],
    data: Annotated[list[Path], typer.Argument(help="Snapshot files, or folders of them, best unseen in training.")],
    electron_temperature: Annotated[
        list[float] | None, typer.Option(help="tau_e, K.  [dim]\\[default: what the window serves][/]")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the tables and the figure.")] = None,
    json: Json = False,
) -> None:
    """Compare predictions with snapshots, for each ion temperature and electronic temperature.

    Example: [bold]fermisea evaluate al.safetensors data/ --out errors/[/]
    """
    loaded = fermisea.load_model(model)
    snapshots = fermisea.Dataset.load(data)
    with progress_bar() as bar:
        task = bar.add_task("snapshots", total=len(snapshots), note="")
        rows = fermisea.evaluate(
            loaded, snapshots, electron_temperature or None, progress=lambda done, _: bar.update(task, completed=done)
        )
    summary = fermisea.evaluation.summary(rows)
    if out is not None:
        with output_folder(out):
            write_csv(out / "errors.csv", rows)
            write_csv(out / "summary.csv", summary)
            fermisea.plots.save_figure(fermisea.plots.errors_figure(summary), out / "errors")
    if json:
        print_json({"summary": summary, "rows": rows})
        return
    columns = ["tau_i (K)", "tau_e (K)", "snapshots", *(title for name, title, *_ in _ERRORS if name in summary[0])]
    cells = [
        (
            "-" if row["ion_temperature"] is None else f"{row['ion_temperature']:g}",
            f"{row['electron_temperature']:g}",
            str(row["snapshots"]),
            *(f"{unit * row[name]:.{digits}f}" for name, _, unit, digits in _ERRORS if name in row),
        )
        for row in summary
    ]
    stdout().print(table("Root mean square errors; energies in meV/atom", columns, cells))
