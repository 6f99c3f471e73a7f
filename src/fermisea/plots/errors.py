"""Errors of a model against DFT, and against the spread of its networks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fermisea.errors import InputError
from fermisea.physics.error_measures import ERROR_MEASURES
from fermisea.physics.registry import milli
from fermisea.plots.style import GREY, INK, mark, panels_figure, temperature_colours


def errors_figure(rows: Sequence[Mapping[str, Any]], *, title: str = "") -> Figure:
    """Returns the errors of a model against ionic temperature, coloured by electronic temperature.

    Panels: change of F with tau_e, F itself (-TS where there is no F), and density. Structures outside the
    training data have filled markers.

    Args:
        rows: rows of :func:`fermisea.evaluate` or its summary; rows with a true ``unseen`` have filled markers.
        title: title of the figure.

    Raises:
        InputError: without rows.
    """
    if not rows:
        raise InputError("errors: got no rows, expected the rows of an evaluation")
    total = "free_energy_error" in rows[0]
    energies = ("free_energy_change_error", "free_energy_error") if total else ("entropy_term_error",)
    names = [name for name in (*energies, "density_error_percent") if name in rows[0]]
    panels = [(name, milli(ERROR_MEASURES[name].unit)[0], _label(name)) for name in names]
    electron = sorted({float(row["electron_temperature"]) for row in rows})
    ion = sorted({_ion_temperature(row) for row in rows}, key=lambda t: (math.isnan(t), t))
    colours = temperature_colours(electron)
    marks = [bool(row.get("unseen")) for row in rows]
    with panels_figure(len(panels), (1.0,) * len(panels), 1.6 * len(panels)) as (figure, axes):
        for axis, (name, unit, label) in zip(axes, panels, strict=True):
            for row, unseen in zip(rows, marks, strict=True):
                temperature = float(row["electron_temperature"])
                place = _place(ion, _ion_temperature(row), electron.index(temperature), len(electron))
                colour = colours[temperature]
                axis.plot(place, unit * float(row[name]), **mark("o", colour, filled=unseen))
            axis.set_ylabel(label)
            axis.margins(y=0.12)
            if min(float(row[name]) for row in rows) < 0:
                axis.axhline(0, color=GREY, linewidth=0.7, zorder=0)
            else:
                axis.set_ylim(0, 1.15 * unit * max(float(row[name]) for row in rows) or None)
        bottom = axes[-1]
        bottom.set_xticks(range(len(ion)), ["unknown" if math.isnan(t) else f"{t:g}" for t in ion])
        bottom.set_xlim(-0.5, len(ion) - 0.5)
        for axis in axes:
            axis.tick_params(axis="x", which="minor", bottom=False, top=False)
            for edge in range(len(ion) - 1):
                axis.axvline(edge + 0.5, color=GREY, linewidth=0.4, alpha=0.5, zorder=0)
        bottom.set_xlabel(r"ionic temperature $\tau_i$ (K)")
        handles: list[Line2D] = [
            Line2D([], [], **mark("o", colours[t], filled=True), label=f"{t:g} K") for t in electron
        ]
        if any(marks) and not all(marks):
            handles += [
                Line2D([], [], **mark("o", INK), label="trained on"),
                Line2D([], [], **mark("o", INK, filled=True), label="not seen"),
            ]
        figure.legend(
            handles=handles, loc="outside right center", title=r"$\tau_e$", title_fontsize=8, handletextpad=0.3
        )
        axes[0].set_title(title)
    return figure


def calibration_figure(rows: Sequence[Mapping[str, Any]], *, title: str = "") -> Figure:
    """Returns the error of the mean of an ensemble against the spread of its networks, one marker per structure.

    Panels: F and its change with tau_e, or E_b without F. The line is error = spread, and the band extends to two
    spreads.

    Args:
        rows: rows of :func:`fermisea.evaluate` with an ensemble.
        title: title of the figure.

    Raises:
        InputError: for rows without spreads.
    """
    known = ("free_energy", "free_energy_change", "band_energy")
    panels = [(name, _label(f"{name}_error")) for name in known if rows and f"{name}_spread" in rows[0]][:2]
    if not panels:
        raise InputError("calibration: got rows without spreads, expected the rows of an evaluation of an ensemble")
    electron = sorted({float(row["electron_temperature"]) for row in rows})
    colours = temperature_colours(electron)
    with panels_figure(len(panels), (1.0,) * len(panels), 2.6 * len(panels), sharex=False) as (figure, axes):
        for axis, (name, label) in zip(axes, panels, strict=True):
            values = [
                (1000 * row[f"{name}_spread"], 1000 * abs(row[f"{name}_error"]), float(row["electron_temperature"]))
                for row in rows
                if row[f"{name}_spread"] > 1e-9
            ]
            for spread, error, temperature in values:
                axis.plot(spread, max(error, 1e-4), **mark("o", colours[temperature], filled=True))
            ends = np.array([min(v[0] for v in values) / 1.5, max(v[0] for v in values) * 1.5])
            axis.plot(ends, ends, color=GREY, linewidth=0.8)
            axis.fill_between(ends, ends * 1e-6, 2 * ends, color=GREY, alpha=0.15, linewidth=0)
            axis.set_xscale("log")
            axis.set_yscale("log")
            axis.set_xlim(*ends)
            lowest, highest = min(max(v[1], 1e-4) for v in values), max(v[1] for v in values)
            axis.set_ylim(min(lowest, ends[0]) / 1.5, 2.5 * max(highest, ends[1]))
            axis.set_xlabel("spread (meV/atom)")
            axis.set_ylabel(label)
        axes[0].set_title(title)
        handles = [Line2D([], [], **mark("o", colours[t], filled=True), label=f"{t:g} K") for t in electron]
        figure.legend(handles=handles, loc="outside right center", title=r"$\tau_e$", title_fontsize=8)
    return figure


def _label(name: str) -> str:
    """Returns the label of the axis of an error, in two or three lines."""
    measure = ERROR_MEASURES[name]
    _, unit = milli(measure.unit)
    if unit == "%":
        return f"{measure.math_symbol} error\n({unit})"
    break_ = "\n" if len(measure.math_symbol) > 20 else " "
    return f"error of{break_}{measure.math_symbol}\n({unit})"


def _place(ion: Sequence[float], temperature: float, number: int, count: int) -> float:
    """Returns the position of a marker: its ionic temperature, shifted for each electronic temperature."""
    index = next(i for i, t in enumerate(ion) if t == temperature or (math.isnan(t) and math.isnan(temperature)))
    return index + 0.6 * ((number + 0.5) / count - 0.5)


def _ion_temperature(row: Mapping[str, Any]) -> float:
    value = row["ion_temperature"]
    return math.nan if value is None else float(value)
