"""Style of figures, and figure files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from fermisea.utilities.files import atomic_path

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
    with mpl.rc_context(_STYLE):  # direct use of the canvases, because savefig would draw everything twice
        with atomic_path(paths[0]) as temporary, _resolution(figure, _STYLE["savefig.dpi"]):
            FigureCanvasAgg(figure).print_png(temporary, metadata={"Software": None})
        with atomic_path(paths[1]) as temporary, _resolution(figure, _STYLE["figure.dpi"]):
            FigureCanvasSVG(figure).print_svg(temporary, metadata={"Date": None})
    return paths


def temperature_colours(temperatures: Sequence[float]) -> dict[float, str]:
    """Returns a colour for each electronic temperature (K), from cold blue to hot orange."""
    ordered = sorted(temperatures)
    shades = mpl.colormaps["plasma"](np.linspace(0.02, 0.80, max(len(ordered), 2)))
    return {t: to_hex(shade) for t, shade in zip(ordered, shades, strict=False)}


@contextmanager
def panels_figure(
    panels: int, ratios: Sequence[float], height: float, *, sharex: bool = True
) -> Iterator[tuple[Figure, list[Axes]]]:
    """Yields a figure of panels, optionally with a shared horizontal axis, in the style of the package."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(panels, 1, sharex=sharex, squeeze=False, height_ratios=ratios[:panels])[:, 0]
        yield figure, list(axes)
        figure.align_ylabels()
        layout = figure.get_layout_engine()
        if layout is not None:
            layout.execute(figure)
            figure.set_layout_engine("none")  # the layout need not be computed again on saving


def mark(marker: str, colour: str = INK, *, filled: bool = False) -> dict[str, Any]:
    """Returns the style of open or filled markers without a line."""
    face = colour if filled else "white"
    return {
        "linestyle": "none",
        "marker": marker,
        "markeredgecolor": colour,
        "markeredgewidth": 1.1,
        "markerfacecolor": face,
        "zorder": 3,
    }


def plain_numbers(axis: Axis, low: float, high: float, *, sparse: float = 300.0) -> None:
    """Labels a logarithmic axis from ``low`` to ``high`` with numbers without exponents.

    Args:
        axis: axis of a panel or colour bar.
        low: lowest value.
        high: highest value.
        sparse: ratio of both above which only powers of ten are labelled.
    """
    axis.set_major_locator(LogLocator(subs=(1.0,) if high > sparse * low else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())


@contextmanager
def _resolution(figure: Figure, dots_per_inch: float) -> Iterator[None]:
    before = figure.dpi
    figure.dpi = dots_per_inch
    try:
        yield
    finally:
        figure.dpi = before
