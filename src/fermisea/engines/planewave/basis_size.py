"""Limits on the size of the basis: memory for all its states, and electrons beyond its highest energy."""

from __future__ import annotations

import math
import warnings

import numpy as np
from scipy.optimize import brentq

from fermisea import units
from fermisea.engines.planewave.band_plan import BandPlan, tail_bands, tail_energy
from fermisea.engines.planewave.problem import Problem
from fermisea.errors import InputError
from fermisea.physics.fermi_dirac import occupation
from fermisea.physics.free_electrons import fermi_level, quadrature, state_density
from fermisea.utilities.counts import counted
from fermisea.utilities.memory import machine_memory

_MATRICES = 5
"""Number of matrices of the size of the largest Hamiltonian that its diagonalisation needs at the same time."""

_BEYOND = 1e-3
"""Fraction of the electrons beyond the cutoff above which there is a warning."""

_FEW = 0.43
"""Number of bands below a tail, relative to the default number, below which the error of F may be above 0.1 %."""

_ROOM = 1.25
"""Cutoff over the energy at which the tail begins, above which the basis describes the bands well."""


def check_memory(problem: Problem) -> None:
    """Refuses the diagonalisation of the whole basis if the machine has too little memory.

    Raises:
        InputError: with the size of the basis and the memory.
    """
    sizes = [len(waves) for waves in problem.waves]
    needed = 16.0 * (sum(n * n for n in sizes) + _MATRICES * max(sizes) ** 2)
    memory = machine_memory()
    if needed > memory:
        raise InputError(
            f"bands: got 'all' with {max(sizes)} plane waves and {counted(len(sizes), 'k-point')}, whose states need "
            f"about {needed / 2**30:.0f} GiB, but the machine has {memory / 2**30:.0f} GiB of memory; lower the cutoff "
            f"({problem.cutoff:g} eV), or leave the number of bands to the engine, with a tail"
        )


def warn_of_hot_electrons(problem: Problem, plan: BandPlan) -> None:
    """Warns of electrons with energies that the basis does not reach.

    All states of a basis leave out the electrons beyond the cutoff. Below a tail, the basis has to describe bands up to
    the energy at which the tail begins. In both cases the warning names a sufficient cutoff.
    """
    if plan.whole:
        share, enough = _beyond(problem)
        if share > _BEYOND:
            warnings.warn(
                f"cutoff: got {problem.cutoff:g} eV, but at {problem.electron_temperature:g} K a fraction "
                f"{share:.2g} of the electrons has larger kinetic energies and is left out; raise the cutoff "
                f"to {enough:.0f} eV, or take fewer bands and a tail",
                stacklevel=4,
            )
    elif plan.tail is not None and plan.fixed and plan.bands < _FEW * (needed := tail_bands(problem)):
        warnings.warn(
            f"bands: got {plan.bands}, too few below a tail at {problem.electron_temperature:g} K for F to 0.1 %; take "
            f"about {needed} bands, or leave the number to the engine",
            stacklevel=4,
        )
    elif plan.tail is not None and not plan.fixed and problem.cutoff < (enough := _ROOM * tail_energy(problem)):
        warnings.warn(
            f"cutoff: got {problem.cutoff:g} eV, too low for the bands that F to 0.1 % needs at "
            f"{problem.electron_temperature:g} K; took {plan.bands} bands, raise the cutoff to {enough:.0f} eV",
            stacklevel=4,
        )


def _beyond(problem: Problem) -> tuple[float, float]:
    """Returns the fraction of free electrons beyond the cutoff, and a cutoff (eV) with a small fraction."""
    kt, volume = units.thermal_energy(problem.electron_temperature), problem.grid.volume

    def electrons(above: float, level: float) -> float:
        energies, weights = quadrature(above, 0.0, level, kt)
        filled = occupation(energies, level, problem.electron_temperature)
        return volume * float(np.sum(weights * state_density(energies, 0.0) * filled))

    level = fermi_level(problem.electrons / volume, problem.electron_temperature)
    share = electrons(problem.cutoff, level) / problem.electrons
    if share <= _BEYOND:
        return share, problem.cutoff
    lost = _BEYOND * problem.electrons
    found = brentq(lambda energy: electrons(energy, level) - lost, problem.cutoff, max(level, problem.cutoff) + 40 * kt)
    return share, 10 * math.ceil(found / 10)
