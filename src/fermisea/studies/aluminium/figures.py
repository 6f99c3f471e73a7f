"""Figures of the study, each from the rows of one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from fermisea.plots.cost import Costs, cost_figure
from fermisea.plots.style import GREY, INK, MODEL, mark, panels_figure, temperature_colours
from fermisea.studies.aluminium.errors import LEFT_OUT

Row = Mapping[str, Any]

_POTENTIAL, _LDOS = "#c4570a", "#3a8f3a"
_COLOURS = {"potential": _POTENTIAL, "anchored": MODEL, "ldos": _LDOS}
_NAMES = {"potential": "potential", "anchored": "anchored", "ldos": "LDOS alone"}


def errors_by_kind(rows: Sequence[Row]) -> Figure:
    """Returns errors of F, forces, pressure and density by kind of structure, at each tau_ref."""
    kinds = [kind for kind in dict.fromkeys(row["kind"] for row in rows) if kind != "all"]
    temperatures = sorted({row["electron_temperature"] for row in rows})
    colours = temperature_colours(temperatures)
    panels = {
        "anchored_error": "anchored F\n(meV/atom)",
        "force_error": "forces\n(meV/Å)",
        "pressure_error": "pressure\n(GPa)",
        "density_error_percent": "density\n(%)",
    }
    places = np.arange(len(kinds))
    with panels_figure(len(panels), (1.0,) * len(panels), 5.6) as (figure, axes):
        for axis, (name, label) in zip(axes, panels.items(), strict=True):
            for index, tau_e in enumerate(temperatures):
                values = {row["kind"]: row[name] for row in rows if row["electron_temperature"] == tau_e}
                shift = (index - (len(temperatures) - 1) / 2) * 0.25
                heights = [values.get(kind, np.nan) for kind in kinds]
                axis.plot(places + shift, heights, "o", color=colours[tau_e], label=rf"$\tau_e$ = {tau_e:g} K")
            axis.set_ylabel(label)
            axis.set_yscale("log")
            axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axis.yaxis.set_major_formatter("{x:g}")
            axis.yaxis.set_minor_formatter(NullFormatter())
        axes[-1].set_xticks(places, kinds, rotation=30, ha="right")
        axes[-1].tick_params(axis="x", which="minor", bottom=False, top=False)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(temperatures))
    return figure


def along_the_line(rows: Sequence[Row]) -> Figure:
    """Returns pressure and bulk modulus of fcc against the volume at each tau_e, of the model (lines) and of DFT."""
    temperatures = sorted({row["electron_temperature"] for row in rows})
    colours = temperature_colours(temperatures)
    with panels_figure(2, (1.0, 1.0), 4.6) as (figure, (top, bottom)):
        for tau_e in temperatures:
            chosen = [row for row in rows if row["electron_temperature"] == tau_e]
            volumes = [row["volume"] for row in chosen]
            for axis, name in ((top, "pressure"), (bottom, "modulus")):
                axis.plot(volumes, [row[f"{name}_model"] for row in chosen], color=colours[tau_e], lw=1.1)
                axis.plot(volumes, [row[name] for row in chosen], "o", color=colours[tau_e], ms=3, mfc="none")
            top.plot([], [], color=colours[tau_e], label=f"{tau_e:g} K")
        top.plot([], [], "o", color=INK, ms=3, mfc="none", label="DFT")
        top.set_ylabel("pressure (GPa)")
        bottom.set_ylabel("bulk modulus (GPa)")
        bottom.set_xlabel("volume (Å³/atom)")
        figure.legend(*top.get_legend_handles_labels(), loc="outside upper center", ncols=5, fontsize=7)
    return figure


def hot_electrons(rows: Sequence[Row]) -> Figure:
    """Returns errors of F(tau_e) - F(tau_ref), relative to the change, against tau_e, by origin of F."""
    start = max(row["start"] for row in rows)
    chosen = [row for row in rows if row["start"] == start and row["electron_temperature"] > start]
    with panels_figure(1, (1.0,), 3.0) as (figure, (axis,)):
        for origin, colour in _COLOURS.items():
            for name in dict.fromkeys(row["name"] for row in chosen):
                own = [row for row in chosen if row["name"] == name]
                temperatures = [row["electron_temperature"] for row in own]
                errors = [100 * row[f"{origin}_error"] / abs(row["change"]) for row in own]
                axis.plot(temperatures, errors, "o-", color=colour, ms=3, lw=0.9)
            axis.plot([], [], "o-", color=colour, ms=3, lw=0.9, label=_NAMES[origin])
        axis.axhline(0, color=GREY, lw=0.7)
        axis.set_xscale("log")
        axis.set_xlabel(r"$\tau_e$ (K)")
        axis.set_ylabel(rf"error of $F(\tau_e)-F({start:g}\,\mathrm{{K}})$ (%)")
        axis.legend()
    return figure


def spread_against_error(rows: Sequence[Row], left_out: Sequence[Row]) -> Figure:
    """Returns the error of F against its estimated standard error, for each origin of F.

    At tau_ref, F of the potential and anchored F are equal; circles around the points show the potential.

    Args:
        rows: errors of the test structures.
        left_out: errors of the training structures, each left out of the fit of the potential in turn.
    """
    with panels_figure(1, (1.0,), 3.6) as (figure, (axis,)):
        both: list[float] = []

        def draw(chosen: Sequence[Row], origin: str, **style: Any) -> None:
            spreads = [1000 * row[f"{origin}_std"] for row in chosen]
            errors = [1000 * abs(row[f"{origin}_error"]) for row in chosen]
            axis.plot(spreads, errors, "o", **style)
            both.extend(value for value in (*spreads, *errors) if value > 0)

        if left_out:
            draw(left_out, LEFT_OUT, color=GREY, ms=3, mfc="none", mew=0.6, label="potential, left out of the fit")
        for origin, colour in _COLOURS.items():
            shape = {"ms": 5.5, "mfc": "none"} if origin == "potential" else {"ms": 3}
            draw(rows, origin, color=colour, label=_NAMES[origin], **shape)
        ends = np.array([min(both), max(both)])
        for factor, style in ((1.0, "-"), (1.96, "--")):
            axis.plot(ends, factor * ends, style, color=GREY, lw=0.8)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlabel("estimated standard error of F (meV/atom)")
        axis.set_ylabel("error of F (meV/atom)")
        axis.legend()
    return figure


def beside_dft(rows: Sequence[Row], unit: str) -> Figure:
    """Returns quantities against tau_e: of the model (crosses) and of DFT (circles)."""
    names = list(dict.fromkeys(row["quantity"] for row in rows))
    colours = dict(zip(names, temperature_colours(range(len(names))).values(), strict=True))
    with panels_figure(1, (1.0,), 3.2) as (figure, (axis,)):
        for name in names:
            own = [row for row in rows if row["quantity"] == name]
            temperatures = [row["electron_temperature"] / 1000 for row in own]
            axis.plot(temperatures, [row["model"] for row in own], "x-", color=colours[name], lw=1.0, label=name)
            axis.plot(temperatures, [row["dft"] for row in own], **mark("o", colours[name]))
        axis.plot([], [], **mark("o"), label="DFT")
        axis.set_xlabel(r"$\tau_e$ (1000 K)")
        axis.set_ylabel(unit)
        axis.legend(fontsize=7)
    return figure


def cost(rows: Sequence[Row]) -> Figure:
    """Returns the time of DFT calculations with an LDOS at each tau_e, and of predictions, against the atoms.

    Without exponents: the k-meshes differ from size to size, and other work on the machine changes the times.
    """
    series = []
    for tau_e in sorted({row["electron_temperature"] for row in rows}):
        own = [row for row in rows if row["electron_temperature"] == tau_e]
        series.append(Costs(f"DFT, {tau_e:g} K", [row["atoms"] for row in own], [row["dft_seconds"] for row in own]))
    predicted = {row["atoms"]: row["prediction_seconds"] for row in rows if row["prediction_seconds"] is not None}
    if predicted:
        series.append(Costs("prediction", list(predicted), list(predicted.values()), predicted=True))
    return cost_figure(series, time="median time of a structure (s)", exponents=False)
