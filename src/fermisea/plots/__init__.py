"""Figures: observables against tau_e, DOS with its occupation, model errors, trials of a search, g(r) and S(q), costs.

Each function returns a matplotlib figure and uses no global state; :func:`save_figure` writes PNG and SVG.
"""

from fermisea.plots.cost import Costs, cost_figure
from fermisea.plots.errors import calibration_figure, errors_figure
from fermisea.plots.structure import structure_figure
from fermisea.plots.style import save_figure, temperature_colours
from fermisea.plots.thermal import dos_figure, free_energy_figure, thermodynamics_figure
from fermisea.plots.trials import tuning_figure

__all__ = [
    "Costs",
    "calibration_figure",
    "cost_figure",
    "dos_figure",
    "errors_figure",
    "free_energy_figure",
    "save_figure",
    "structure_figure",
    "temperature_colours",
    "thermodynamics_figure",
    "tuning_figure",
]
