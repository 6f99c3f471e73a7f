"""Fermi-Dirac occupation, its derivatives and its entropy.

With x = (eps - mu)/(k_B tau_e): f = 1/(1 + e^x), and the entropy density is sigma = -[f ln f + (1-f) ln(1-f)].
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import expit

from fermisea import units
from fermisea.errors import InputError
from fermisea.utilities.arrays import FloatArray


def occupation(energies: npt.ArrayLike, fermi_level: float, electron_temperature: float) -> FloatArray:
    """Returns f, between 0 and 1, in the shape of ``energies``.

    Args:
        energies: eV.
        fermi_level: mu, eV.
        electron_temperature: tau_e, K.
    """
    return _f(_reduced(energies, fermi_level, electron_temperature))


def entropy_density(energies: npt.ArrayLike, fermi_level: float, electron_temperature: float) -> FloatArray:
    """Returns sigma = -[f ln f + (1-f) ln(1-f)] >= 0, in units of k_B, in the shape of ``energies``.

    Args:
        energies: eV.
        fermi_level: mu, eV.
        electron_temperature: tau_e, K.
    """
    return sigma(_reduced(energies, fermi_level, electron_temperature))


def grand_potential(energies: npt.ArrayLike, fermi_level: float, electron_temperature: float) -> FloatArray:
    """Returns -k_B tau_e ln(1 + e^-x) <= 0, eV, whose energy derivative is f, in the shape of ``energies``.

    Args:
        energies: eV.
        fermi_level: mu, eV.
        electron_temperature: tau_e, K.
    """
    logarithm = np.logaddexp(0.0, -_reduced(energies, fermi_level, electron_temperature))
    return np.asarray(-units.thermal_energy(electron_temperature) * logarithm)


def _reduced(energies: npt.ArrayLike, fermi_level: float, electron_temperature: float) -> FloatArray:
    return np.asarray((np.asarray(energies, dtype=float) - fermi_level) / units.thermal_energy(electron_temperature))


def _f(x: FloatArray) -> FloatArray:
    return np.asarray(expit(-x))


def sigma(x: FloatArray) -> FloatArray:
    """Returns the entropy density of x = (eps - mu)/(k_B tau_e), in units of k_B."""
    # sigma is even in x; ln(1 + e^-|x|) + |x| f(|x|) is accurate in the tails
    y = np.abs(x)
    return np.asarray(np.log1p(np.exp(-y)) + y * expit(-y))


def occupation_derivatives(x: FloatArray, highest: int) -> list[FloatArray]:
    """Returns f(x) and its derivatives with respect to x up to order ``highest``, each in the shape of ``x``."""
    f = _f(x)
    # powers of g = f (1 - f) and d = 1 - 2 f are accurate in the tails: g' = -g d, d' = 2 g
    g, d = f * _f(-x), _f(-x) - f
    results = [f]
    terms = {(1, 0): -1.0}  # exponents of (g, d): f' = -g
    for _ in range(highest):
        results.append(np.asarray(sum(c * g**a * d**b for (a, b), c in terms.items())))
        derived: dict[tuple[int, int], float] = {}
        for (a, b), c in terms.items():
            derived[a, b + 1] = derived.get((a, b + 1), 0.0) - a * c
            if b:
                derived[a + 1, b - 1] = derived.get((a + 1, b - 1), 0.0) + 2 * b * c
        terms = derived
    return results


def fermi_level_of_states(
    eigenvalues: npt.ArrayLike, weights: npt.ArrayLike, electrons: float, electron_temperature: float
) -> float:
    """Returns mu (eV) at which the discrete states contain ``electrons`` electrons.

    Args:
        eigenvalues: eV, (states,).
        weights: number of electrons in each full state (k-weight times 2), (states,).
        electrons: number of electrons.
        electron_temperature: tau_e, K.

    Raises:
        InputError: if the states cannot hold this number of electrons.
    """
    values, filled = np.asarray(eigenvalues, dtype=float), np.asarray(weights, dtype=float)
    if not 0 < electrons < filled.sum():
        raise InputError(
            f"electrons: got {electrons}, expected more than 0 and less than {filled.sum()}, the capacity of the states"
        )
    reach = 60 * units.thermal_energy(electron_temperature) + 1.0

    def excess(mu: float) -> float:
        return float(filled @ occupation(values, mu, electron_temperature)) - electrons

    return float(brentq(excess, values.min() - reach, values.max() + reach, xtol=1e-13, rtol=1e-14, maxiter=300))
