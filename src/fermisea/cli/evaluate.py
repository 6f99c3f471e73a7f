"""``fermisea evaluate``: errors of a model against DFT."""

from __future__ import annotations

from contextlib import nullcontext
from json import dumps
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

import fermisea
from fermisea.cli.common import Json, ModelFile, output_folder, plain, print_json
from fermisea.terminal import progress_bar, stdout, table
from fermisea.utilities.files import write_text
from fermisea.utilities.tables import write_csv

_ERRORS = (
    ("free_energy_error", "F", 1000, 3),
    ("reference_error", "F(tau_ref), DFT", 1000, 3),
    ("anchored_free_energy_error", "anchored F, DFT", 1000, 3),
    ("free_energy_change_error", "F - F(tau_ref)", 1000, 3),
    ("entropy_term_error", "-TS", 1000, 3),
    ("fermi_level_error", "mu (meV)", 1000, 2),
    ("density_error_percent", "density (%)", 1, 3),
    ("ldos_error_percent", "LDOS (%)", 1, 2),
)
"""Columns of the table: name, title, factor, digits."""


def evaluate(
    model: ModelFile,
    data: Annotated[list[Path], typer.Argument(help="Snapshot files, or folders of them, best unseen in training.")],
    electron_temperature: Annotated[
        list[float] | None, typer.Option(help="tau_e, K.  [dim]\\[default: what the window serves][/]")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the tables and the figure.")] = None,
    json: Json = False,
) -> None:
    """Compare predictions with snapshots, for each ionic temperature and electronic temperature.

    Example: [bold]fermisea evaluate al.safetensors data/ --out errors/[/]
    """
    loaded = fermisea.load_model(model)
    snapshots = fermisea.Dataset.load(data)
    members = len(loaded.network.members)
    with nullcontext() if out is None else output_folder(out):
        with progress_bar() as bar:
            task = bar.add_task("snapshots", total=len(snapshots), note="")
            rows = fermisea.evaluate(
                loaded,
                snapshots,
                electron_temperature or None,
                progress=lambda done, _: bar.update(task, completed=done),
            )
        rows = [{"file": Path(snapshots.names[row["snapshot"]]).name} | row for row in rows]
        summary = fermisea.evaluation.summary(rows)
        calibration = fermisea.calibration.calibration(rows, members) if members > 1 else []
        results = {"summary": summary, "rows": rows} | ({"calibration": calibration} if calibration else {})
        if out is not None:
            write_csv(out / "errors.csv", rows)
            write_csv(out / "summary.csv", summary)
            write_text(out / "errors.json", dumps(plain(results), indent=2) + "\n")
            fermisea.plots.save_figure(fermisea.plots.errors_figure(summary), out / "errors")
            if calibration:
                write_csv(out / "calibration.csv", calibration)
                fermisea.plots.save_figure(fermisea.plots.calibration_figure(rows), out / "calibration")
    if json:
        print_json(results)
        return
    columns = [
        "tau_i (K)",
        "tau_e (K)",
        "snapshots",
        "atoms",
        *(title for name, title, *_ in _ERRORS if name in summary[0]),
    ]
    cells = [
        (
            "-" if row["ion_temperature"] is None else f"{row['ion_temperature']:g}",
            f"{row['electron_temperature']:g}",
            str(row["snapshots"]),
            row["atoms"],
            *(f"{unit * row[name]:.{digits}f}" for name, _, unit, digits in _ERRORS if name in row),
        )
        for row in summary
    ]
    stdout().print(table("Root mean square errors; energies in meV/atom", columns, cells))
    if calibration:
        stdout().print(_calibration_table(calibration, members))


def _calibration_table(rows: list[dict[str, Any]], members: int) -> Table:
    """Returns what the spread of an ensemble says about its errors, for F, F - F(tau_ref), or what there is of them."""
    present = {row["quantity"] for row in rows}
    shown = [name for name in ("free_energy", "free_energy_change") if name in present] or ["band_energy"]
    titles = {"free_energy": "F", "free_energy_change": "F - F(tau_ref)", "band_energy": "E_b"}
    columns = [
        "",
        "tau_e (K)",
        "mean |error|",
        "median network",
        "spread",
        "correlation",
        "< 1 spread",
        "< 2",
        "factor",
    ]
    cells = [
        (
            titles[row["quantity"]],
            f"{row['electron_temperature']:g}",
            f"{1000 * row['mean_error']:.3f}",
            f"{1000 * row['median_member_error']:.3f}",
            f"{1000 * row['spread']:.3f}",
            "-" if row["spearman"] is None else f"{row['spearman']:+.2f}",
            f"{100 * row['within_one']:.0f} %",
            f"{100 * row['within_two']:.0f} %",
            f"{row['factor']:.2f}",
        )
        for row in rows
        if row["quantity"] in shown
    ]
    one, two = rows[0]["expected_one"], rows[0]["expected_two"]
    title = (
        f"Spread of {members} networks against the error of their mean, meV/atom; rank correlation; "
        f"{100 * one:.0f} and {100 * two:.0f} % would be below 1 and 2 spreads if the truth were one more network"
    )
    return table(title, columns, cells)
