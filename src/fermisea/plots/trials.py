"""Progress of a search for a configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator

from fermisea.errors import InputError
from fermisea.physics.error_measures import ERROR_MEASURES
from fermisea.plots.style import GREY, INK, MODEL, mark, panels_figure


def tuning_figure(
    trials: Sequence[tuple[int, float, bool]],
    minimised: str,
    importances: Mapping[str, float] | None = None,
    *,
    title: str = "",
) -> Figure:
    """Returns the values of trials with the best value so far and, below, the importance of each varied field.

    Args:
        trials: number, value and completeness of each trial.
        minimised: name of the minimised error, as in an evaluation.
        importances: contribution of each field to the variance of the values; without it there is one panel.
        title: title of the figure.

    Raises:
        InputError: if no trial is complete.
    """
    complete = sorted((number, value) for number, value, whole in trials if whole)
    if not complete:
        raise InputError("trials: got no complete trial, expected at least one")
    pruned = [(number, value) for number, value, whole in trials if not whole]
    shares = dict(sorted((importances or {}).items(), key=lambda item: item[1]))
    panels = 2 if shares else 1
    height = 2.6 + (0.5 + 0.2 * len(shares) if shares else 0)
    with panels_figure(panels, (2.4, 0.3 + 0.2 * len(shares)), height, sharex=False) as (figure, axes):
        top = axes[0]
        numbers, values = np.array(complete).T
        if pruned:
            top.plot(*np.array(pruned).T, **mark("x", GREY), label="ended early")
        top.plot(numbers, values, **mark("o", INK), label="complete")
        ends = np.append(numbers, max(number for number, *_ in trials))
        best = np.append(np.minimum.accumulate(values), values.min())
        top.step(ends, best, where="post", color=MODEL, label="best so far")
        top.set_yscale("log")
        for place in (top.yaxis.set_major_formatter, top.yaxis.set_minor_formatter):
            place(LogFormatter(minor_thresholds=(2, 0.5)))
        top.set_xlabel("trial")
        top.set_ylabel(ERROR_MEASURES[minimised].axis_label if minimised in ERROR_MEASURES else minimised)
        top.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        top.tick_params(axis="x", which="minor", bottom=False, top=False)
        top.set_title(title)
        handles, labels = top.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(handles), handletextpad=0.4)
        if shares:
            bottom = axes[1]
            bottom.barh(list(shares), list(shares.values()), color=MODEL, height=0.6)
            bottom.tick_params(axis="y", which="both", left=False, right=False)
            bottom.set_xlim(0, None)
            bottom.set_xlabel("importance")
    return figure
