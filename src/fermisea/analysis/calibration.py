"""Calibration of an ensemble: its spread compared with its errors, from the rows of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from fermisea.errors import InputError
from fermisea.physics.error_measures import QUANTITIES

_SMALLEST = 1e-9
"""Smallest error and spread (eV) that are compared; F(tau_ref) - F(tau_ref) has neither."""


def calibration(rows: Sequence[Mapping[str, Any]], members: int) -> list[dict[str, Any]]:
    """Returns one row for each quantity and electronic temperature, plain data.

    Columns: quantity, electron_temperature, structures; mean_error: mean |error| of the ensemble; median_member_error:
    median over the networks of their mean |error|; spread: mean spread; pearson, spearman: correlation of spread and
    |error| over the structures; within_one, within_two: fraction of structures with an error below one and two
    spreads; expected_one, expected_two: the same fractions if the true value had the same distribution as the networks
    (Student's distribution with members - 1 degrees of freedom); factor: factor of the spreads that would make the root
    mean square of error over spread equal to one. Errors common to all networks, which the spread does not show, make
    the factor large.

    Args:
        rows: rows of :func:`fermisea.evaluate` with an ensemble.
        members: number of networks in the ensemble.

    Raises:
        InputError: for rows without spreads.
    """
    if not rows or "band_energy_spread" not in rows[0]:
        raise InputError("calibration: got rows without spreads, expected the rows of an evaluation of an ensemble")
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
    """Returns a correlation; None for too few structures or constant values."""
    if len(spread) < 3 or np.ptp(spread) == 0 or np.ptp(error) == 0:
        return None
    return float(function(spread, error).statistic)


def _expected(width: float, members: int) -> float:
    """Returns the probability that the mean of n draws differs from one more draw by less than ``width`` spreads.

    The difference divided by the standard deviation of the sample times sqrt(1 + 1/n) has Student's distribution.
    """
    return float(2 * stats.t.cdf(width / math.sqrt(1 + 1 / members), members - 1) - 1)
