"""Free energy against the electronic temperature, and the DOS with its occupation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.interpolate import make_interp_spline

from fermisea.errors import InputError
from fermisea.physics.fermi_dirac import occupation
from fermisea.plots.style import GREY, INK, MODEL, mark, panels_figure, temperature_colours
from fermisea.utilities.arrays import FloatArray


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
    with panels_figure(2 if dft else 1, (2.4, 1.0), 4.3 if dft else 3.0) as (figure, axes):
        top = axes[0]
        marker: dict[str, Any] = {"marker": "o", "markersize": 3.5} if temperature.size < 12 else {}
        top.plot(temperature / 1000, change, color=MODEL, label="model", **marker)
        top.set_ylabel(r"$F(\tau_e) - F(" + f"{temperature[zero]:g}" + r"\,\mathrm{K})$ (eV/atom)")
        if dft:
            points = temperature[index] / 1000
            reference = np.array(list(dft.values())) - next(iter(dft.values()))
            top.plot(points, reference, **mark("o"), label="self-consistent DFT")
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
    with panels_figure(2, (2.4, 1.0), 4.3) as (figure, (top, bottom)):
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


def thermodynamics_figure(
    electron_temperature: npt.ArrayLike,
    quantities: Mapping[str, npt.ArrayLike],
    *,
    fit: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    title: str = "",
) -> Figure:
    """Returns what electrons do as they grow hot, a panel for each quantity, the first one highest.

    Args:
        electron_temperature: tau_e, (n,), K.
        quantities: what stands at the axis, to its values, (n,).
        fit: tau_e, K, and values of a fit to the first quantity, dashed.
        title: above the figure.

    Raises:
        InputError: for sizes that differ, or no quantity.
    """
    if not quantities:
        raise InputError("thermodynamics: got no quantity, expected at least one")
    columns = {name: _columns(name, electron_temperature, values) for name, values in quantities.items()}
    count = len(columns)
    with panels_figure(count, (1.7, *([1.0] * (count - 1))), 2.0 + 1.1 * count) as (figure, axes):
        for axis, (name, (temperature, values)) in zip(axes, columns.items(), strict=True):
            axis.axhline(0, color=GREY, linewidth=0.7)
            axis.plot(temperature / 1000, values, color=MODEL, label="model")
            axis.set_ylabel(name)
        if fit is not None:
            x, y = _columns("fit", *fit)
            style: dict[str, Any] = {"color": INK, "linestyle": (0, (1.2, 1.6)), "linewidth": 1.6}
            axes[0].plot(x / 1000, y, label="fit for ttm/mod", **style)
            axes[0].legend(loc="upper left")
        axes[0].set_ylim(0, None)
        axes[-1].set_xlabel(r"electronic temperature $\tau_e$ (1000 K)")
        axes[-1].set_xlim(0, 1.02 * max(temperature[-1] for temperature, _ in columns.values()) / 1000)
        axes[0].set_title(title)
    return figure


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
