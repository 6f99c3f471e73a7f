"""Computing time against the number of atoms and against the electronic temperature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fermisea.errors import InputError
from fermisea.plots.style import GREY, INK, MODEL, panels_figure, plain_numbers

_FITTED = 1 / 4
"""Smallest place from which an exponent is fitted, relative to the largest one."""

_DFT = ((INK, "o"), ("#c4570a", "s"), (GREY, "^"), ("#4f8f3a", "D"))
"""Colours and markers of series of DFT, in turn."""

_PREDICTED: tuple[dict[str, Any], ...] = (
    {"linestyle": "-", "marker": "o", "markerfacecolor": MODEL},
    {"linestyle": "--", "marker": "o", "markerfacecolor": "white"},
)
"""Styles of series of predictions, in turn."""


@dataclass(frozen=True, eq=False)
class Costs:
    """Computing times of one method.

    Attributes:
        name: label of the method; series with equal names have the same style.
        places: numbers of atoms, or tau_e in K, (n,).
        seconds: times, (n,), s.
        predicted: whether a model predicts, instead of DFT.
    """

    name: str
    places: npt.ArrayLike
    seconds: npt.ArrayLike
    predicted: bool = False

    def __post_init__(self) -> None:
        """Checks the numbers.

        Raises:
            InputError: for different sizes, no value, or a value that has no logarithm.
        """
        places, seconds = np.shape(self.places), np.shape(self.seconds)
        if len(places) != 1 or places != seconds or not places[0]:
            raise InputError(f"costs of {self.name}: got {places} places and {seconds} times, expected equal numbers")
        if np.min(self.places) <= 0 or np.min(self.seconds) <= 0:
            raise InputError(f"costs of {self.name}: got places or times of zero or less, expected positive numbers")

    @property
    def exponent(self) -> float | None:
        """Log-log slope from a quarter of the largest place on; None for fewer than two different places there."""
        places, seconds = (np.asarray(values, dtype=float) for values in (self.places, self.seconds))
        fitted = places >= _FITTED * places.max()
        if np.unique(places[fitted]).size < 2:
            return None
        return float(np.polyfit(np.log(places[fitted]), np.log(seconds[fitted]), 1)[0])


def cost_figure(
    by_atoms: Sequence[Costs],
    by_temperature: Sequence[Costs] = (),
    *,
    time: str = "CPU time of a structure (s)",
    exponents: bool = True,
    titles: Sequence[str] = ("", ""),
) -> Figure:
    """Returns computing times against the number of atoms, and below against tau_e, if given.

    Args:
        by_atoms: times of each method by number of atoms.
        by_temperature: times of each method by tau_e, K.
        time: label of the vertical axes.
        exponents: whether the legend has the exponents of the number of atoms.
        titles: title of each panel.

    Raises:
        InputError: without times by number of atoms.
    """
    if not by_atoms:
        raise InputError("cost figure: got no times by number of atoms, expected at least one method")
    styles = _styles([*by_atoms, *by_temperature])
    panels = 2 if by_temperature else 1
    with panels_figure(panels, (1.0,) * panels, 2.9 * panels, sharex=False) as (figure, axes):
        top = axes[0]
        for costs in by_atoms:
            shown = exponents and costs.exponent is not None
            label = f"{costs.name}, $N^{{{costs.exponent:.1f}}}$" if shown else costs.name
            _draw(top, costs, label, styles[costs.name])
        top.set_xlabel("number of atoms $N$")
        for costs in by_temperature:
            _draw(axes[1], costs, costs.name, styles[costs.name])
            axes[1].set_xlabel(r"electronic temperature $\tau_e$ (K)")
        for axis, title in zip(axes, titles, strict=False):
            axis.set_ylabel(time)
            axis.set_title(title)
            axis.legend(loc="best", fontsize=7)
            plain_numbers(axis.xaxis, *axis.get_xlim(), sparse=100.0)
            plain_numbers(axis.yaxis, *axis.get_ylim())
    return figure


def _styles(series: Sequence[Costs]) -> dict[str, dict[str, Any]]:
    """Returns the style of each name."""
    kinds = {costs.name: costs.predicted for costs in series}
    found: dict[str, dict[str, Any]] = {}
    for index, name in enumerate(name for name, predicted in kinds.items() if not predicted):
        colour, marker = _DFT[index % len(_DFT)]
        found[name] = {"color": colour, "marker": marker, "linestyle": "-"}
    for index, name in enumerate(name for name, predicted in kinds.items() if predicted):
        found[name] = {"color": MODEL, **_PREDICTED[index % len(_PREDICTED)]}
    return found


def _draw(axis: Axes, costs: Costs, label: str, style: dict[str, Any]) -> None:
    order = np.argsort(costs.places)
    places, seconds = (np.asarray(values, dtype=float)[order] for values in (costs.places, costs.seconds))
    axis.loglog(places, seconds, label=label, linewidth=1.1, markersize=4, **style)
