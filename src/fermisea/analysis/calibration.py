"""How far the spread of an ensemble tells the error of its prediction, from the rows of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from fermisea.errors import InputError
from fermisea.physics.error_measures import QUANTITIES

_SMALLEST = 1e-9
"""Error and spread (eV) below which nothing is compared, as those of F(tau_ref) - F(tau_ref)."""


def calibration(rows: Sequence[Mapping[str, Any]], members: int) -> list[dict[str, Any]]:
    """Returns one row for each quantity and electronic temperature, plain data.

    Columns: quantity, electron_temperature, structures; mean_error: mean |error| of the ensemble's mean;
    median_member_error: the median over the members of what theirs is; spread: mean; pearson, spearman:
    correlation of spread and |error| over the structures; within_one, within_two: share of structures whose error is
    below one and two spreads; expected_one, expected_two: the same for errors that are drawn as the members are, from
    Student's distribution with members - 1 degrees of freedom; factor: by which the spreads would have to grow for
    the root mean square of error over spread to be one. The members' common error, which no spread shows, makes the
    factor large.

    Args:
        rows: of :func:`fermisea.evaluate` with an ensemble.
        members: of the ensemble.

    Raises:
        InputError: for rows without spreads.
    """
    if not rows or "band_energy_spread" not in rows[0]:
        raise InputError("calibration: got rows without spreads, expected those of an evaluation of an ensemble")
    table = []
    for name in QUANTITIES:
        for temperature in sorted({row["electron_temperature"] for row in rows}):
            chosen = [row for row in rows if row["electron_temperature"] == temperature and f"{name}_spread" in row]
            error = np.array([abs(row[f"{name}_error"]) for row in chosen])
            spread = np.array([row[f"{name}_spread"] for row in chosen])
            if not chosen or max(error.max(), spread.max()) < _SMALLEST:
                continue
            of_members = np.array([row[f"{name}_member_errors"] for row in chosen])
            ratio = error / np.maximum(spread, np.finfo(float).tiny)
            table.append(
                {
                    "quantity": name,
                    "electron_temperature": temperature,
                    "structures": len(chosen),
                    "mean_error": float(error.mean()),
                    "median_member_error": float(np.median(np.abs(of_members).mean(0))),
                    "spread": float(spread.mean()),
                    "pearson": _correlation(stats.pearsonr, spread, error),
                    "spearman": _correlation(stats.spearmanr, spread, error),
                    "within_one": float((ratio <= 1).mean()),
                    "within_two": float((ratio <= 2).mean()),
                    "expected_one": _expected(1, members),
                    "expected_two": _expected(2, members),
                    "factor": math.sqrt(float((ratio**2).mean())),
                }
            )
    return table


def _correlation(function: Any, spread: np.ndarray, error: np.ndarray) -> float | None:
    """Returns a correlation, None where there are too few structures or one side does not vary."""
    if len(spread) < 3 or np.ptp(spread) == 0 or np.ptp(error) == 0:
        return None
    return float(function(spread, error).statistic)


def _expected(width: float, members: int) -> float:
    """Returns the probability that the mean of n draws and the truth, one more draw, differ by less than some spreads.

    Their difference over the sample's standard deviation times sqrt(1 + 1/n) follows Student's distribution.
    """
    return float(2 * stats.t.cdf(width / math.sqrt(1 + 1 / members), members - 1) - 1)
