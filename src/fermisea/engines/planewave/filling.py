"""Fermi level, occupations and sums over the states of one potential, with or without a free-electron tail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from fermisea import units
from fermisea.engines.planewave.eigensolver import Bands
from fermisea.engines.planewave.problem import Problem
from fermisea.engines.planewave.tail import Tail, TailSums
from fermisea.physics.fermi_dirac import entropy_density, fermi_level_of_states, grand_potential, occupation
from fermisea.utilities.arrays import FloatArray


@dataclass(frozen=True)
class Filling:
    """Electrons in bands and tail.

    Attributes:
        fermi_level: mu, eV.
        weights: weight of each band in the density at each k-point, (bands,); without a tail, its occupation f.
        band_energy: sum of the energies of all electrons, eV.
        entropy_term: -TS, eV.
        top: highest occupation of the highest band, 0 to 1.
        tail_electrons: number of electrons in the tail.
        tail_bottom: bottom of the free electrons where the bands end, eV; None without a tail.
        uniform: number of electrons of the density that are not in a band.
        tail_kinetic: part of the free energy that only a tail has, eV.
    """

    fermi_level: float
    weights: Sequence[npt.NDArray[np.float64]]
    band_energy: float
    entropy_term: float
    top: float
    tail_electrons: float = 0.0
    tail_bottom: float | None = None
    uniform: float = 0.0
    tail_kinetic: float = 0.0


def fill(problem: Problem, states: Sequence[Bands], mean: float, tail: Tail | None) -> Filling:
    """Returns the occupations at which bands and tail have the electrons of the cell.

    Args:
        problem: electrons, tau_e and weights of the k-points.
        states: bands of each k-point.
        mean: average of the local effective potential, eV.
        tail: switch from bands to free electrons, or None.

    Raises:
        InputError: if the states cannot hold the electrons.
    """
    temperature = problem.electron_temperature
    values = [band.eigenvalues.cpu().numpy() for band in states]
    everything = np.concatenate(values)
    weights = np.concatenate([np.full(v.size, 2 * w) for v, w in zip(values, problem.weights, strict=True)])
    if tail is None:
        mu = fermi_level_of_states(everything, weights, problem.electrons, temperature)
        occupations = [occupation(v, mu, temperature) for v in values]
        band_energy = float(np.sum(weights * np.concatenate(occupations) * everything))
        entropy = float(np.sum(weights * entropy_density(everything, mu, temperature)))
        term = -units.thermal_energy(temperature) * entropy
        return Filling(mu, occupations, band_energy, term, max(float(filled[-1]) for filled in occupations))
    bottom = tail.bottom(everything, weights)
    switch, slope = tail.switch(everything - bottom)
    mu = _fermi_level(everything, weights * switch, problem, partial(tail.sums, bottom, mean))
    sums = tail.sums(bottom, mean, mu, temperature)
    filled, potential = occupation(everything, mu, temperature), grand_potential(everything, mu, temperature)
    count, moved = float(weights @ slope), float(weights @ (slope * potential))
    moved_weights = slope * (potential + (sums.shifted - moved) / count) if count else np.zeros_like(filled)
    entropy = sums.entropy + float((weights * switch) @ entropy_density(everything, mu, temperature))
    cuts = np.cumsum([v.size for v in values])
    return Filling(
        fermi_level=mu,
        weights=np.split(switch * filled + moved_weights, cuts[:-1]),
        band_energy=float((weights * switch) @ (filled * everything)) + sums.energy,
        entropy_term=-units.thermal_energy(temperature) * entropy,
        top=float(filled[cuts - 1].max()),
        tail_electrons=sums.electrons,
        tail_bottom=bottom,
        uniform=sums.electrons - sums.shifted,
        tail_kinetic=sums.kinetic - float((weights * moved_weights) @ (everything - bottom)),
    )


def _fermi_level(
    values: FloatArray, weights: FloatArray, problem: Problem, tail: Callable[[float, float], TailSums]
) -> float:
    """Returns mu (eV) at which bands with these weights, and the tail, have the electrons of the cell."""
    temperature = problem.electron_temperature

    def excess(mu: float) -> float:
        bands = float(weights @ occupation(values, mu, temperature))
        return bands + tail(mu, temperature).electrons - problem.electrons

    kt = units.thermal_energy(temperature)
    low, high = values.min() - 60 * kt - 1.0, values.max()
    while excess(high) < 0:  # free electrons have room for any number
        high += values.max() - values.min() + 10 * kt
    return float(brentq(excess, low, high, xtol=1e-13, rtol=1e-14, maxiter=300))
