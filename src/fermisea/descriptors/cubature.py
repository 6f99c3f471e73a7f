"""Power spectrum and bispectrum of functions on the three-sphere in tensor operations, differentiable to any order.

The surroundings of a point are a sum of peaks at unit quaternions q_k, sum_k s_k delta(q, q_k), with coefficients
A_nlm = sum_k s_k Y_nlm(q_k) in real orthonormal hyperspherical harmonics. Its part of degree n = 2 j is, by the
addition theorem,

    F_n(q) = sum_k s_k U_n(q . q_k) = 2 pi^2 / (n + 1) sum_lm A_nlm Y_nlm(q)        (U_n: Chebyshev, second kind)

and because the characters of SU(2) are U_n, the bispectrum is B_{j1 j2 j} = (2 j + 1) <F_j1 F_j2 F_j>, an average over
the sphere, which a Gaussian product rule integrates exactly. No Clebsch-Gordan coefficients are needed.

D. A. Varshalovich, A. N. Moskalev, V. K. Khersonskii, Quantum Theory of Angular Momentum (1988), chapters 4 and 5.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy.special import beta
from torch import Tensor


@dataclass(frozen=True, eq=False)
class HarmonicConstants:
    """Three-term recursions of the harmonics up to a degree; arrays broadcast with (rows, points, neighbours).

    Polynomials g_k orthonormal with g_k = (x g_(k-1) - b_(k-1) g_(k-2)) / b_k.

    Attributes:
        order: highest degree n.
        start: g_ll, rows l, (order + 1, 1, 1).
        radial: for k = 1 .. order, 1 / b_k and b_(k-1) / b_k of g_(l+k)l, rows l = 0 .. order - k.
        polar: for l = 1 .. order, 1 / b and b_(l-1) / b of R_lm, rows m = -(l-1) .. l-1; the second without its end
            points.
        sector: R_mm / R_(m-1)(m-1) without x + i y, m = 1 .. order.
    """

    order: int
    start: Tensor
    radial: tuple[tuple[Tensor, Tensor], ...]
    polar: tuple[tuple[Tensor, Tensor], ...]
    sector: tuple[float, ...]


@lru_cache(maxsize=32)
@torch.inference_mode(mode=False)
def harmonic_constants(order: int, dtype: torch.dtype, device: torch.device) -> HarmonicConstants:
    """Returns the recursions up to degree ``order``, cached for each type and device."""

    def column(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=dtype, device=device).reshape(-1, 1, 1)

    def pair(rows: list[tuple[int, float]], inner: slice) -> tuple[Tensor, Tensor]:
        last = [1 / _jacobi(k, parameter) for k, parameter in rows]
        before = [_jacobi(k - 1, parameter) / _jacobi(k, parameter) for k, parameter in rows]
        return column(last), column(before[inner])

    start = [1 / math.sqrt(beta(0.5, degree + 1.5)) for degree in range(order + 1)]
    radial = (pair([(k, l + 1.0) for l in range(order + 1 - k)], slice(None)) for k in range(1, order + 1))  # noqa: E741
    polar = (
        pair([(degree - abs(m), abs(m) + 0.5) for m in range(1 - degree, degree)], slice(1, -1))
        for degree in range(1, order + 1)
    )
    ends = [math.sqrt(1 / (4 * math.pi)), *(1 / math.sqrt(math.pi * beta(0.5, m + 1)) for m in range(1, order + 1))]
    sector = tuple(b / a for a, b in itertools.pairwise(ends))
    return HarmonicConstants(order, column(start), tuple(radial), tuple(polar), sector)


def _jacobi(k: int, parameter: float) -> float:
    """Returns b_k of x g_(k-1) = b_k g_k + b_(k-1) g_(k-2), orthonormal for (1 - x^2)^(parameter - 1/2)."""
    if k == 0:
        return 0.0
    return 0.5 * math.sqrt(k * (k + 2 * parameter - 1) / ((k + parameter) * (k + parameter - 1)))


def expand(constants: HarmonicConstants, scale: Tensor, w: Tensor, vector: Tensor) -> list[Tensor]:
    """Returns A_nlm of peaks on the three-sphere, summed over the last axis.

    Args:
        constants: recursions up to the highest degree.
        scale: s_k, (points, neighbours).
        w: first component of q_k, (points, neighbours).
        vector: the other three, (points, neighbours, 3), of length sqrt(1 - w^2).

    Returns:
        For each l = 0 .. order a tensor (points, order + 1 - l, 2 l + 1), rows n = l .. order, columns m = -l .. l.
    """
    radials = _radials(constants, scale, w)
    blocks = []
    for degree, solid in enumerate(_solids(constants, vector)):
        rows = torch.stack([radials[k][degree] for k in range(constants.order + 1 - degree)], dim=1)
        blocks.append(torch.bmm(rows, solid.permute(1, 2, 0)))
    return blocks


def _radials(constants: HarmonicConstants, scale: Tensor, w: Tensor) -> list[Tensor]:
    """Returns s g_(l+k)l(w) for each k, (order + 1 - k, points, neighbours), rows l."""
    values = [constants.start * scale]
    for k, (gain, loss) in enumerate(constants.radial, start=1):
        rows = constants.order + 1 - k
        value = gain * w * values[k - 1][:rows]
        values.append(value if k == 1 else value - loss * values[k - 2][:rows])
    return values


def _solids(constants: HarmonicConstants, vector: Tensor) -> list[Tensor]:
    """Returns the real solid harmonics R_lm for each l, (2 l + 1, points, neighbours), rows m = -l .. l."""
    x, y, z = vector.unbind(-1)
    square = x * x + y * y + z * z
    cosine, sine = torch.full_like(x, math.sqrt(1 / (4 * math.pi))), torch.zeros_like(x)
    values = [cosine[None]]
    for degree, ((gain, loss), sector) in enumerate(zip(constants.polar, constants.sector, strict=True), start=1):
        inner = gain * z * values[degree - 1]
        if degree > 1:
            middle = inner[1:-1] - loss * square * values[degree - 2]
            inner = torch.cat([inner[:1], middle, inner[-1:]])
        cosine, sine = sector * (x * cosine - y * sine), sector * (x * sine + y * cosine)
        values.append(torch.cat([sine[None], inner, cosine[None]]))
    return values


def of_degree(blocks: list[Tensor], n: int) -> Tensor:
    """Returns the coefficients of degree ``n``, (points, (n + 1)^2), l slowest, from the result of ``expand``."""
    return torch.cat([blocks[degree][:, n - degree] for degree in range(n + 1)], dim=1)


@lru_cache(maxsize=32)
@torch.inference_mode(mode=False)
def power_index(order: int, device: torch.device) -> Tensor:
    """Returns the index of each p_{jj'l}, j slowest and l fastest, in the concatenated products of all l."""
    sizes = [(order + 1 - degree) ** 2 for degree in range(order + 1)]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    places = [
        int(starts[degree]) + (j - degree) * (order + 1 - degree) + other - degree
        for j in range(order + 1)
        for other in range(j, order + 1)
        for degree in range(j + 1)
    ]
    return torch.tensor(places, device=device)


def power_spectrum(blocks: list[Tensor]) -> Tensor:
    """Returns p_{jj'l} = sum_m A_jlm A_j'lm for j <= j', l <= j, (points, features), from the result of ``expand``."""
    products = [torch.bmm(block, block.mT).flatten(1) for block in blocks]
    return torch.cat(products, dim=1).index_select(1, power_index(len(blocks) - 1, products[0].device))


def three_sphere_rule(degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns unit quaternions, (nodes, 4), and weights that sum to 1, exact for even polynomials up to ``degree``.

    For q = (cos(eta) e^(i a), sin(eta) e^(i b)), an even polynomial has integer frequencies of at most half its degree
    in a + b and a - b, which equidistant points integrate exactly; the rest is a polynomial in sin^2(eta), which
    Gauss-Legendre quadrature integrates exactly.
    """
    half = degree // 2
    abscissas, masses = np.polynomial.legendre.leggauss(half // 2 + 1)
    angles = 2 * np.pi * np.arange(half + 1) / (half + 1)
    plus, minus, t = np.meshgrid(angles, angles, (abscissas + 1) / 2, indexing="ij")
    a, b = (plus + minus) / 2, (plus - minus) / 2
    c, s = np.sqrt(1 - t), np.sqrt(t)
    nodes = np.stack([c * np.cos(a), c * np.sin(a), s * np.cos(b), s * np.sin(b)], axis=-1).reshape(-1, 4)
    return nodes, np.broadcast_to(masses / 2 / (half + 1) ** 2, plus.shape).reshape(-1)


@dataclass(frozen=True, eq=False)
class CubatureConstants:
    """Constants of the map from harmonic coefficients to the bispectrum.

    Attributes:
        matrices: for each degree n, from A_nlm to F_n times the cube root of the weight at the nodes,
            ((n + 1)^2, nodes).
        centre: the same for a peak of weight 1 at q = (1, 0, 0, 0), one row (1, nodes) for each n.
        index: index of each component in the concatenated products.
        factors: 2 j + 1 of each component.
    """

    matrices: tuple[Tensor, ...]
    centre: tuple[Tensor, ...]
    index: Tensor
    factors: Tensor


@lru_cache(maxsize=8)
@torch.inference_mode(mode=False)
@torch.no_grad()
def cubature_constants(twojmax: int, dtype: torch.dtype, device: torch.device) -> CubatureConstants:
    """Returns the constants of the bispectrum, cached for each type and device: 8 MB at twojmax 10 in float64."""
    nodes, weights = three_sphere_rule(3 * twojmax)
    q, root = torch.from_numpy(nodes), torch.from_numpy(np.cbrt(weights))
    constants = harmonic_constants(twojmax, torch.float64, q.device)
    blocks = expand(constants, torch.ones_like(q[:, :1]), q[:, :1], q[:, None, 1:])
    matrices = [2 * math.pi**2 / (n + 1) * of_degree(blocks, n).T * root for n in range(twojmax + 1)]
    chebyshev = [torch.ones_like(q[:, 0]), 2 * q[:, 0]]
    for _ in range(twojmax - 1):
        chebyshev.append(2 * q[:, 0] * chebyshev[-1] - chebyshev[-2])
    places, start = {(0, 0, 0): 0}, 1
    for j1, second, third in _products(twojmax):
        for row, j2 in enumerate(second):
            for column, j in enumerate(third):
                places[j1, j2, j] = start + row * len(third) + column
        start += len(second) * len(third)
    # components that violate the triangle inequality are zero and are omitted
    triples = sorted(triple for triple in places if triple[2] <= triple[0] + triple[1])
    return CubatureConstants(
        matrices=tuple(matrix.to(device, dtype).contiguous() for matrix in matrices),
        centre=tuple((row * root)[None].to(device, dtype) for row in chebyshev[: twojmax + 1]),
        index=torch.tensor([places[triple] for triple in triples], device=device),
        factors=torch.tensor([j + 1 for _, _, j in triples], dtype=dtype, device=device),
    )


@lru_cache(maxsize=8)
def _products(twojmax: int) -> tuple[tuple[int, range, range], ...]:
    """Returns j1 > 0, all j2 <= j1 of one parity, and all j >= j1 with j1 + j2 + j even."""
    return tuple(
        (j1, range(parity, j1 + 1, 2), range(j1 + parity, twojmax + 1, 2))
        for j1 in range(1, twojmax + 1)
        for parity in (0, 1)
        if j1 + parity <= twojmax
    )


def bispectrum(constants: CubatureConstants, blocks: list[Tensor]) -> Tensor:
    """Returns B_{j1 j2 j} of the peaks and a peak of weight 1 at (1, 0, 0, 0), j2 <= j1 <= j, (points, components)."""
    twojmax = len(blocks) - 1
    fields = [
        torch.addmm(centre, of_degree(blocks, n), matrix)
        for n, (centre, matrix) in enumerate(zip(constants.centre, constants.matrices, strict=True))
    ]
    parities = [torch.stack(fields[parity::2], dim=1) for parity in (0, 1) if parity <= twojmax]
    # F_0 is constant: its cube needs no sum over the nodes, which would be less accurate in float32
    joined = [(1 + math.sqrt(2) * math.pi * blocks[0][:, 0]) ** 3]
    for j1, second, third in _products(twojmax):
        left = parities[second.start % 2][:, : len(second)] * fields[j1][:, None]
        right = parities[third.start % 2][:, third.start // 2 :]
        joined.append(torch.bmm(left, right.mT).flatten(1))
    return constants.factors * torch.cat(joined, dim=1).index_select(1, constants.index)
