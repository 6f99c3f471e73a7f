"""``fermisea evaluate``: errors of a model against DFT."""

from __future__ import annotations

from contextlib import nullcontext
from json import dumps
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

import fermisea
from fermisea.cli.common import Device, Json, ModelFile, ThermalXc, UseTail, output_folder, plain, print_json
from fermisea.physics.error_measures import ERROR_MEASURES, evaluation_heads
from fermisea.physics.registry import OBSERVABLES, milli, with_unit
from fermisea.terminal import progress_bar, stdout, table
from fermisea.utilities.counts import counted
from fermisea.utilities.files import check_writable_folder, write_text
from fermisea.utilities.tables import write_csv

_SHOWN = {
    "free_energy_error": 3,
    "free_energy_change_error": 3,
    "reference_error": 3,
    "anchored_free_energy_error": 3,
    "potential_free_energy_error": 3,
    "entropy_term_error": 3,
    "fermi_level_error": 2,
    "density_error_percent": 3,
    "ldos_error_percent": 2,
}
"""Errors in the printed table and their decimals."""


def evaluate(
    model: ModelFile,
    data: Annotated[
        list[Path],
        typer.Argument(help="Snapshot files or folders of snapshot files, preferably outside the training data."),
    ],
    electron_temperature: Annotated[
        list[float] | None,
        typer.Option(
            help="One or more electronic temperatures (tau_e), K.  [dim]\\[default: tau_ref, 300, 1000, 3000 and "
            "10000 K, up to the limit of the window][/]"
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for tables and figures.  [dim]\\[default: no files][/]")
    ] = None,
    tail: UseTail = True,
    thermal_xc: ThermalXc = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Compare predictions with snapshots at each ionic and electronic temperature.

    Example: [bold]fermisea evaluate al.safetensors data/ --out errors/[/]
    """
    loaded = fermisea.load_model(model)
    datasets = fermisea.Dataset.load_each(data)
    found: list[dict[str, Any]] = []
    with nullcontext() if out is None else output_folder(out), progress_bar() as bar:
        task = bar.add_task("snapshots", total=sum(map(len, datasets)), note="")
        for dataset in datasets:
            rows = fermisea.evaluate(
                loaded,
                dataset,
                electron_temperature or None,
                tail=tail,
                thermal_xc=thermal_xc,
                device=device,
                progress=lambda *_: bar.advance(task),
            )
            found.append(_results(rows, dataset, loaded, thermal_xc))
    for results in found:
        tau_ref = results["reference_electron_temperature"]
        if out is not None:
            _write(results, model, out if len(found) == 1 else check_writable_folder(out / f"{tau_ref:g}K"))
        if json:
            continue
        stdout().print(table("Root mean square errors", *_columns(results["summary"], tau_ref)))
        for note in _notes(results):
            stdout().print(note)
        if "calibration" in results:
            stdout().print(_calibration_table(results["calibration"], len(loaded.network.members)))
    if json:
        print_json(found[0] if len(found) == 1 else {"parts": found})


def _results(
    rows: list[dict[str, Any]], dataset: fermisea.Dataset, loaded: fermisea.Model, thermal_xc: str | None
) -> dict[str, Any]:
    """Returns the errors of the snapshots of one tau_ref and their summary."""
    members = len(loaded.network.members)
    rows = [{"file": Path(dataset.names[row["snapshot"]]).name} | row for row in rows]
    results: dict[str, Any] = {
        "reference_electron_temperature": dataset.electron_temperature,
        "summary": fermisea.evaluation.summary(rows),
        "rows": rows,
    }
    if members > 1 and (calibration := fermisea.calibration.calibration(rows, members)):
        results["calibration"] = calibration
    if thermal_xc is not None and thermal_xc.lower() != loaded.functional:
        results |= {"thermal_xc": thermal_xc.lower(), "functional": loaded.functional}
    return results


def _columns(summary: list[dict[str, Any]], reference: float) -> tuple[list[str], list[tuple[str, ...]]]:
    """Returns headings and cells of the table of errors; F(tau_ref) of the LDOS is shown at tau_ref only."""
    shown = {name: ERROR_MEASURES[name] for name in _SHOWN if name in summary[0]}
    scales = {name: milli(measure.unit) for name, measure in shown.items()}
    heads = ["tau_i (K)", "tau_e (K)", "snapshots", "atoms"]
    heads += [with_unit(f"{measure.symbol}\n", scales[name][1]).replace("\n ", "\n") for name, measure in shown.items()]
    cells = [
        (
            "-" if row["ion_temperature"] is None else f"{row['ion_temperature']:g}",
            f"{row['electron_temperature']:g}",
            str(row["snapshots"]),
            row["atoms"],
            *(
                "—"
                if name == "reference_error" and row["electron_temperature"] != reference
                else f"{scale * row[name]:.{_SHOWN[name]}f}"
                for name, (scale, _) in scales.items()
            ),
        )
        for row in summary
    ]
    return heads, cells


def _notes(results: dict[str, Any]) -> list[str]:
    """Returns notes on the reference of each column."""
    summary, reference = results["summary"], results["reference_electron_temperature"]
    found = [f"Errors: prediction minus the value from the LDOS of the snapshot at tau_e; tau_ref is {reference:g} K."]
    if "reference_error" in summary[0]:
        found.append("F(tau_ref) of the LDOS: prediction minus the free energy of the DFT code.")
    if "anchored_free_energy_error" in summary[0]:
        found.append(
            "anchored F, F of the potential: prediction minus the free energy of the DFT code at tau_ref; at another "
            "tau_e, for which the data have no DFT run, F(tau_e) - F(tau_ref) from the LDOS of the snapshot is added."
        )
    if "thermal_xc" in results:
        found.append(
            f"Exchange and correlation: F and -TS at tau_e with {results['thermal_xc']}, prediction and snapshot; "
            f"F(tau_ref) with {results['functional']}."
        )
    return found


def _write(results: dict[str, Any], model: Path, out: Path) -> None:
    """Writes tables, figures and the report sections of an evaluation."""
    from fermisea.report import Section, add_sections  # noqa: PLC0415  # not needed for --help

    rows, summary = results["rows"], results["summary"]
    write_csv(out / "errors.csv", rows, evaluation_heads(rows[0]))
    write_csv(out / "summary.csv", summary, evaluation_heads(summary[0]))
    write_text(out / "errors.json", dumps(plain(results), indent=2) + "\n")
    title = f"model {model.stem}: root mean square errors"
    fermisea.plots.save_figure(fermisea.plots.errors_figure(summary, title=title), out / "errors")
    text = ("Root mean square errors with means and largest values, for each ionic and electronic temperature.",)
    notes = tuple(_notes(results))
    sections = [Section("Errors", text + notes, ("errors.png",), ("summary.csv",))]
    if "calibration" in results:
        calibration = results["calibration"]
        units = {name: ERROR_MEASURES[f"{name}_error"].unit for name in {row["quantity"] for row in calibration}}
        table_rows = [{"quantity": row["quantity"], "unit": units[row["quantity"]]} | row for row in calibration]
        write_csv(out / "calibration.csv", table_rows, evaluation_heads(table_rows[0]))
        title = f"model {model.stem}: error and spread"
        fermisea.plots.save_figure(fermisea.plots.calibration_figure(rows, title=title), out / "calibration")
        text = ("Spread over the networks of the ensemble against the error of their mean.",)
        sections.append(Section("Spread against error", text, ("calibration.png",), ("calibration.csv",)))
    sections.append(Section("Errors of each snapshot", (), (), ("errors.csv",)))
    title = f"Errors of the model {model.stem} on {counted(len({row['file'] for row in rows}), 'snapshot')}"
    add_sections(out, "evaluate", title, sections, f"fermisea {fermisea.__version__}, model {model}")


def _calibration_table(rows: list[dict[str, Any]], members: int) -> Table:
    """Returns a table of the spread of an ensemble against its errors, for F and F - F(tau_ref) where available."""
    present = {row["quantity"] for row in rows}
    shown = [name for name in ("free_energy", "free_energy_change") if name in present] or ["band_energy"]
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
            OBSERVABLES[row["quantity"]].symbol,
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
