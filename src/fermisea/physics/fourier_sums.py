"""Fourier coefficients of point sources by non-uniform fast Fourier transforms, at a cost of n log n.

S(m) = sum_a w_a exp(-2 pi i m f_a) for all indices m of a grid, with f_a the fractional coordinates of the sources.
The library is FINUFFT (A. H. Barnett, J. Magland, L. af Klinteberg, SIAM J. Sci. Comput. 41, C479, 2019). It spreads
the sources on a finer grid with a kernel of finite width, transforms this grid and divides by the transform of the
kernel.

FINUFFT has no wheels for some platforms; direct sums then take longer, with the same results.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

_OVERSAMPLING = 1.5
"""Size of the finer grid in units of the grid along each vector; 1.25 has errors of 1e-8 at the edge of the grid."""

_ERROR = 1e-12
"""Requested error relative to the norm of S."""


@lru_cache(maxsize=1)
def _installed() -> bool:
    return find_spec("finufft") is not None


def has_fast_sums(positions: Tensor) -> bool:
    """Returns whether ``fourier_sums`` is possible: FINUFFT is installed, and the tensor is on the CPU."""
    return positions.device.type == "cpu" and _installed()


@dataclass(frozen=True)
class Run:
    """The indices of coefficients along one axis.

    Attributes:
        count: number of indices.
        lowest: lowest index, from which they ascend; None for the order of an FFT of ``count`` points.
    """

    count: int
    lowest: int | None = None

    @property
    def offset(self) -> int:
        """Shift of the indices from the range around zero that the library computes."""
        return 0 if self.lowest is None else self.lowest + self.count // 2

    @property
    def indices(self) -> Tensor:
        """All indices, (count,)."""
        if self.lowest is None:
            return torch.fft.fftfreq(self.count, 1.0 / self.count, dtype=torch.float64)
        return torch.arange(self.lowest, self.lowest + self.count, dtype=torch.float64)


Runs = tuple[Run, Run, Run]


def runs_of(shape: tuple[int, int, int], *, half: bool = False) -> Runs:
    """Returns the indices of the coefficients of an FFT, or with ``half`` of a real FFT, of (nx, ny, nz) points."""
    n, m, k = shape
    return Run(n), Run(m), Run(k // 2 + 1, 0) if half else Run(k)


def fourier_sums(fractions: Tensor, weights: Tensor, runs: Runs) -> Tensor:
    """Returns S(m), complex; twice differentiable with respect to fractions and weights.

    Args:
        fractions: fractional coordinates of the sources, (n, 3), on the CPU, inside or outside of the cell.
        weights: weights of the sources, (n,).
        runs: indices m along each axis.
    """
    return _sums(fractions, weights, runs)


def _plan(kind: int, fractions: Tensor, runs: Runs) -> Any:
    """Returns a plan of FINUFFT: ``kind`` 1 sums over the sources, 2 over the indices."""
    from finufft import Plan  # noqa: PLC0415  # for large cells only

    plan = Plan(
        kind,
        tuple(run.count for run in runs),
        eps=_ERROR,
        isign=-1 if kind == 1 else 1,
        upsampfac=_OVERSAMPLING,
        modeord=1,
        nthreads=1,  # several threads would add up the sources in an order that varies
    )
    angles = 2 * math.pi * (fractions - fractions.round())
    plan.setpts(*(angles[:, axis].contiguous().numpy() for axis in range(3)))
    return plan


def _phases(fractions: Tensor, runs: Runs) -> Tensor:
    """Returns exp(-2 pi i m f), (n,), with m the offsets of the indices."""
    offsets = torch.tensor([run.offset for run in runs], dtype=torch.float64)
    return torch.exp(-2j * math.pi * (fractions @ offsets))


def _shifted(shift: Callable[..., Tensor], values: Tensor, runs: Runs) -> Tensor:
    """Returns a shift along the axes whose indices ascend; the library has them in the order of an FFT."""
    axes = [axis for axis, run in enumerate(runs) if run.lowest is not None]
    return shift(values, dim=axes) if axes else values


def _sums(fractions: Tensor, weights: Tensor, runs: Runs) -> Tensor:
    sums: Tensor = _Sums.apply(fractions, weights, runs)  # type: ignore[no-untyped-call]
    return sums


def _series(fractions: Tensor, coefficients: Tensor, runs: Runs) -> Tensor:
    series: Tensor = _Series.apply(fractions, coefficients, runs)  # type: ignore[no-untyped-call]
    return series


def _slopes(fractions: Tensor, coefficients: Tensor, runs: Runs) -> Tensor:
    """Returns the derivatives of the series with respect to the fractional coordinates, (n, 3)."""
    columns = [_series(fractions, 2j * math.pi * _broadcast(runs, axis) * coefficients, runs) for axis in range(3)]
    return torch.stack(columns, dim=1)


def _broadcast(runs: Runs, axis: int) -> Tensor:
    """Returns the indices along one axis, ready to be broadcast."""
    return runs[axis].indices.reshape([-1 if axis == other else 1 for other in range(3)])


class _Sums(torch.autograd.Function):
    """S(m), from fractions and weights."""

    @staticmethod
    def forward(ctx: Any, fractions: Tensor, weights: Tensor, runs: Runs) -> Tensor:
        ctx.save_for_backward(fractions, weights)
        ctx.runs = runs
        sources = weights * _phases(fractions, runs)
        sums = torch.from_numpy(_plan(1, fractions, runs).execute(sources.numpy()))
        return _shifted(torch.fft.fftshift, sums, runs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        fractions, weights = ctx.saved_tensors
        (gradient,) = gradients
        wanted_fractions, wanted_weights, _ = ctx.needs_input_grad
        by_fractions = _slopes(fractions, gradient, ctx.runs) * weights[:, None] if wanted_fractions else None
        by_weights = _series(fractions, gradient, ctx.runs) if wanted_weights else None
        return by_fractions, by_weights, None


class _Series(torch.autograd.Function):
    """Re sum_m C(m) exp(2 pi i m f_a), (n,), from fractions and coefficients C."""

    @staticmethod
    def forward(ctx: Any, fractions: Tensor, coefficients: Tensor, runs: Runs) -> Tensor:
        ctx.save_for_backward(fractions, coefficients)
        ctx.runs = runs
        ordered = _shifted(torch.fft.ifftshift, coefficients, runs)
        values = torch.from_numpy(_plan(2, fractions, runs).execute(ordered.contiguous().numpy()))
        return (values * _phases(fractions, runs).conj()).real

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        fractions, coefficients = ctx.saved_tensors
        (gradient,) = gradients
        wanted_fractions, wanted_coefficients, _ = ctx.needs_input_grad
        by_fractions = _slopes(fractions, coefficients, ctx.runs) * gradient[:, None] if wanted_fractions else None
        by_coefficients = _sums(fractions, gradient, ctx.runs) if wanted_coefficients else None
        return by_fractions, by_coefficients, None
