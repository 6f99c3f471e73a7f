"""Figures as for a paper: free energy against electronic temperature, DOS with its occupation, errors.

Each function returns a figure that is not shown anywhere; :func:`save_figure` writes it as PNG and SVG.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from fermisea.fermi_dirac import occupation
from fermisea.files import atomic_path

FloatArray = npt.NDArray[np.float64]
INK, BLUE, RED, GREY = "#1a1a1a", "#1b5e93", "#c8442f", "#8a8f98"
_STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.labelsize": 9.5,
    "axes.titlesize": 9.5,
    "axes.linewidth": 0.8,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e8eb",
    "grid.linewidth": 0.6,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": True,
    "legend.framealpha": 0.92,
    "legend.edgecolor": "white",
    "legend.fancybox": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
    "mathtext.fontset": "dejavusans",
    "svg.fonttype": "none",
    "svg.hashsalt": "fermisea",
}


@contextmanager
def _style() -> Iterator[None]:
    with mpl.rc_context():
        mpl.rcParams.update(mpl.rcParamsDefault)
        mpl.rcParams.update(cast("Any", _STYLE))
        yield


def save_figure(figure: Figure, stem: str | os.PathLike[str]) -> list[Path]:
    """Writes ``stem``.png (200 dpi) and ``stem``.svg and returns their paths."""
    paths = []
    with _style():
        for suffix, metadata in ((".png", {"Software": "fermisea"}), (".svg", {"Date": None})):
            path = Path(stem).with_name(Path(stem).name + suffix)
            with atomic_path(path) as temporary:
                figure.savefig(temporary, format=suffix[1:], dpi=200, metadata=metadata)
            paths.append(path)
    return paths


def free_energy_figure(
    electron_temperatures: npt.ArrayLike,
    free_energies: npt.ArrayLike,
    *,
    transfer_errors: npt.ArrayLike | None = None,
    points: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    reference_electron_temperature: float | None = None,
    title: str = "",
) -> Figure:
    """Returns the change of the free energy against tau_e, with DFT points and the error of the curve there below.

    Both curve and points are drawn relative to their own values at the lowest temperature of the points (of the curve
    without points).

    Args:
        electron_temperatures: of the curve, K, rising.
        free_energies: of the curve, eV per atom.
        transfer_errors: estimate of the curve's error, eV per atom; a band in the lower panel.
        points: electronic temperatures (K) and free energies (eV per atom) of self-consistent DFT.
        reference_electron_temperature: tau_ref, K; marked by a line.
        title: above the figure.
    """
    t, f = np.asarray(electron_temperatures, dtype=float), 1000 * np.asarray(free_energies, dtype=float)
    with _style():
        figure = Figure(figsize=(4.6, 4.6 if points is not None else 3.2), layout="constrained")
        if points is None:
            upper = figure.add_subplot()
            lower = None
            zero = f[0]
        else:
            upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2.1, 1])
            dft_t, dft_f = (np.asarray(part, dtype=float) for part in points)
            dft_f = 1000 * dft_f
            zero = _at(t, f, dft_t[0])
        upper.plot(t, f - zero, color=BLUE, label="predicted from the LDOS")
        if lower is not None:
            upper.plot(dft_t, dft_f - dft_f[0], "o", ms=6, mfc="white", mec=RED, mew=1.5, label="DFT, self-consistent")
            _error_panel(lower, t, f, dft_t, dft_f, transfer_errors)
        for axes in (upper, lower):
            if axes is not None and reference_electron_temperature:
                axes.axvline(reference_electron_temperature, color=GREY, lw=0.9, ls=(0, (4, 3)), zorder=1)
        if reference_electron_temperature:
            upper.annotate(
                r"$\tau_{\mathrm{ref}}$",
                (reference_electron_temperature, 0.04),
                xycoords=upper.get_xaxis_transform(),
                xytext=(4, 0),
                textcoords="offset points",
                color=GREY,
            )
        start = dft_t[0] if points is not None else t[0]
        upper.set_ylabel(rf"$F(\tau_{{\mathrm{{e}}}}) - F({start:.0f}\,\mathrm{{K}})$  (meV/atom)")
        upper.legend(loc="lower left", bbox_to_anchor=(0.0, 0.1))
        upper.set_title(title)
        bottom = upper if lower is None else lower
        _temperature_axis(bottom, t)
        if lower is not None:
            figure.align_ylabels([upper, lower])
        return figure


def dos_figure(
    energies: npt.ArrayLike,
    dos: npt.ArrayLike,
    electron_temperatures: Sequence[float],
    fermi_levels: Sequence[float],
    *,
    reference_dos: npt.ArrayLike | None = None,
    title: str = "",
) -> Figure:
    """Returns the density of states and the part of it that is occupied at each electronic temperature.

    Args:
        energies: of the DOS, eV.
        dos: 1/eV; per atom is best.
        electron_temperatures: tau_e, K.
        fermi_levels: mu at each of them, eV; the first is the zero of the energy axis.
        reference_dos: of DFT, 1/eV.
        title: above the figure.
    """
    order = np.argsort(electron_temperatures)
    temperatures = [float(electron_temperatures[i]) for i in order]
    levels = [float(fermi_levels[i]) for i in order]
    e, d = np.asarray(energies, dtype=float), np.asarray(dos, dtype=float)
    fine = np.linspace(e[0], e[-1], 1200)
    smooth = np.interp(fine, e, d)
    with _style():
        figure = Figure(figsize=(4.6, 3.3), layout="constrained")
        axes = figure.add_subplot()
        for t, mu, colour in zip(temperatures, levels, _colours(temperatures), strict=True):
            filled = occupation(fine, mu, t) * smooth
            first = t == temperatures[0]
            axes.fill_between(fine - levels[0], filled, color=colour, alpha=0.16 if first else 0.0, lw=0)
            axes.plot(fine - levels[0], filled, color=colour, lw=1.3, label=f"occupied, {_spaced(t)} K")
        axes.plot(e - levels[0], d, color=INK, lw=1.1, label="DOS, predicted")
        if reference_dos is not None:
            axes.plot(e - levels[0], np.asarray(reference_dos), "o", ms=2.6, mfc="none", mec=GREY, label="DOS, DFT")
        axes.axvline(0, color=GREY, lw=0.9, ls=(0, (4, 3)), zorder=1)
        bottom = e[np.argmax(d > 0.01 * d.max())] - levels[0] - 1.5
        top = min(e[-1] - levels[0], max(4.0, 1.2e-3 * max(temperatures)))
        axes.set_xlim(bottom, top)
        shown = d[(e - levels[0] <= top) & (e - levels[0] >= bottom)]
        axes.set_ylim(0, 1.12 * float(shown.max()))
        axes.set_xlabel(rf"$\epsilon - \mu({temperatures[0]:g}\,\mathrm{{K}})$  (eV)")
        axes.set_ylabel("DOS  (1/eV per atom)")
        axes.legend(loc="upper left")
        axes.set_title(title)
        return figure


def errors_figure(rows: Sequence[Mapping[str, Any]], *, title: str = "") -> Figure:
    """Returns errors against tau_e, one line for each ion temperature: of the change of F, and of the density.

    Args:
        rows: with the columns of :func:`fermisea.evaluation.summary`, errors of energies in eV per atom.
        title: above the figure.
    """
    panels = (
        ("free_energy_change_error", 1000.0, r"error of $F(\tau_{\mathrm{e}}) - F(\tau_{\mathrm{ref}})$  (meV/atom)"),
        ("density_error_percent", 1.0, "error of the density  (%)"),
    )
    ions = sorted({row["ion_temperature"] for row in rows}, key=lambda t: -1.0 if t is None else t)
    with _style():
        figure = Figure(figsize=(6.8, 3.1), layout="constrained")
        for axes, (name, scale, label) in zip(figure.subplots(1, 2), panels, strict=True):
            for ion, colour in zip(ions, _colours([t or 1.0 for t in ions]), strict=True):
                chosen = sorted(
                    (r["electron_temperature"], scale * abs(r[name])) for r in rows if r["ion_temperature"] == ion
                )
                x, y = np.array(chosen).T
                text = "ions" if ion is None else rf"$\tau_{{\mathrm{{i}}}}$ = {ion:g} K"
                axes.plot(x, y, "o-", ms=4.5, color=colour, mfc="white", mew=1.3, lw=1.3, label=text)
            _temperature_axis(axes, np.array([row["electron_temperature"] for row in rows], dtype=float))
            axes.set_ylabel(label)
            axes.set_ylim(bottom=0)
            axes.legend()
        figure.suptitle(title, fontsize=9.5)
        return figure


def _error_panel(
    axes: Axes,
    t: FloatArray,
    f: FloatArray,
    dft_t: FloatArray,
    dft_f: FloatArray,
    transfer_errors: npt.ArrayLike | None,
) -> None:
    at_points = np.array([_at(t, f, x) for x in dft_t])
    errors = (at_points - at_points[0]) - (dft_f - dft_f[0])
    if transfer_errors is not None:
        band = 1000 * np.asarray(transfer_errors, dtype=float)
        axes.fill_between(
            t,
            -band,
            band,
            color=BLUE,
            alpha=0.15,
            lw=0,
            label=r"$\pm$ estimated transfer error",
        )
    axes.axhline(0, color=INK, lw=0.8)
    axes.vlines(dft_t, 0, errors, color=RED, lw=1.2)
    axes.plot(dft_t, errors, "o", ms=5, mfc="white", mec=RED, mew=1.5, label="predicted − DFT")
    reach = 1.9 * max(0.05, float(np.abs(errors).max()))
    axes.set_ylim(-reach, reach)
    axes.set_ylabel("difference\n(meV/atom)")
    axes.legend(loc="lower left", ncols=2, fontsize=7.5, columnspacing=1.2)


def _at(t: FloatArray, f: FloatArray, x: float) -> float:
    return float(np.interp(x, t, f))


def _temperature_axis(axes: Axes, temperatures: FloatArray) -> None:
    axes.set_xlabel(r"electronic temperature $\tau_{\mathrm{e}}$  (K)")
    low, high = float(temperatures.min()), float(temperatures.max())
    if high / low < 4:
        return
    axes.set_xscale("log")
    axes.set_xlim(low / 1.12, high * 1.12)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0) if high / low < 1000 else (1.0,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _spaced(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _spaced(value: float) -> str:
    return f"{value:,.0f}".replace(",", "\u2009")


def _colours(temperatures: Sequence[float]) -> list[Any]:
    """Cold blue to hot red on a logarithmic scale."""
    low, high = min(temperatures), max(temperatures)
    scale = mpl.colormaps["plasma"]
    if low == high:
        return [scale(0.15)] * len(temperatures)
    norm = LogNorm(low, high)
    return [scale(0.08 + 0.72 * float(norm(t))) for t in temperatures]
