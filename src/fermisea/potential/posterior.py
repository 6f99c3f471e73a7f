"""Spread of an energy that is linear in descriptors: posterior variance of the ridge regression, calibrated.

The variance of an energy is the variance of the coefficients in the direction of the structure, times a factor, plus a
noise variance per atom. Both maximise the likelihood of the errors for structures left out of the fit. Source: C.
E. Rasmussen, C. K. I. Williams, Gaussian Processes for Machine Learning (MIT Press, 2006), sections 2.1 and 5.4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from fermisea.utilities.arrays import FloatArray

_FLOOR = 1e-12
"""Smallest variance relative to the mean square of the errors."""


@dataclass(frozen=True, eq=False)
class Posterior:
    """Spread of one or several linear energies of a structure.

    A row of a structure holds the number of atoms of each element, then the sums of the descriptors over the atoms of
    each element.

    Attributes:
        covariance: covariance of the coefficients, (..., columns, columns), in the square of their unit.
        noise: variance of the energy per atom, (...), in the square of the unit of the energy.
    """

    covariance: FloatArray
    noise: FloatArray

    def variance(self, row: FloatArray, atoms: int) -> FloatArray:
        """Returns the variance of each energy of a structure, (...), from its row, (columns,)."""
        along = np.einsum("...ij,i,j->...", self.covariance, row, row)
        return np.asarray(np.maximum(along, 0.0) + atoms * self.noise)


def calibrated(squares: npt.ArrayLike, leverages: npt.ArrayLike, atoms: npt.ArrayLike) -> tuple[float, float]:
    """Returns the factor and the noise variance per atom that maximise the likelihood of errors of left-out structures.

    Args:
        squares: squared errors of the energy of the cell, (structures,), in the square of the unit of the energy.
        leverages: variances before calibration, (structures,).
        atoms: numbers of atoms, (structures,).
    """
    error, leverage, count = (np.asarray(values, dtype=np.float64) for values in (squares, leverages, atoms))
    if not error.any():
        return 0.0, 0.0
    scales = np.array([error.mean() / max(leverage.mean(), 1e-300), error.mean() / count.mean()])
    floor = _FLOOR * error.mean()

    def cost(logarithms: FloatArray) -> float:
        factor, part = np.exp(np.clip(logarithms, -40, 40)) * scales
        variance = factor * leverage + part * count + floor
        return float(np.sum(error / variance + np.log(variance)))

    starts = ([0.0, -3.0], [-3.0, 0.0], [-0.7, -0.7])
    found = min((minimize(cost, start, method="Nelder-Mead") for start in starts), key=lambda result: result.fun)
    factor, part = np.exp(np.clip(found.x, -40, 40)) * scales
    return float(factor), float(part)
