"""Figures: free energy against the electronic temperature, DOS with its occupation, errors of a model.

Each function returns a matplotlib figure and draws without any global state; :func:`save_figure` writes PNG and SVG.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from scipy.interpolate import make_interp_spline

from fermisea.errors import InputError
from fermisea.fermi_dirac import occupation
from fermisea.files import atomic_path

FloatArray = npt.NDArray[np.float64]

WIDTH = 4.4
"""Width of a figure, inches."""

INK, MODEL, GREY = "#1b1b1f", "#0b5cad", "#8a8d93"
_STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.linewidth": 0.7,
    "axes.titlesize": 9,
    "figure.dpi": 150,
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "lines.linewidth": 1.5,
    "lines.markersize": 5,
    "mathtext.fontset": "dejavusans",
    "savefig.dpi": 300,
    "svg.fonttype": "none",
    "svg.hashsalt": "fermisea",
    "text.color": INK,
    "xtick.color": INK,
    "xtick.direction": "in",
    "xtick.labelsize": 8,
    "xtick.major.width": 0.7,
    "xtick.minor.visible": True,
    "xtick.minor.width": 0.5,
    "xtick.top": True,
    "ytick.color": INK,
    "ytick.direction": "in",
    "ytick.labelsize": 8,
    "ytick.major.width": 0.7,
    "ytick.minor.visible": True,
    "ytick.minor.width": 0.5,
    "ytick.right": True,
}


def save_figure(figure: Figure, stem: str | os.PathLike[str]) -> list[Path]:
    """Writes ``stem``.png and ``stem``.svg and returns their paths; the same figure gives the same files.

    Raises:
        InputError: if the folder cannot be written to.
    """
    paths = [Path(f"{os.fspath(stem)}.{suffix}") for suffix in ("png", "svg")]
    with mpl.rc_context(_STYLE):  # the canvases by themselves: savefig would draw everything twice
        with atomic_path(paths[0]) as temporary, _resolution(figure, _STYLE["savefig.dpi"]):
            FigureCanvasAgg(figure).print_png(temporary, metadata={"Software": None})
        with atomic_path(paths[1]) as temporary, _resolution(figure, _STYLE["figure.dpi"]):
            FigureCanvasSVG(figure).print_svg(temporary, metadata={"Date": None})
    return paths


def free_energy_figure(
    electron_temperature: npt.ArrayLike,
    free_energy: npt.ArrayLike,
    *,
    dft: Mapping[float, float] | None = None,
    transfer_error: npt.ArrayLike | None = None,
    reference_electron_temperature: float | None = None,
    title: str = "",
) -> Figure:
    """Returns F(tau_e) relative to its lowest temperature, and below it the model's error where DFT values are given.

    Args:
        electron_temperature: tau_e of the prediction, K.
        free_energy: predicted at each, eV/atom.
        dft: tau_e (K) to the free energy of a self-consistent run (eV/atom); each tau_e must be one of the above. The
            zero of both is then the lowest of these temperatures.
        transfer_error: the model's own estimate at each tau_e, eV/atom, drawn as a band around zero.
        reference_electron_temperature: tau_ref of the training data (K), marked.
        title: above the figure.

    Raises:
        InputError: for sizes that differ, or a DFT temperature that was not predicted.
    """
    temperature, energy = _columns("free energy", electron_temperature, free_energy)
    order = np.argsort(temperature)
    temperature, energy = temperature[order], energy[order]
    dft = dict(sorted((dft or {}).items()))
    index = _positions(temperature, list(dft))
    zero = index[0] if index else 0
    change = energy - energy[zero]
    with _figure(2 if dft else 1, (2.4, 1.0), 4.3 if dft else 3.0) as (figure, axes):
        top = axes[0]
        marker: dict[str, Any] = {"marker": "o", "markersize": 3.5} if temperature.size < 12 else {}
        top.plot(temperature / 1000, change, color=MODEL, label="model", **marker)
        top.set_ylabel(r"$F(\tau_e) - F(" + f"{temperature[zero]:g}" + r"\,\mathrm{K})$ (eV/atom)")
        if dft:
            points = temperature[index] / 1000
            reference = np.array(list(dft.values())) - next(iter(dft.values()))
            top.plot(points, reference, **_open("o"), label="self-consistent DFT")
            _error_panel(axes[1], temperature, index, change[index] - reference, _optional(transfer_error, order))
        for axis in axes:
            _mark_reference(axis, reference_electron_temperature)
        axes[-1].set_xlabel(r"electronic temperature $\tau_e$ (1000 K)")
        axes[-1].set_xlim(0, 1.03 * temperature[-1] / 1000)
        top.legend(loc="upper right")
        top.set_title(title)
    return figure


def dos_figure(
    energies: npt.ArrayLike,
    dos: npt.ArrayLike,
    electron_temperatures: Sequence[float],
    fermi_levels: Sequence[float],
    *,
    dft: npt.ArrayLike | None = None,
    title: str = "",
) -> Figure:
    """Returns the DOS with the part of it that is filled at each electronic temperature, and the occupations below.

    Args:
        energies: (n,), eV.
        dos: predicted, both spins, (n,), 1/eV; per atom or per cell.
        electron_temperatures: tau_e, K.
        fermi_levels: mu at each of them, eV; energies are drawn from mu of the lowest temperature.
        dft: DOS of a DFT run on the same energies, 1/eV.
        title: above the figure.

    Raises:
        InputError: for sizes that differ.
    """
    energy, values = _columns("density of states", energies, dos)
    temperatures, mu = _columns("Fermi level", electron_temperatures, fermi_levels)
    levels = dict(sorted(zip(temperatures.tolist(), mu.tolist(), strict=True)))
    zero = next(iter(levels.values()))
    fine = np.linspace(energy[0], energy[-1], 10 * (energy.size - 1) + 1)
    smooth = _smooth(energy, values, fine)
    colours = temperature_colours(list(levels))
    with _figure(2, (2.4, 1.0), 4.3) as (figure, (top, bottom)):
        ends = {next(iter(levels)): 0.12, next(reversed(levels)): 0.18}
        for temperature, level in reversed(levels.items()):
            filled = occupation(fine, level, temperature)
            colour = colours[temperature]
            if temperature in ends:
                top.fill_between(fine - zero, filled * smooth, color=colour, alpha=ends[temperature], linewidth=0)
            top.plot(fine - zero, filled * smooth, color=colour, linewidth=1.1)
            bottom.plot(fine - zero, filled, color=colour, label=f"{temperature:g} K")
        handles = [*top.plot(fine - zero, smooth, color=MODEL, label="model")]
        if dft is not None:
            _, reference = _columns("density of states of DFT", energies, dft)
            style: dict[str, Any] = {"color": INK, "linestyle": (0, (1.2, 1.6)), "linewidth": 1.6}
            handles += top.plot(fine - zero, _smooth(energy, reference, fine), label="DFT", **style)
        top.set_ylabel("density of states (1/eV)")
        top.set_ylim(0, None)
        top.legend(handles=handles, loc="upper left")
        top.set_title(title)
        bottom.set_ylabel("occupation $f$")
        bottom.set_ylim(0, 1.08)
        bottom.set_xlabel(r"energy $\varepsilon - \mu(" + f"{next(iter(levels)):g}" + r"\,\mathrm{K})$ (eV)")
        bottom.set_xlim(energy[0] - zero, energy[-1] - zero)
        filled_handles, labels = bottom.get_legend_handles_labels()
        bottom.legend(filled_handles[::-1], labels[::-1], title=r"$\tau_e$", title_fontsize=8, loc="lower left")
    return figure


def errors_figure(rows: Sequence[Mapping[str, Any]], *, title: str = "") -> Figure:
    """Returns the errors of a model against ion temperature, coloured by electronic temperature.

    Panels: change of F with tau_e, F itself (-TS where there is no F), and density. Structures the training has not
    seen have filled marks.

    Args:
        rows: of :func:`fermisea.evaluation.evaluate` or its summary; those with a true ``unseen`` are filled.
        title: above the figure.

    Raises:
        InputError: without rows.
    """
    if not rows:
        raise InputError("errors: got no rows, expected those of an evaluation")
    panels = [
        ("free_energy_change_error", 1000, "error of\n" + r"$F(\tau_e)-F(\tau_{\mathrm{ref}})$" + "\n(meV/atom)"),
        ("free_energy_error", 1000, "error of\n" + r"$F(\tau_e)$" + "\n(meV/atom)"),
        ("entropy_term_error", 1000, "error of\n" + r"$-\tau_e S$" + "\n(meV/atom)"),
        ("density_error_percent", 1, "density error\n(%)"),
    ]
    total = "free_energy_error" in rows[0]
    panels = [panel for panel in panels if panel[0] in rows[0] and not (total and panel[0] == "entropy_term_error")]
    electron = sorted({float(row["electron_temperature"]) for row in rows})
    ion = sorted({_ion_temperature(row) for row in rows}, key=lambda t: (math.isnan(t), t))
    colours = temperature_colours(electron)
    marks = [bool(row.get("unseen")) for row in rows]
    with _figure(len(panels), (1.0,) * len(panels), 1.6 * len(panels)) as (figure, axes):
        for axis, (name, unit, label) in zip(axes, panels, strict=True):
            for row, unseen in zip(rows, marks, strict=True):
                temperature = float(row["electron_temperature"])
                place = _place(ion, _ion_temperature(row), electron.index(temperature), len(electron))
                colour = colours[temperature]
                axis.plot(place, unit * float(row[name]), **_open("o", colour, filled=unseen))
            axis.set_ylabel(label)
            axis.margins(y=0.12)
            if min(float(row[name]) for row in rows) < 0:
                axis.axhline(0, color=GREY, linewidth=0.7, zorder=0)
            else:
                axis.set_ylim(0, None)
        bottom = axes[-1]
        bottom.set_xticks(range(len(ion)), ["unknown" if math.isnan(t) else f"{t:g}" for t in ion])
        bottom.set_xlim(-0.5, len(ion) - 0.5)
        for axis in axes:
            axis.tick_params(axis="x", which="minor", bottom=False, top=False)
            for edge in range(len(ion) - 1):
                axis.axvline(edge + 0.5, color=GREY, linewidth=0.4, alpha=0.5, zorder=0)
        bottom.set_xlabel(r"ion temperature $\tau_i$ (K)")
        handles: list[Line2D] = [
            Line2D([], [], **_open("o", colours[t], filled=True), label=f"{t:g} K") for t in electron
        ]
        if any(marks) and not all(marks):
            handles += [
                Line2D([], [], **_open("o", INK), label="trained on"),
                Line2D([], [], **_open("o", INK, filled=True), label="not seen"),
            ]
        figure.legend(
            handles=handles, loc="outside right center", title=r"$\tau_e$", title_fontsize=8, handletextpad=0.3
        )
        axes[0].set_title(title)
    return figure


def calibration_figure(rows: Sequence[Mapping[str, Any]], *, title: str = "") -> Figure:
    """Returns the error of an ensemble's mean against the spread of its members, each structure a mark.

    Panels: F and its change with tau_e, or E_b where there is no F. The line is error = spread, the band reaches to two
    spreads.

    Args:
        rows: of :func:`fermisea.evaluation.evaluate` with an ensemble.
        title: above the figure.

    Raises:
        InputError: for rows without spreads.
    """
    panels = [
        ("free_energy", r"$F(\tau_e)$"),
        ("free_energy_change", r"$F(\tau_e)-F(\tau_{\mathrm{ref}})$"),
        ("band_energy", r"$E_b$"),
    ]
    panels = [panel for panel in panels if rows and f"{panel[0]}_spread" in rows[0]][:2]
    if not panels:
        raise InputError("calibration: got rows without spreads, expected those of an evaluation of an ensemble")
    electron = sorted({float(row["electron_temperature"]) for row in rows})
    colours = temperature_colours(electron)
    with _figure(len(panels), (1.0,) * len(panels), 2.6 * len(panels), sharex=False) as (figure, axes):
        for axis, (name, label) in zip(axes, panels, strict=True):
            values = [
                (1000 * row[f"{name}_spread"], 1000 * abs(row[f"{name}_error"]), float(row["electron_temperature"]))
                for row in rows
                if row[f"{name}_spread"] > 1e-9
            ]
            for spread, error, temperature in values:
                axis.plot(spread, max(error, 1e-4), **_open("o", colours[temperature], filled=True))
            ends = np.array([min(v[0] for v in values) / 1.5, max(v[0] for v in values) * 1.5])
            axis.plot(ends, ends, color=GREY, linewidth=0.8)
            axis.fill_between(ends, ends * 1e-6, 2 * ends, color=GREY, alpha=0.15, linewidth=0)
            axis.set_xscale("log")
            axis.set_yscale("log")
            axis.set_xlim(*ends)
            lowest, highest = min(max(v[1], 1e-4) for v in values), max(v[1] for v in values)
            axis.set_ylim(min(lowest, ends[0]) / 1.5, 2.5 * max(highest, ends[1]))
            axis.set_xlabel("spread (meV/atom)")
            axis.set_ylabel(f"error of {label}\n(meV/atom)")
        axes[0].set_title(title)
        handles = [Line2D([], [], **_open("o", colours[t], filled=True), label=f"{t:g} K") for t in electron]
        figure.legend(handles=handles, loc="outside right center", title=r"$\tau_e$", title_fontsize=8)
    return figure


def temperature_colours(temperatures: Sequence[float]) -> dict[float, str]:
    """Returns a colour for each electronic temperature (K), from cold blue to hot orange."""
    ordered = sorted(temperatures)
    shades = mpl.colormaps["plasma"](np.linspace(0.02, 0.80, max(len(ordered), 2)))
    return {t: to_hex(shade) for t, shade in zip(ordered, shades, strict=False)}


@contextmanager
def _resolution(figure: Figure, dots_per_inch: float) -> Iterator[None]:
    before = figure.dpi
    figure.dpi = dots_per_inch
    try:
        yield
    finally:
        figure.dpi = before


@contextmanager
def _figure(
    panels: int, ratios: Sequence[float], height: float, *, sharex: bool = True
) -> Iterator[tuple[Figure, list[Axes]]]:
    """Yields a figure of panels, which may share their horizontal axis, to be drawn in the package's style."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(panels, 1, sharex=sharex, squeeze=False, height_ratios=ratios[:panels])[:, 0]
        yield figure, list(axes)
        figure.align_ylabels()
        layout = figure.get_layout_engine()
        if layout is not None:
            layout.execute(figure)
            figure.set_layout_engine("none")  # saving need not find it anew


