"""Spread of energies that are linear in descriptors: posterior covariance of the ridge regression, calibrated.

The covariance of energies is the variance of their coefficients in the direction of the structure, times a factor, plus
a noise per atom. Both maximise the likelihood of the errors for structures left out of the fit. Energies of one
structure, like the terms of its change of F with tau_e, are wrong together, so that the factor and the noise of several
energies are matrices. Sources: C. E. Rasmussen, C. K. I. Williams, Gaussian Processes for Machine Learning (MIT Press,
2006), sections 2.1 and 5.4; several energies: A. K. Gupta, D. K. Nagar, Matrix Variate Distributions (Chapman and Hall,
2000), chapter 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from fermisea.utilities.arrays import FloatArray

_RANGE = np.linspace(-14.0, 14.0, 57)
"""Logarithms of the noise over the variance of the coefficients that are tried."""


@dataclass(frozen=True, eq=False)
class Posterior:
    """Spread of one energy of a structure, or covariance of several.

    A row of a structure holds the number of atoms of each element, then the sums of the descriptors over the atoms of
    each element.

    Attributes:
        covariance: covariance of the coefficients, (columns, columns), the same for all energies up to the factor.
        factor: factor of the covariance, () for one energy or (energies, energies).
        noise: variance of the energy per atom, in the square of the unit of the energy, or covariance of the energies.
    """

    covariance: FloatArray
    factor: FloatArray
    noise: FloatArray

    def spread(self, row: FloatArray, atoms: int) -> float:
        """Returns the spread per atom from the coefficients alone: how far a structure is from the data of the fit."""
        return float(np.sqrt(max(float(row @ self.covariance @ row), 0.0))) / atoms

    def deviation(self, spreads: npt.ArrayLike, atoms: npt.ArrayLike) -> FloatArray:
        """Returns standard deviations of one energy per atom, in its unit, from :meth:`spread` and numbers of atoms."""
        return np.sqrt(self.factor * np.square(spreads) + self.noise / np.asarray(atoms))

    def variance(self, row: FloatArray, atoms: int) -> FloatArray:
        """Returns the variance of the energy of a structure from its row, (columns,), or the covariance of several."""
        return np.asarray(max(float(row @ self.covariance @ row), 0.0) * self.factor + atoms * self.noise)


def calibrated(errors: npt.ArrayLike, leverages: npt.ArrayLike, atoms: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Returns the factor and the noise per atom that maximise the likelihood of errors of left-out structures.

    Both are matrices, (energies, energies), with a common ratio.

    Args:
        errors: errors of the energies of the cell, (structures, energies).
        leverages: variances before calibration, (structures,).
        atoms: numbers of atoms, (structures,).
    """
    wrong, leverage, count = (np.asarray(values, dtype=np.float64) for values in (errors, leverages, atoms))
    size = wrong.shape[1]
    wrong = wrong[:, wrong.any(axis=0)]
    if not wrong.size:
        return np.zeros((size, size)), np.zeros((size, size))
    unit = float(np.exp(np.mean(np.log(np.maximum(leverage, 1e-300) / count))))

    def cost(logarithm: float) -> float:
        shape = leverage + np.exp(logarithm) * unit * count
        variances = np.mean(np.square(wrong) / shape[:, None], axis=0)
        return float(wrong.shape[1] * np.mean(np.log(shape)) + np.sum(np.log(variances)))

    best = float(min(_RANGE, key=cost))
    found = minimize_scalar(cost, bounds=(best - 0.5, best + 0.5), method="bounded")
    ratio = float(np.exp(found.x)) * unit
    whole = np.asarray(errors, dtype=np.float64)
    factor = (whole / (leverage + ratio * count)[:, None]).T @ whole / len(whole)
    return factor, ratio * factor
