"""Free electrons above an energy: density of states, and quadrature for integrals over their energies.

The density of states of free electrons with the bottom of their band at U0 is, for both spins and per volume,
``STATES * sqrt(eps - U0)``. Fermi-Dirac integrals over the energies above an edge are incomplete; they are computed by
quadrature in the wave number, in which the integrand is smooth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from fermisea import units
from fermisea.physics.fermi_dirac import occupation
from fermisea.utilities.arrays import FloatArray

STATES = 1 / (2 * math.pi**2 * units.KINETIC**1.5)
"""Density of states of free electrons, both spins, over the root of the kinetic energy, 1/(eV^1.5 Angstrom^3)."""

SPLITS = np.array([0.0, 1.0, 2.0, 4.0, 7.0, 11.0, 16.0, 22.0, 30.0, 40.0])
"""Distances from the Fermi level, and from an edge, in units of k_B tau_e, at which a quadrature is split.

The poles of f lie at pi k_B tau_e from the real axis. Twelve nodes in each interval reach double precision, even after
the cancellation in fourth derivatives at 50 K. Beyond the last split f is 0 or 1.
"""

_NODES = 16
"""Number of Gauss-Legendre nodes between two splits."""


def state_density(energies: npt.ArrayLike, bottom: float) -> FloatArray:
    """Returns the density of states of free electrons per volume, both spins, 1/(eV Angstrom^3).

    Args:
        energies: eV, any shape; below ``bottom`` there are no states.
        bottom: energy of the lowest state, U0, eV.
    """
    return STATES * np.sqrt(np.maximum(np.asarray(energies, dtype=np.float64) - bottom, 0.0))


def band_edge(states: npt.ArrayLike, volume: float) -> FloatArray:
    """Returns the kinetic energy, eV, below which free electrons have a number of states per cell.

    Args:
        states: numbers of states, both spins, any shape.
        volume: volume of the cell, Angstrom^3.
    """
    return units.KINETIC * np.power(3 * math.pi**2 * np.asarray(states, dtype=np.float64) / volume, 2 / 3)


def quadrature(
    edge: float, bottom: float, fermi_level: float, thermal_energy: float, splits: Sequence[float] = ()
) -> tuple[FloatArray, FloatArray]:
    """Returns energies (eV) and weights (eV) for integrals from an edge to infinity.

    They are accurate to rounding for functions of (eps - mu)/(k_B tau_e) that decay like the Fermi-Dirac occupation,
    times (eps - U0)^(1/2) or (eps - U0)^(-1/2) and a polynomial.

    Args:
        edge: lower limit, eV, at least ``bottom``.
        bottom: U0, eV.
        fermi_level: mu, eV.
        thermal_energy: k_B tau_e, eV.
        splits: energies above the edge at which the integrand is not smooth, eV.
    """
    top = max(fermi_level, edge) + thermal_energy * SPLITS[-1]
    around = np.concatenate([-SPLITS[::-1], SPLITS]) * thermal_energy
    breaks = np.unique(np.concatenate([[edge, top], fermi_level + around, edge + around, splits]))
    waves = np.sqrt(breaks[(breaks >= edge) & (breaks <= top)] - bottom)
    left, right = waves[:-1, None], waves[1:, None]
    nodes, weights = _legendre()
    wave = (left + right) / 2 + (right - left) / 2 * nodes
    return (bottom + wave**2).ravel(), (2 * wave * (right - left) / 2 * weights).ravel()


def fermi_level(density: float, electron_temperature: float) -> float:
    """Returns mu of free electrons, eV, from the bottom of their band.

    Args:
        density: 1/Angstrom^3, above zero.
        electron_temperature: tau_e, K.
    """
    kt = units.thermal_energy(electron_temperature)
    degenerate = float(band_edge(density, 1.0))
    # from the classical gas, whose mu is lower, to the degenerate one
    classical = kt * math.log(density / (STATES * kt**1.5 * math.sqrt(math.pi) / 2))

    def excess(level: float) -> float:
        energies, weights = quadrature(0.0, 0.0, level, kt)
        filled = occupation(energies, level, electron_temperature)
        return STATES * float(weights @ (np.sqrt(energies) * filled)) - density

    return float(brentq(excess, min(classical, degenerate) - 10 * kt, degenerate + kt, xtol=1e-12 * (degenerate + kt)))


@cache
def _legendre() -> tuple[FloatArray, FloatArray]:
    """Returns nodes and weights of the Gauss-Legendre rule."""
    return np.polynomial.legendre.leggauss(_NODES)
