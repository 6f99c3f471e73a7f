"""Electronic entropy and free energy as functions of tau_e, from a spline for the heat capacity over tau_e."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.interpolate import BSpline

from fermisea.errors import InputError
from fermisea.utilities.arrays import FloatArray

_DEGREE = 3
_MOST = 20
"""Largest number of halvings."""


@dataclass(frozen=True)
class HeatBasis:
    """Basis functions b_k(tau_e) of C_e / tau_e: cubic B-splines, even in tau_e and never negative.

    The knots are 0 and ``highest`` divided by powers of two, because C_e / tau_e varies on the scale of tau_e itself.

    For C_e / tau_e = sum_k g_k b_k(tau_e), the entropy is the integral of C_e / tau_e from 0 to tau_e, and F is minus
    the integral of the entropy. Both are exact integrals of the splines, so S = -dF/dtau_e and C_e = tau_e dS/dtau_e
    hold to rounding. Even functions give F the expansion in tau_e^2 of a metal at low temperature, and coefficients
    that are not negative give C_e >= 0.

    Attributes:
        highest: end of the splines, K.
        halvings: number of times that ``highest`` is halved to reach the lowest knot above 0.
    """

    highest: float
    halvings: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.highest) and self.highest > 0):
            raise InputError(f"highest electronic temperature: got {self.highest:g} K, expected a finite value above 0")
        if not 0 <= self.halvings <= _MOST:
            raise InputError(f"halvings: got {self.halvings}, expected 0 to {_MOST}")

    @classmethod
    def between(cls, lowest: float, highest: float) -> Self:
        """Returns the basis whose lowest knot is the last one above ``lowest``, K."""
        return cls(highest, min(max(0, math.floor(math.log2(highest / lowest))), _MOST))

    @property
    def size(self) -> int:
        """Number of functions."""
        return self.halvings + 3

    @cached_property
    def _splines(self) -> tuple[BSpline, BSpline, BSpline]:
        """The functions, (..., size), their integrals, and the integrals of these, as functions of tau_e / highest."""
        above = 2.0 ** -np.arange(self.halvings, -1, -1)
        inner = np.concatenate([-above[::-1], [0.0], above])
        knots = np.concatenate([[-1.0] * _DEGREE, inner, [1.0] * _DEGREE])
        whole = len(knots) - _DEGREE - 1
        coefficients = np.zeros((whole, self.size))
        for row in range(whole):
            coefficients[row, min(row, whole - 1 - row)] = 1.0
        functions = BSpline(knots, coefficients, _DEGREE, extrapolate=False)
        return functions, functions.antiderivative(1), functions.antiderivative(2)

    def heat(self, electron_temperature: npt.ArrayLike) -> FloatArray:
        """Returns the functions b_k, (..., size), the share of each coefficient in C_e / tau_e."""
        return np.asarray(self._splines[0](self._reduced(electron_temperature)))

    def entropy(self, electron_temperature: npt.ArrayLike) -> FloatArray:
        """Returns the integrals of b_k from 0 to tau_e, (..., size), K."""
        once = self._splines[1]
        return np.asarray(self.highest * (once(self._reduced(electron_temperature)) - once(0.0)))

    def free_energy(self, electron_temperature: npt.ArrayLike) -> FloatArray:
        """Returns minus the integrals of ``entropy`` from 0 to tau_e, (..., size), K^2."""
        once, twice = self._splines[1:]
        x = self._reduced(electron_temperature)
        return np.asarray(-(self.highest**2) * (twice(x) - twice(0.0) - x[..., None] * once(0.0)))

    def _reduced(self, electron_temperature: npt.ArrayLike) -> FloatArray:
        return np.asarray(electron_temperature, dtype=np.float64) / self.highest
