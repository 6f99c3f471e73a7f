"""Bands that fill the energy window of an LDOS."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch

from fermisea.engines.ldos import free_electron_bands
from fermisea.engines.planewave.eigensolver import Bands, Tolerance
from fermisea.engines.planewave.problem import Problem
from fermisea.engines.planewave.scf import ScfState
from fermisea.engines.planewave.solver import KPointSolver
from fermisea.errors import InputError
from fermisea.physics.window import REACH

WINDOW_TOLERANCE = 0.03
"""Residual norm, eV, of bands that fill the energy window; the eigenvalue error is its square over a band gap."""

_LOOSER_ABOVE = 5.0
"""Energy above the Fermi level, eV, above which this tolerance grows, because higher bands are less occupied."""

_TWICE_AS_LOOSE = 2.0
"""Energy range, eV, over which the tolerance grows by its own value."""


def highest_energy(state: ScfState, broadening: float) -> float | None:
    """Returns the highest energy of a window that the bands of a run fill, eV; None for a run without a tail.

    Args:
        state: self-consistent state.
        broadening: standard deviation of the LDOS, eV.
    """
    if state.plan.tail is None and not state.plan.whole:
        return None
    return min(float(band.eigenvalues[-1]) for band in state.states) - REACH * broadening


def window_bands(problem: Problem, solver: KPointSolver, state: ScfState, needed: float) -> list[Bands]:
    """Returns bands that reach an energy at every k-point, in the converged potential.

    Args:
        problem: problem of the run.
        solver: eigensolver, with the bands of the run.
        state: self-consistent state.
        needed: energy to reach, eV.

    Raises:
        InputError: if the plane waves do not reach this energy.
    """
    if state.plan.whole and needed <= min(float(band.eigenvalues[-1]) for band in state.states):
        return list(state.states)
    level = state.filling.fermi_level
    above = max(needed - level, 0.0)
    bands = math.ceil(1.1 * free_electron_bands(problem.electrons, problem.grid.volume, above)) + 2
    bands = max(bands, *(len(band.eigenvalues) for band in state.states))
    if needed <= min(float(band.eigenvalues[-1]) for band in state.states):
        bands = len(state.states[0].eigenvalues)
    lowest = min(float(band.eigenvalues[0]) for band in state.states)

    def limits(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        high = np.maximum(values - level - _LOOSER_ABOVE, 0.0)
        return np.where(values < needed, WINDOW_TOLERANCE * (1 + high / _TWICE_AS_LOOSE), np.inf)

    solver.cast(torch.complex64)
    for _ in range(8):
        # for many bands, diagonalising a small basis saves more time than fewer steps
        states = solver.solve(state.potential, bands, limits, max_steps=16, max_blocks=2)
        top = min(float(band.eigenvalues[-1]) for band in states)
        if top < needed:  # the number of bands grows as for free electrons
            bands = math.ceil(bands * min(2.0, 1.02 * ((needed - lowest) / (top - lowest)) ** 1.5)) + 1
        elif all(_within(band, limits) for band in states):
            break
    else:
        raise InputError(
            f"energy window: {bands} bands do not fill it up to {needed:.1f} eV; raise the cutoff "
            f"({problem.cutoff} eV) or lower `highest_electron_temperature`"
        )
    # one Rayleigh-Ritz step in full precision removes rounding errors from the bands occupied at tau_ref
    solver.cast(problem.dtype)
    occupied = min(len(band.eigenvalues) for band in state.states)
    exact = solver.solve(state.potential, occupied, limits, max_steps=0)
    return [_with_lowest(band, lowest) for band, lowest in zip(states, exact, strict=True)]


def _within(bands: Bands, limits: Tolerance) -> bool:
    return bool((bands.residuals.cpu().numpy() <= limits(bands.eigenvalues.cpu().numpy())).all())


def _with_lowest(bands: Bands, lowest: Bands) -> Bands:
    """Returns the bands with the lowest ones replaced; the precision is the precision of the other bands."""
    count = len(lowest.eigenvalues)
    return Bands(
        torch.cat([lowest.eigenvalues, bands.eigenvalues[count:]]),
        torch.cat([lowest.coefficients.to(bands.coefficients.dtype), bands.coefficients[count:]]),
        torch.cat([lowest.residuals, bands.residuals[count:]]),
    )
