"""``fermisea evaluate``: errors of a model against DFT."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import fermisea
from fermisea.cli.common import Json, output_folder, print_json, progress_bar, stdout, table, write_csv


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
    columns = [
        "tau_i (K)",
        "tau_e (K)",
        "snapshots",
        "F",
        "F(tau_ref), DFT",
        "F - F(tau_ref)",
        "-TS",
        "mu (meV)",
        "density (%)",
        "LDOS (%)",
    ]
    cells = [
        (
            "-" if row["ion_temperature"] is None else f"{row['ion_temperature']:g}",
            f"{row['electron_temperature']:g}",
            str(row["snapshots"]),
            f"{1000 * row['free_energy_error']:.3f}",
            f"{1000 * row['reference_error']:.3f}",
            f"{1000 * row['free_energy_change_error']:.3f}",
            f"{1000 * row['entropy_term_error']:.3f}",
            f"{1000 * row['fermi_level_error']:.2f}",
            f"{row['density_error_percent']:.3f}",
            f"{row['ldos_error_percent']:.2f}",
        )
        for row in summary
    ]
    stdout().print(table("Root mean square errors; energies in meV/atom", columns, cells))
