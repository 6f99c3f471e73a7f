"""Free energy against the electronic temperature, and the DOS with its occupation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.interpolate import make_interp_spline

from fermisea.errors import InputError
from fermisea.physics.fermi_dirac import occupation
from fermisea.physics.registry import OBSERVABLES
from fermisea.plots.style import GREY, INK, MODEL, mark, panels_figure, temperature_colours
from fermisea.utilities.arrays import FloatArray

_LINE = 12
"""Smallest number of predicted values drawn as a line."""


def free_energy_figure(
    electron_temperature: npt.ArrayLike,
    free_energy: npt.ArrayLike,
    *,
    curve: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    dft: Mapping[float, float] | None = None,
    transfer_error: npt.ArrayLike | None = None,
    spread: npt.ArrayLike | None = None,
    spread_name: str = "network spread",
    tail_error: npt.ArrayLike | None = None,
    reference_electron_temperature: float | Sequence[float] | None = None,
    title: str = "",
) -> Figure:
    """Returns F(tau_e) relative to its lowest temperature, with its error in a panel below.

    The lower panel shows the error against DFT values, if given, with the estimated error; otherwise the estimated
    error only, if given. A few predicted values are drawn as markers, connected by ``curve`` only; many are drawn as a
    line.

    Args:
        electron_temperature: tau_e of the prediction, K.
        free_energy: predicted F at each tau_e, eV/atom.
        curve: tau_e (K) and F (eV/atom) of a smooth curve through the predicted values.
        dft: free energies of self-consistent runs (eV/atom) by tau_e (K), which must be among the predicted ones. The
            zero of F is then the lowest of these temperatures.
        transfer_error: estimated error of the change of tau_e, at each tau_e, eV/atom.
        spread: standard deviation of F or F(tau_e) - F(tau_ref), at each tau_e, eV/atom; added to the transfer error in
            quadrature.
        spread_name: name of this deviation in the legend.
        tail_error: estimated error from electrons above the energy window, at each tau_e, eV/atom; added in quadrature.
        reference_electron_temperature: one or several tau_ref of the training data (K), marked.
        title: title of the figure.

    Raises:
        InputError: for different sizes, or a DFT temperature without a prediction.
    """
    temperature, energy = _columns("free energy", electron_temperature, free_energy)
    order = np.argsort(temperature)
    temperature, energy = temperature[order], energy[order]
    dft = dict(sorted((dft or {}).items()))
    index = _positions(temperature, list(dft))
    zero = index[0] if index else 0
    change = energy - energy[zero]
    transfer, deviation, tail = (_optional(values, order) for values in (transfer_error, spread, tail_error))
    estimate = _Estimate(temperature, transfer, deviation, tail, spread_name)
    references = np.atleast_1d([] if reference_electron_temperature is None else reference_electron_temperature)
    panels = 2 if dft or estimate.total is not None else 1
    with panels_figure(panels, (2.4, 1.0), 4.3 if panels == 2 else 3.0) as (figure, axes):
        top = axes[0]
        if temperature.size >= _LINE:
            top.plot(temperature / 1000, change, color=MODEL, label="model")
        else:
            if curve is not None:
                x, y = _columns("curve", *curve)
                top.plot(x / 1000, y - energy[zero], color=MODEL)
            top.plot(temperature / 1000, change, **mark("o", MODEL, filled=True), label="model")
        top.set_ylabel(r"$F(\tau_e) - F(" + f"{temperature[zero]:g}" + r"\,\mathrm{K})$ (eV/atom)")
        if dft:
            points = temperature[index] / 1000
            reference = np.array(list(dft.values())) - next(iter(dft.values()))
            top.plot(points, reference, **mark("o"), label="self-consistent DFT")
            _error_panel(axes[1], index, change[index] - reference, estimate)
        elif panels == 2:
            _estimate_panel(axes[1], estimate, references)
        for axis in axes:
            _mark_references(axis, references)
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
    per_atom: bool = True,
    title: str = "",
) -> Figure:
    """Returns the DOS with its occupied part at each electronic temperature, and the occupations below.

    Args:
        energies: energies of the DOS, (n,), eV.
        dos: predicted DOS of both spins, (n,), 1/(eV atom), or 1/eV if ``per_atom`` is False.
        electron_temperatures: tau_e, K.
        fermi_levels: mu at each tau_e, eV; energies are relative to mu at the lowest tau_e.
        dft: DOS of a DFT run on the same energies, in the same unit.
        per_atom: whether both DOS are per atom, for the axis label.
        title: title of the figure.

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
        top.set_ylabel(f"density of states ({OBSERVABLES['dos'].unit_of(per_atom=per_atom)})")
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
    """Returns observables of the electrons against tau_e, with a panel for each quantity, the first one tallest.

    Args:
        electron_temperature: tau_e, (n,), K.
        quantities: values, (n,), by axis label.
        fit: tau_e, K, and values of a fit to the first quantity, drawn dashed.
        title: title of the figure.

    Raises:
        InputError: for different sizes, or no quantity.
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


@dataclass(frozen=True, eq=False)
class _Estimate:
    """Estimated error of F at each tau_e.

    Attributes:
        temperature: tau_e, (n,), K.
        transfer: transfer error, (n,), eV/atom; None if unknown.
        spread: standard deviation, (n,), eV/atom; None without one.
        tail: error from electrons above the energy window, (n,), eV/atom; None without one.
        spread_name: name of the standard deviation.
    """

    temperature: FloatArray
    transfer: FloatArray | None
    spread: FloatArray | None
    tail: FloatArray | None = None
    spread_name: str = "network spread"

    @property
    def parts(self) -> dict[str, FloatArray]:
        """The known errors by name, (n,), eV/atom."""
        found = {"transfer error": self.transfer, "tail error": self.tail, self.spread_name: self.spread}
        return {name: values for name, values in found.items() if values is not None}

    @property
    def total(self) -> FloatArray | None:
        """The known errors in quadrature, (n,), eV/atom; None if none is known."""
        return np.sqrt(sum(values**2 for values in self.parts.values())) if self.parts else None

    @property
    def label(self) -> str:
        """Errors included in the estimate."""
        *first, last = self.parts
        named = f"{', '.join(first)} and {last}" if first else last
        return named if self.spread is not None else f"{named} (no network error)"


def _error_panel(axis: Axes, index: Sequence[int], error: FloatArray, estimate: _Estimate) -> None:
    axis.axhline(0, color=GREY, linewidth=0.7)
    temperature, total = estimate.temperature, estimate.total
    if total is not None:
        band = 1000 * total
        style: dict[str, Any] = {"color": MODEL, "alpha": 0.15, "linewidth": 0}
        axis.fill_between(temperature / 1000, -band, band, label=estimate.label, **style)
    points = temperature[list(index)] / 1000
    axis.plot(points, 1000 * error, color=MODEL, marker="o", markersize=4, linestyle="none", label="model − DFT")
    widest = 1000 * max(np.abs(error).max(), 0.0 if total is None else total.max(), 1e-6)
    axis.set_ylim(-1.3 * widest, 1.9 * widest)
    axis.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axis.set_ylabel("error\n(meV/atom)")
    if total is not None:
        axis.legend(loc="upper right", ncols=2, borderaxespad=0.1, columnspacing=1.0, handletextpad=0.4)


def _estimate_panel(axis: Axes, estimate: _Estimate, references: FloatArray) -> None:
    """Plots the estimated error in quadrature and, if there are several, its parts, without points at tau_ref."""
    total = estimate.total
    assert total is not None  # noqa: S101  # the caller checks
    line = "-" if estimate.temperature.size >= _LINE else "none"
    series = [(estimate.label, total, {**mark("o", MODEL, filled=True), "linestyle": line, "color": MODEL})]
    if len(estimate.parts) > 1:
        styles = {"transfer error": ("^", INK), "tail error": ("v", INK), estimate.spread_name: ("s", GREY)}
        series = [("total", *series[0][1:])]
        for name, values in estimate.parts.items():
            marker, colour = styles[name]
            series.append((name, values, {**mark(marker, colour), "linestyle": line, "color": colour}))
    shown = np.full(total.size, fill_value=True)
    if line == "none":  # F(tau_ref) needs no transfer: its mark would say "no error at all"
        shown = np.asarray(~np.isclose(estimate.temperature[:, None], references).any(axis=1))
    for label, values, style in series:
        points = estimate.temperature[shown] / 1000
        axis.plot(points, 1000 * values[shown], **style, label=label, clip_on=False)
    axis.set_ylim(0, 1000 * 1.7 * max(float(total.max()), 1e-6))
    axis.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    what = "\n$F(\\tau_e)-F(\\tau_{ref})$" if estimate.spread_name == "network spread" else " $F$"
    axis.set_ylabel(f"est. error of{what}\n(meV/atom)")
    axis.legend(loc="upper left", ncols=3, borderaxespad=0.1, columnspacing=1.0, handletextpad=0.2)


def _mark_references(axis: Axes, temperatures: FloatArray) -> None:
    for temperature in temperatures:
        axis.axvline(temperature / 1000, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    if not temperatures.size or axis.get_subplotspec() is None or not axis.get_subplotspec().is_first_row():  # type: ignore[union-attr]
        return
    axis.annotate(
        r"training data, $\tau_{\mathrm{ref}}$",
        (temperatures[0] / 1000, 0.05),
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
            f"free energy: DFT values at {', '.join(f'{t:g}' for t in missing)} K, but no predictions at these "
            "temperatures; predict at these electronic temperatures too"
        )
    return [int(np.argmin(np.abs(temperature - t))) for t in wanted]


def _smooth(energy: FloatArray, values: FloatArray, fine: FloatArray) -> FloatArray:
    """Returns a spline through values as a guide to the eye, nowhere below zero."""
    degree = min(3, energy.size - 1)
    return np.maximum(make_interp_spline(energy, values, k=degree)(fine), 0.0)


def _optional(values: npt.ArrayLike | None, order: npt.NDArray[np.intp]) -> FloatArray | None:
    return None if values is None else np.asarray(values, dtype=float)[order]


def _columns(name: str, first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    x, y = np.atleast_1d(np.asarray(first, dtype=float)), np.atleast_1d(np.asarray(second, dtype=float))
    if x.ndim != 1 or x.shape != y.shape or x.size == 0:
        raise InputError(f"{name}: got {x.shape} and {y.shape} values, expected equal numbers of both")
    return x, y
