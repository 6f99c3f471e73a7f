"""Radial integrals on meshes, and their tables as smooth, differentiable functions of the momentum."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from scipy.interpolate import make_interp_spline
from torch import Tensor

from fermisea.errors import InputError
from fermisea.utilities.arrays import FloatArray

_SERIES_BELOW = 1.0
_SERIES_TERMS = 12
_MIRRORED = 12
_CHUNK = 256


def reduced_bessel(degree: int, x: npt.ArrayLike) -> FloatArray:
    """Returns j_l(x) / x^l of the spherical Bessel function j_l, finite and even at x = 0.

    The power series below x = 1, the recursion j_{l+1} = (2l + 1)/x j_l - j_{l-1} above (Abramowitz and Stegun, 10.1).

    Args:
        degree: l, 0 to 4.
        x: arguments >= 0, any shape.

    Returns:
        Array of the shape of ``x``.
    """
    x = np.asarray(x, dtype=np.float64)
    small = x < _SERIES_BELOW
    square = np.where(small, x, 0.0) ** 2
    term = np.full_like(x, 1 / math.prod(range(1, 2 * degree + 2, 2)))
    series = term.copy()
    for k in range(1, _SERIES_TERMS):
        term = term * (-square / 2) / (k * (2 * degree + 2 * k + 1))
        series += term
    safe = np.where(small, 1.0, x)
    lower, upper = np.cos(safe) / safe, np.sin(safe) / safe
    for order in range(degree):
        lower, upper = upper, (2 * order + 1) / safe * upper - lower
    return np.where(small, series, upper / safe**degree)


def simpson_weights(spacing: npt.ArrayLike) -> FloatArray:
    """Returns Simpson weights w_i of a mesh r(i), such that the sum of w_i f_i is the integral of f over r.

    Args:
        spacing: dr/di at an odd number of points, (n,), a length.

    Returns:
        (n,), the same unit.
    """
    spacing = np.asarray(spacing, dtype=np.float64)
    if len(spacing) < 3 or len(spacing) % 2 == 0:
        raise InputError(
            f"radial mesh: got {len(spacing)} points, expected an odd number of at least 3 (Simpson's rule)"
        )
    factors = np.full(len(spacing), 2.0)
    factors[1::2] = 4.0
    factors[[0, -1]] = 1.0
    return np.asarray(factors * spacing / 3)


def radial_transform(
    degree: int, momenta: npt.ArrayLike, radius: npt.ArrayLike, integrand: npt.ArrayLike
) -> FloatArray:
    """Returns 4 pi sum_i w_i r_i^2 f_i j_l(q r_i) / q^l, the Fourier transform of f(r) Y_lm divided by q^l.

    Args:
        degree: l.
        momenta: q, (nq,), 1/Angstrom.
        radius: r, (n,), Angstrom.
        integrand: w r^2 f for each of m functions f, (m, n), with w the weights of the mesh.

    Returns:
        (m, nq); Angstrom^l times the unit of the integrand.
    """
    momenta, radius = np.asarray(momenta, dtype=np.float64), np.asarray(radius, dtype=np.float64)
    weighted = 4 * np.pi * np.asarray(integrand, dtype=np.float64) * radius**degree
    result = np.empty((len(weighted), len(momenta)))
    for start in range(0, len(momenta), _CHUNK):
        part = slice(start, start + _CHUNK)
        result[:, part] = weighted @ reduced_bessel(degree, np.outer(radius, momenta[part]))
    return result


@dataclass(frozen=True, eq=False)
class RadialTable:
    """Even functions of q >= 0, tabulated at equally spaced momenta and interpolated by a quintic spline.

    Attributes:
        step: spacing of the momenta, 1/Angstrom; the first momentum is zero.
        values: table, (m, nq), one row for each function.
        name: name of the table, for the error raised beyond its end.
    """

    step: float
    values: FloatArray
    name: str = "radial function"

    def __post_init__(self) -> None:
        values = np.atleast_2d(np.asarray(self.values, dtype=np.float64))
        if values.ndim != 2 or values.shape[1] < 6 or not np.isfinite(values).all():
            raise InputError(
                f"{self.name}: got a table of shape {values.shape}, expected rows of 6 or more finite values"
            )
        if not (math.isfinite(self.step) and self.step > 0):
            raise InputError(
                f"{self.name}: got a table with step {self.step} 1/Angstrom, expected a finite one above 0"
            )
        object.__setattr__(self, "values", values)

    @property
    def highest(self) -> float:
        """Highest momentum of the table, 1/Angstrom."""
        return float(self.step * (self.values.shape[1] - 1))

    @cached_property
    def coefficients(self) -> Tensor:
        """Polynomials in t = q/step - k for each interval k, (6, m, nq - 1), highest power first."""
        size = self.values.shape[1]
        mirrored = min(_MIRRORED, size - 1)
        extended = np.concatenate([self.values[:, mirrored:0:-1], self.values], axis=1)
        spline = make_interp_spline(np.arange(-mirrored, size, dtype=float), extended, k=5, axis=1)
        knots = np.arange(size - 1, dtype=float)
        terms = [spline(knots, nu=power) / math.factorial(power) for power in range(5, -1, -1)]
        return torch.from_numpy(np.stack(terms))

    def __call__(self, momenta: Tensor) -> Tensor:
        """Returns all functions at ``momenta`` (1/Angstrom, any shape) as (m, ...), differentiable in the momenta.

        Raises:
            InputError: for a momentum beyond the end of the table.
        """
        asked = float(momenta.detach().max()) if momenta.numel() else 0.0
        if asked > self.highest * (1 + 1e-12):
            raise InputError(
                f"{self.name}: got a momentum of {asked:.2f} 1/Angstrom, expected at most {self.highest:.2f}; "
                "load the pseudopotential with a higher ``momentum``"
            )
        scaled = momenta / self.step
        intervals = self.values.shape[1] - 2
        index = scaled.detach().floor().long().clamp(0, intervals)
        t = scaled - index
        coefficients = self.coefficients.to(momenta.device)
        result = coefficients[0][:, index]
        for k in range(1, 6):
            result = result * t + coefficients[k][:, index]
        return result
