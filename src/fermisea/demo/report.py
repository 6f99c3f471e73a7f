"""Output of the demonstration: numbers, figures and a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from fermisea import plots
from fermisea.data.snapshot import Snapshot
from fermisea.demo.settings import DemoSettings
from fermisea.demo.steps import DftPoint
from fermisea.physics.error_measures import ERROR_MEASURES, percent_error
from fermisea.physics.registry import FORMS, OBSERVABLES, milli
from fermisea.prediction.result import Prediction


def compare(prediction: Prediction, points: dict[float, DftPoint]) -> list[dict[str, float]]:
    """Returns prediction and DFT at each tau_e; energies for the cell, differences in meV/atom."""
    n = len(prediction.atoms)
    at = {t: int(np.argmin(np.abs(prediction.electron_temperature - t))) for t in points}
    coldest = min(points)
    rows = []
    for temperature, dft in points.items():
        predicted = {form: prediction.free_energy_by(form)[at[temperature]] for form in FORMS}
        start = {form: prediction.free_energy_by(form)[at[coldest]] for form in FORMS}
        change = dft.free_energy - points[coldest].free_energy
        error = {form: 1000 * (predicted[form] - start[form] - change) / n for form in FORMS}
        density = prediction.density[at[temperature]]
        rows.append(
            {
                "electron_temperature": temperature,
                "free_energy_dft": dft.free_energy,
                "free_energy_predicted": float(predicted["second_order"]),
                "free_energy_error_meV_per_atom": 1000 * (float(predicted["second_order"]) - dft.free_energy) / n,
                "free_energy_change_dft_meV_per_atom": 1000 * change / n,
                **{f"change_error_{form}_meV_per_atom": float(error[form]) for form in FORMS},
                "transfer_error_meV_per_atom": 1000 * float(prediction.transfer_error[at[temperature]]) / n,
                "fermi_level_dft": dft.fermi_level,
                "fermi_level_predicted": float(prediction.fermi_level[at[temperature]]),
                "density_error_percent": percent_error(density, dft.density),
            }
        )
    return rows


def draw(
    settings: DemoSettings,
    prediction: Prediction,
    unseen: Snapshot,
    rows: list[dict[str, float]],
    errors: list[dict[str, Any]],
    folder: Path,
) -> None:
    """Plots free energy, density of states and errors in a folder.

    Args:
        settings: settings of the demonstration.
        prediction: prediction for the test structure.
        unseen: snapshot of the test structure.
        rows: rows of :func:`compare`.
        errors: errors from :func:`fermisea.analysis.evaluation.evaluate`, marked ``unseen``.
        folder: folder of the PNG and SVG files.
    """
    n = len(unseen.atoms)
    title = rf"Al, unseen structure at $\tau_i$ = {settings.test_ion_temperature:g} K"
    figure = plots.free_energy_figure(
        prediction.electron_temperature,
        prediction.free_energy / n,
        dft={row["electron_temperature"]: row["free_energy_dft"] / n for row in rows},
        transfer_error=prediction.transfer_error / n,
        spread=None if prediction.uncertainty is None else prediction.uncertainty.free_energy_change / n,
        reference_electron_temperature=settings.reference_electron_temperature,
        title=title,
    )
    plots.save_figure(figure, folder / "free_energy")
    figure = plots.dos_figure(
        prediction.energies,
        prediction.dos / n,
        [row["electron_temperature"] for row in rows],
        [row["fermi_level_predicted"] for row in rows],
        dft=unseen.dos / n,
        title=title,
    )
    plots.save_figure(figure, folder / "density_of_states")
    plots.save_figure(plots.errors_figure(errors, title="Al, model against the LDOS of DFT"), folder / "errors")


def print_table(settings: DemoSettings, rows: list[dict[str, float]], atoms: int, out: Path, console: Console) -> None:
    """Prints the comparison; energies per atom."""
    coldest = rows[0]["electron_temperature"]
    table = Table(
        title=f"Al, a structure at tau_i = {settings.test_ion_temperature:g} K outside the training data. "
        f"Trained at tau_e = {settings.reference_electron_temperature:g} K only.\n"
        f"dF = F(tau_e) - F({coldest:g} K)",
        title_justify="left",
        title_style="",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    energy, temperature = OBSERVABLES["free_energy"], OBSERVABLES["electron_temperature"]
    unit = energy.unit_of(per_atom=True)
    _, small = milli(unit)
    for quantity, shown in (
        (temperature.symbol, temperature.unit),
        (f"{energy.symbol}, DFT", unit),
        (f"{energy.symbol}, model", unit),
        (f"error of {energy.symbol}", small),
        (f"d{energy.symbol}, DFT", small),
        (f"d{energy.symbol}, model", small),
        (f"error of d{energy.symbol}", small),
        ("density error", ERROR_MEASURES["density_error_percent"].unit),
    ):
        table.add_column(f"{quantity}\n{shown}", justify="right", no_wrap=True)
    for row in rows:
        change, error = row["free_energy_change_dft_meV_per_atom"], row["change_error_second_order_meV_per_atom"]
        table.add_row(
            f"{row['electron_temperature']:g}",
            f"{row['free_energy_dft'] / atoms:.5f}",
            f"{row['free_energy_predicted'] / atoms:.5f}",
            f"{row['free_energy_error_meV_per_atom']:+.2f}",
            f"{change:.2f}",
            f"{change + error:.2f}",
            f"{error:+.3f}",
            f"{row['density_error_percent']:.2f}",
        )
    console.print()
    console.print(table)
    console.print(f"all numbers: {out / 'summary.json'}; figures: {out / 'figures'}")
