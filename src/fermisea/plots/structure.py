"""Pair distribution function and static structure factor."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from fermisea.errors import InputError
from fermisea.plots.style import GREY, INK, MODEL, panels_figure
from fermisea.utilities.arrays import FloatArray

_STYLES = ((0, (4, 1.5)), (0, (1.2, 1.6)), (0, (4, 1.5, 1, 1.5)))
"""Line styles of the functions of pairs of elements, in turn."""


def structure_figure(
    distribution: tuple[FloatArray, Mapping[str, FloatArray]],
    factor: tuple[FloatArray, Mapping[str, FloatArray]],
    *,
    half_width: float | None = None,
    title: str = "",
) -> Figure:
    """Returns g(r) and, below, S(q), the first function of each in colour and the others in black.

    Args:
        distribution: distances (n,), Angstrom, and functions g (n,) by name.
        factor: wavevectors (m,), 1/Angstrom, and functions S (m,) by name.
        half_width: half of the smallest distance of opposite cell faces, Angstrom, marked if it is in the range.
        title: title of the figure.

    Raises:
        InputError: without a function.
    """
    if not (distribution[1] and factor[1]):
        raise InputError("structure figure: got no functions g(r) or S(q), expected at least one of each")
    with panels_figure(2, (1.0, 1.0), 4.6, sharex=False) as (figure, axes):
        for axis, (places, functions) in zip(axes, (distribution, factor), strict=True):
            axis.axhline(1, color=GREY, linewidth=0.7)
            for number, (name, values) in enumerate(functions.items()):
                if number == 0:
                    axis.plot(places, values, color=MODEL, label=name, linewidth=1.2)
                else:
                    style = _STYLES[(number - 1) % len(_STYLES)]
                    axis.plot(places, values, color=INK, label=name, linewidth=0.8, linestyle=style)
            axis.set_xlim(0, float(places[-1]))
            if len(functions) > 1:
                axis.legend(loc="upper right")
        top, bottom = axes
        if half_width is not None and half_width < distribution[0][-1]:
            top.axvline(half_width, color=GREY, linewidth=0.7, linestyle=(0, (1.2, 1.6)))
            top.annotate(
                "half of the cell",
                (half_width, 0.97),
                (3, 0),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                color=GREY,
                fontsize=7,
                va="top",
            )
        top.set_xlabel("distance $r$ (Å)")
        top.set_ylabel("pair distribution $g(r)$")
        bottom.set_xlabel("wavevector $q$ (Å$^{-1}$)")
        bottom.set_ylabel("structure factor $S(q)$")
        top.set_title(title)
    return figure
