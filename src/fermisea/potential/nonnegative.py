"""The nearest linear model with predictions that are not negative, by the least-distance programme.

Source: C. L. Lawson, R. J. Hanson, Solving Least Squares Problems (SIAM, 1995), chapter 23.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from fermisea.utilities.arrays import FloatArray

_SMALLEST = 1e-6
"""Smallest singular value of the rows, relative to the largest, along which a solution is changed."""

_MARGIN = 1e-3
"""Smallest prediction, relative to the mean prediction of the same function."""


def nearest_nonnegative(solution: FloatArray, rows: FloatArray, combination: FloatArray) -> FloatArray:
    """Returns the solution whose combined predictions are not negative and whose predictions change the least.

    Args:
        solution: coefficients, (functions, columns).
        rows: row of each structure, (structures, columns); a prediction is ``rows @ solution.T``.
        combination: matrix (functions, functions), from predictions to the values that must not be negative.
    """
    left, singular, right = np.linalg.svd(rows, full_matrices=False)
    keep = singular > _SMALLEST * singular[0]
    left, back = left[:, keep], right[keep] / singular[keep, None]
    values = rows @ solution.T @ combination.T  # (structures, functions)
    lowest = _MARGIN * np.abs(values.mean(0))
    if (values >= lowest).all():
        return solution
    # unknowns a, (functions, rank): solution + a @ back, with combined values changing by combination (x) left
    constraints = np.einsum("kj,sr->skjr", combination, left).reshape(values.size, -1)
    bounds = (lowest - values).ravel()
    matrix = np.vstack([constraints.T, bounds])
    target = np.zeros(len(matrix))
    target[-1] = 1.0
    multipliers, _ = nnls(matrix, target, maxiter=30 * matrix.shape[1])
    residual = matrix @ multipliers - target
    change = -residual[:-1] / residual[-1]
    return np.asarray(solution + change.reshape(len(solution), -1) @ back)