def _error_panel(
    axis: Axes, temperature: FloatArray, index: Sequence[int], error: FloatArray, estimate: FloatArray | None
) -> None:
    axis.axhline(0, color=GREY, linewidth=0.7)
    if estimate is not None:
        band = 1000 * estimate
        style: dict[str, Any] = {"color": MODEL, "alpha": 0.15, "linewidth": 0}
        axis.fill_between(temperature / 1000, -band, band, label="estimate for the transfer", **style)
    points = temperature[list(index)] / 1000
    axis.plot(points, 1000 * error, color=MODEL, marker="o", markersize=4, linewidth=1.0, label="model − DFT")
    widest = 1000 * max(np.abs(error).max(), 0.0 if estimate is None else estimate.max(), 1e-6)
    axis.set_ylim(-1.3 * widest, 1.9 * widest)
    axis.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axis.set_ylabel("error\n(meV/atom)")
    if estimate is not None:
        axis.legend(loc="upper right", ncols=2, borderaxespad=0.1, columnspacing=1.2)


def _mark_reference(axis: Axes, temperature: float | None) -> None:
    if temperature is None:
        return
    axis.axvline(temperature / 1000, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    if axis.get_subplotspec() is None or not axis.get_subplotspec().is_first_row():  # type: ignore[union-attr]
        return
    axis.annotate(
        r"training data, $\tau_{\mathrm{ref}}$",
        (temperature / 1000, 0.05),
        xycoords=("data", "axes fraction"),
        xytext=(3, 0),
        textcoords="offset points",
        color=GREY,
        fontsize=8,
        rotation=90,
    )


def _open(marker: str, colour: str = INK, *, filled: bool = False) -> dict[str, Any]:
    face = colour if filled else "white"
    return {
        "linestyle": "none",
        "marker": marker,
        "markeredgecolor": colour,
        "markeredgewidth": 1.1,
        "markerfacecolor": face,
        "zorder": 3,
    }


def _place(ion: Sequence[float], temperature: float, number: int, count: int) -> float:
    """Returns where a mark stands: at its ion temperature, beside those of other electronic temperatures."""
    index = next(i for i, t in enumerate(ion) if t == temperature or (math.isnan(t) and math.isnan(temperature)))
    return index + 0.6 * ((number + 0.5) / count - 0.5)


def _ion_temperature(row: Mapping[str, Any]) -> float:
    value = row["ion_temperature"]
    return math.nan if value is None else float(value)


def _positions(temperature: FloatArray, wanted: Sequence[float]) -> list[int]:
    missing = [t for t in wanted if not np.isclose(temperature, t).any()]
    if missing:
        raise InputError(
            f"free energy: DFT values at {', '.join(f'{t:g}' for t in missing)} K, but no prediction there; "
            "predict at these electronic temperatures too"
        )
    return [int(np.argmin(np.abs(temperature - t))) for t in wanted]


def _smooth(energy: FloatArray, values: FloatArray, fine: FloatArray) -> FloatArray:
    """Returns the spline through values, for the eye, nowhere below zero."""
    degree = min(3, energy.size - 1)
    return np.maximum(make_interp_spline(energy, values, k=degree)(fine), 0.0)


def _optional(values: npt.ArrayLike | None, order: npt.NDArray[np.intp]) -> FloatArray | None:
    return None if values is None else np.asarray(values, dtype=float)[order]


def _columns(name: str, first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    x, y = np.atleast_1d(np.asarray(first, dtype=float)), np.atleast_1d(np.asarray(second, dtype=float))
    if x.ndim != 1 or x.shape != y.shape or x.size == 0:
        raise InputError(f"{name}: got {x.shape} and {y.shape} values, expected as many of one as of the other")
    return x, y
