"""Fourier coefficients of point sources by non-uniform fast Fourier transforms, at a cost of n log n.

S(m) = sum_a w_a exp(-2 pi i m f_a) for all indices m of a grid, with f_a the fractional coordinates of the sources.
The library is FINUFFT (A. H. Barnett, J. Magland, L. af Klinteberg, SIAM J. Sci. Comput. 41, C479, 2019). It spreads
the sources on a finer grid with a kernel of finite width, transforms this grid and divides by the transform of the
kernel.

FINUFFT has no wheels for some platforms; direct sums then take longer, with the same results.
"""

from __future__ import annotations

import math
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
class _Layout:
    """The indices m of the coefficients.

    Attributes:
        shape: number of grid points along each axis.
        half: whether the last axis has the indices 0 to nz // 2 of a real FFT only.
    """

    shape: tuple[int, int, int]
    half: bool

    @property
    def counts(self) -> tuple[int, int, int]:
        """Number of indices along each axis."""
        return (*self.shape[:2], self.shape[2] // 2 + 1) if self.half else self.shape

    @property
    def offset(self) -> int:
        """Shift of the indices of the last axis from the range around zero that the library computes."""
        return self.counts[2] // 2 if self.half else 0

    def index(self, axis: int) -> Tensor:
        """Returns the indices along one axis, ready to be broadcast."""
        n = self.shape[axis]
        index = torch.fft.fftfreq(n, 1.0 / n, dtype=torch.float64)
        if axis == 2 and self.half:
            index = torch.arange(self.counts[2], dtype=torch.float64)
        return index.reshape([-1 if axis == other else 1 for other in range(3)])

    def plan(self, kind: int, fractions: Tensor) -> Any:
        """Returns a plan of FINUFFT: ``kind`` 1 sums over the sources, 2 over the indices."""
        from finufft import Plan  # noqa: PLC0415  # for large cells only

        plan = Plan(
            kind,
            self.counts,
            eps=_ERROR,
            isign=-1 if kind == 1 else 1,
            upsampfac=_OVERSAMPLING,
            modeord=1,
            nthreads=1,  # several threads would add up the sources in an order that varies
        )
        angles = 2 * math.pi * (fractions - fractions.round())
        plan.setpts(*(angles[:, axis].contiguous().numpy() for axis in range(3)))
        return plan

    def phases(self, fractions: Tensor) -> Tensor:
        """Returns exp(-2 pi i f) to the power of the offset, (n,), which shifts the indices of the last axis."""
        return torch.exp(-2j * math.pi * self.offset * fractions[:, 2])


def fourier_sums(fractions: Tensor, weights: Tensor, shape: tuple[int, int, int], *, half: bool = False) -> Tensor:
    """Returns S(m) in the order of an FFT, complex; twice differentiable with respect to fractions and weights.

    Args:
        fractions: fractional coordinates of the sources, (n, 3), on the CPU, inside or outside of the cell.
        weights: weights of the sources, (n,).
        shape: number of grid points along each axis.
        half: whether to return the coefficients of a real FFT only, (nx, ny, nz // 2 + 1), else (nx, ny, nz).
    """
    return _sums(fractions, weights, _Layout(shape, half))


def _sums(fractions: Tensor, weights: Tensor, layout: _Layout) -> Tensor:
    sums: Tensor = _Sums.apply(fractions, weights, layout)  # type: ignore[no-untyped-call]
    return sums


def _series(fractions: Tensor, coefficients: Tensor, layout: _Layout) -> Tensor:
    series: Tensor = _Series.apply(fractions, coefficients, layout)  # type: ignore[no-untyped-call]
    return series


def _slopes(fractions: Tensor, coefficients: Tensor, layout: _Layout) -> Tensor:
    """Returns the derivatives of the series with respect to the fractional coordinates, (n, 3)."""
    columns = [_series(fractions, 2j * math.pi * layout.index(axis) * coefficients, layout) for axis in range(3)]
    return torch.stack(columns, dim=1)


class _Sums(torch.autograd.Function):
    """S(m), from fractions and weights."""

    @staticmethod
    def forward(ctx: Any, fractions: Tensor, weights: Tensor, layout: _Layout) -> Tensor:
        ctx.save_for_backward(fractions, weights)
        ctx.layout = layout
        sources = weights * layout.phases(fractions)
        sums = torch.from_numpy(layout.plan(1, fractions).execute(sources.numpy()))
        return torch.fft.fftshift(sums, dim=2) if layout.half else sums

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        fractions, weights = ctx.saved_tensors
        (gradient,) = gradients
        wanted_fractions, wanted_weights, _ = ctx.needs_input_grad
        by_fractions = _slopes(fractions, gradient, ctx.layout) * weights[:, None] if wanted_fractions else None
        by_weights = _series(fractions, gradient, ctx.layout) if wanted_weights else None
        return by_fractions, by_weights, None


class _Series(torch.autograd.Function):
    """Re sum_m C(m) exp(2 pi i m f_a), (n,), from fractions and coefficients C."""

    @staticmethod
    def forward(ctx: Any, fractions: Tensor, coefficients: Tensor, layout: _Layout) -> Tensor:
        ctx.save_for_backward(fractions, coefficients)
        ctx.layout = layout
        ordered = torch.fft.ifftshift(coefficients, dim=2) if layout.half else coefficients
        values = torch.from_numpy(layout.plan(2, fractions).execute(ordered.contiguous().numpy()))
        return (values * layout.phases(fractions).conj()).real

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        fractions, coefficients = ctx.saved_tensors
        (gradient,) = gradients
        wanted_fractions, wanted_coefficients, _ = ctx.needs_input_grad
        by_fractions = _slopes(fractions, coefficients, ctx.layout) * gradient[:, None] if wanted_fractions else None
        by_coefficients = _sums(fractions, gradient, ctx.layout) if wanted_coefficients else None
        return by_fractions, by_coefficients, None
