"""Correlation time of a series."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fermisea.errors import InputError
from fermisea.utilities.arrays import FloatArray

_WINDOW = 5.0
"""Upper limit of the sum of correlations, in correlation times."""


def autocorrelation(series: FloatArray) -> FloatArray:
    """Returns the normalised autocorrelation at each lag, (steps,), averaged over series; zero for constant ones.

    Args:
        series: (steps, series).
    """
    steps = len(series)
    fluctuation = series - series.mean(axis=0)
    spectrum = np.fft.rfft(fluctuation, n=2 * steps, axis=0)
    covariance = np.fft.irfft((np.abs(spectrum) ** 2).sum(axis=1))[:steps] / np.arange(steps, 0, -1)
    return np.zeros(steps) if covariance[0] <= 0 else np.asarray(covariance / covariance[0])


def correlation_time(values: npt.ArrayLike) -> float:
    """Returns the integrated autocorrelation time of a series, in steps; 1 for uncorrelated values.

    The time is 1 + 2 times the sum of the normalised autocorrelation up to the first lag of ``_WINDOW`` times the
    result (A. Sokal, Functional Integration, NATO ASI B 361, 131 (1997)): the number of steps for one independent
    value.

    Args:
        values: (steps,) or (steps, series); for several series the correlations are averaged, weighted by variance.

    Raises:
        InputError: for fewer than 4 steps.
    """
    series = np.atleast_2d(np.asarray(values, dtype=float).T).T
    steps = len(series)
    if steps < 4:
        raise InputError(f"correlation time: got {steps} values, expected at least 4")
    correlations = autocorrelation(series)
    if not correlations.any():
        return float(steps)  # a constant series
    times = 2 * np.cumsum(correlations) - 1
    far_enough = np.arange(steps) >= _WINDOW * times
    return float(max(times[np.argmax(far_enough)] if far_enough.any() else times[-1], 1.0))
