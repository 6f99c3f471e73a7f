"""Figures of the study, each from the rows of one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fermisea.plots.style import GREY, INK, MODEL, mark, panels_figure, plain_numbers, temperature_colours
from fermisea.studies.transfer.tables import COLUMNS

Row = Mapping[str, Any]
_TAU_I, _TAU_E = r"ionic temperature $\tau_i$ (K)", r"electronic temperature $\tau_e$ (1000 K)"
_CHANGE = r"F(\tau_e)-F(\tau_{\mathrm{ref}})"


def free_energy_against_ions(rows: Sequence[Row]) -> Figure:
    """Returns F at tau_ref against tau_i, of DFT and models, relative to the lowest DFT value, and differences."""
    ions = [row["ion_temperature"] for row in rows]
    names = [name for name in rows[0] if name not in ("ion_temperature", "dft")]
    dft = np.array([row["dft"] for row in rows])
    colours = temperature_colours(range(len(names)))
    with panels_figure(2, (1.6, 1.0), 4.2) as (figure, (top, bottom)):
        for index, name in enumerate(names):
            values = np.array([row[name] for row in rows])
            style: dict[str, Any] = {"color": colours[index], "linestyle": "-" if "anchored" in name else "--"}
            top.plot(ions, 1000 * (values - dft.min()), label=name, linewidth=1.1, **style)
            bottom.plot(ions, 1000 * (values - dft), linewidth=1.1, marker="o", markersize=2.5, **style)
        top.plot(ions, 1000 * (dft - dft.min()), **mark("o"), label="DFT")
        bottom.axhline(0, color=GREY, linewidth=0.7)
        top.set_ylabel("F (meV/atom)")
        bottom.set_ylabel("model − DFT\n(meV/atom)")
        bottom.set_xlabel(_TAU_I)
        figure.legend(*top.get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=7)
    return figure


def free_energy_against_electrons(rows: Sequence[Row], *, title: str) -> Figure:
    """Returns F against tau_e: DFT, the second-order and naive forms, and the regular model; below, the errors."""
    temperature = np.array([row["electron_temperature"] for row in rows]) / 1000
    known = [k for k, row in enumerate(rows) if row["dft"] is not None]
    dft = np.array([rows[k]["dft"] for k in known])
    styles = {"second_order": (MODEL, "-"), "naive": ("#c4570a", "--"), "regular": (GREY, ":")}
    with panels_figure(2, (1.6, 1.0), 4.4) as (figure, (top, bottom)):
        start = rows[0]["second_order"]
        for name, (colour, line) in styles.items():
            values = np.array([row[name] for row in rows])
            top.plot(temperature, values - start, color=colour, linestyle=line, label=name.replace("_", " "))
            if name != "regular":
                error = 1000 * np.abs(values[known] - dft)
                bottom.plot(temperature[known], error, color=colour, linestyle=line, marker="o", markersize=4)
        top.plot(temperature[known], dft - start, **mark("o"), label="self-consistent DFT")
        top.set_ylabel("F (eV/atom)")
        top.set_title(title)
        top.legend(loc="lower left")
        _logarithmic(bottom)
        bottom.set_ylabel("|model − DFT|\n(meV/atom)")
        bottom.set_xlabel(_TAU_E)
    return figure


def dos(rows: Sequence[Row], *, title: str) -> Figure:
    """Returns the DOS of self-consistent DFT at several tau_e, and below the difference from the DOS at tau_ref."""
    names = [name for name in rows[0] if name != "energy"]
    energy = np.array([row["energy"] for row in rows])
    first = np.array([row[names[0]] for row in rows])
    colours = temperature_colours(range(len(names)))
    with panels_figure(2, (1.6, 1.0), 4.2) as (figure, (top, bottom)):
        for index, name in enumerate(names):
            values = np.array([np.nan if row[name] is None else row[name] for row in rows])
            label = r"$\tau_{\mathrm{ref}}$" if index == 0 else f"{float(name.removesuffix(' K')):g} K"
            top.plot(energy, values, color=colours[index], linewidth=0.9, label=label)
            if index:
                bottom.plot(energy, values - first, color=colours[index], linewidth=0.9)
        top.set_ylabel("DOS (1/eV/cell)")
        top.set_title(title)
        top.legend(title=r"$\tau_e$", title_fontsize=8, loc="upper left")
        bottom.set_ylabel(r"difference from $\tau_{\mathrm{ref}}$")
        bottom.set_xlabel(r"energy $\varepsilon$ (eV)")
        bottom.axhline(0, color=GREY, linewidth=0.7)
    return figure


def one_temperature(rows: Sequence[Row], columns: Mapping[str, str]) -> Figure:
    """Returns error maps of models trained at one tau_i: tau_i of the training against tau_i of the test.

    Args:
        rows: rows with trained_at, ion_temperature and errors.
        columns: errors to show, with their labels.
    """
    trained = sorted({row["trained_at"] for row in rows})
    tested = sorted({row["ion_temperature"] for row in rows})
    with panels_figure(len(columns), (1.0,) * len(columns), 3.2 * len(columns)) as (figure, axes):
        for axis, (name, label) in zip(axes, columns.items(), strict=True):
            values = np.full((len(trained), len(tested)), np.nan)
            for row in rows:
                values[trained.index(row["trained_at"]), tested.index(row["ion_temperature"])] = row[name]
            lowest = max(np.nanmin(values), 1e-3 * np.nanmax(values))
            image = axis.imshow(values, origin="lower", cmap="viridis", norm=LogNorm(lowest, np.nanmax(values)))
            _write_values(axis, values)
            axis.set_yticks(range(len(trained)), [f"{t:g}" for t in trained])
            axis.set_xticks(range(len(tested)), [f"{t:g}" for t in tested])
            axis.minorticks_off()
            axis.set_ylabel(r"trained at $\tau_i$ (K)")
            bar = figure.colorbar(image, ax=axis, label=label)
            plain_numbers(bar.ax.yaxis, lowest, float(np.nanmax(values)))
        axes[-1].set_xlabel(r"tested at $\tau_i$ (K)")
    return figure


def _write_values(axis: Axes, values: np.ndarray[Any, Any]) -> None:
    middle = np.sqrt(np.nanmin(values) * np.nanmax(values))
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            colour = "white" if value < middle else INK
            text = f"{value:.2g}" if value < 10 else f"{value:.0f}"
            axis.text(column, row, text, ha="center", va="center", fontsize=6, color=colour)


def _logarithmic(axis: Axes) -> None:
    """Makes the vertical axis of a panel logarithmic, with plain numbers as labels."""
    axis.set_yscale("log")
    plain_numbers(axis.yaxis, *axis.get_ylim())


def several_temperatures(rows: Sequence[Row], models: Sequence[str], columns: Mapping[str, str]) -> Figure:
    """Returns errors of models against tau_i of the test; error bars are spreads over the networks of each ensemble."""
    colours = temperature_colours(range(len(models)))
    with panels_figure(len(columns), (1.0,) * len(columns), 1.9 * len(columns) + 0.5) as (figure, axes):
        for axis, (name, label) in zip(axes, columns.items(), strict=True):
            for index, model in enumerate(models):
                chosen = [row for row in rows if row["model"] == model and row["ion_temperature"] != "all"]
                chosen.sort(key=lambda row: float(row["ion_temperature"]))
                ions = [float(row["ion_temperature"]) for row in chosen]
                values = np.array([row[name] for row in chosen])
                spread = [row[f"{name}_spread"] for row in chosen] if f"{name}_spread" in chosen[0] else None
                axis.errorbar(
                    ions,
                    values,
                    yerr=spread,
                    color=colours[index],
                    label=model,
                    linewidth=1.0,
                    marker="o",
                    ms=3,
                    capsize=2,
                )
            axis.set_ylabel(label)
            _logarithmic(axis)
        axes[-1].set_xlabel(_TAU_I)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=7)
    return figure


def side_by_side(rows: Sequence[Row], models: Sequence[str]) -> Figure:
    """Returns all errors of some models over all tau_i; error bars are spreads over the networks of each ensemble."""
    chosen = {row["model"]: row for row in rows if row["model"] in models and row["ion_temperature"] == "all"}
    names = [name for name in COLUMNS if name not in ("fermi_level_error", "free_energy_change_error")]
    colours = temperature_colours(range(len(models)))
    with panels_figure(1, (1.0,), 2.8) as (figure, (axis,)):
        for index, model in enumerate(models):
            places = np.arange(len(names)) + 0.14 * (index - (len(models) - 1) / 2)
            spread = [chosen[model].get(f"{name}_spread", np.nan) for name in names]
            values = [chosen[model][name] for name in names]
            axis.errorbar(places, values, yerr=spread, color=colours[index], label=model, fmt="o", ms=4, capsize=2)
        axis.set_xticks(range(len(names)), [COLUMNS[name] for name in names], fontsize=7)
        axis.tick_params(axis="x", which="minor", bottom=False, top=False)
        axis.set_ylabel("error (meV/atom, or %)")
        _logarithmic(axis)
        figure.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=7)
    return figure


def transfer(rows: Sequence[Row], *, title: str) -> Figure:
    """Returns errors of F(tau_e) - F(tau_ref) against self-consistent DFT, for the forms of F, mean and worst."""
    styles = {
        "second_order": (MODEL, "o"),
        "harris_foulkes": ("#4f8f3a", "^"),
        "kohn_sham": ("#8a4fa8", "v"),
        "naive": ("#c4570a", "s"),
    }
    temperature = [row["electron_temperature"] / 1000 for row in rows]
    with panels_figure(1, (1.0,), 3.0) as (_figure, (axis,)):
        figure = _figure
        handles: list[Line2D] = []
        for form, (colour, marker) in styles.items():
            name = f"change_error_{form}"
            handles += axis.plot(
                temperature, [row[name] for row in rows], color=colour, marker=marker, label=form.replace("_", "-")
            )
            if form == "second_order" and "change_spread" in rows[0]:
                axis.errorbar(
                    temperature,
                    [row[name] for row in rows],
                    yerr=[row["change_spread"] for row in rows],
                    color=colour,
                    fmt="none",
                    capsize=2,
                )
            worst = [row[f"{name}_worst"] for row in rows]
            axis.plot(temperature, worst, color=colour, linestyle=":", linewidth=1.0)
        _logarithmic(axis)
        axis.set_ylabel(f"error of ${_CHANGE}$\n(meV/atom)")
        axis.set_xlabel(_TAU_E)
        axis.set_title(title)
        axis.legend(handles=[*handles, Line2D([], [], color=INK, linestyle=":", label="worst structure")], fontsize=7)
    return figure


def similarity(rows: Sequence[Row]) -> Figure:
    """Returns a map of the distance between the atomic surroundings at each pair of ionic temperatures."""
    temperatures = sorted({row["ion_temperature"] for row in rows})
    values = np.zeros((len(temperatures), len(temperatures)))
    for row in rows:
        values[temperatures.index(row["ion_temperature"]), temperatures.index(row["other"])] = 1000 * (
            1 - row["similarity"]
        )
    with panels_figure(1, (1.0,), 3.4) as (figure, (axis,)):
        image = axis.imshow(values, origin="lower", cmap="viridis")
        for (row_index, column), value in np.ndenumerate(values):
            colour = "white" if value < values.mean() else INK
            text = f"{value:.1f}" if value < 10 else f"{value:.0f}"
            axis.text(column, row_index, text, ha="center", va="center", fontsize=6, color=colour)
        names = [f"{t:g}" for t in temperatures]
        axis.set_xticks(range(len(names)), names)
        axis.set_yticks(range(len(names)), names)
        axis.minorticks_off()
        axis.set_xlabel(r"nearest point at $\tau_i$ (K)")
        axis.set_ylabel(r"points of $\tau_i$ (K)")
        figure.colorbar(image, ax=axis, label="1 − cosine of the nearest point (10⁻³)")
    return figure
