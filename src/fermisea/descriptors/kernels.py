"""Compiled loops of the descriptors; all in one file, so that the compilation cache sees every change of a callee.

Surroundings are expanded in real hyperspherical harmonics of unit quaternions (cos theta_0, sin theta_0 r/|r|),
homogeneous polynomials in the four components, so that nothing is singular at |r| = 0:

    Y_nlm = g_nl(cos theta_0) R_lm(sin theta_0 r/|r|),    n = 0 .. order, l <= n, -l <= m <= l

with orthonormal Gegenbauer polynomials g_nl and orthonormal real solid harmonics R_lm, by their three-term recursions.
Y_nlm stands at n (n + 1) (2 n + 1) / 6 + l^2 + l + m.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles on first use without the interpreter lock; keeps the result on disk where some folder can be written."""
    options: dict[str, Any] = {"nogil": True, "fastmath": {"contract", "reassoc", "nsz"}}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache folder can be written
        return numba.njit(**options)(function)


@_compiled
def add_harmonics(scale, w, x, y, z, order, start, gain, loss, diagonal, up, down, solid, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Adds ``scale`` times all harmonics of the quaternion (w, x, y, z) to ``out``; tables from ``HarmonicTables``."""
    square = x * x + y * y + z * z
    # solid harmonics, column by column in m: R_lm = q_lm(z, |v|^2) Re, Im (x + i y)^m
    cosine, sine = 1.0, 0.0
    for m in range(order + 1):
        last, value = 0.0, diagonal[m]
        for degree in range(m, order + 1):
            if degree > m:
                last, value = value, up[degree, m] * z * value - down[degree, m] * square * last
            centre = degree * degree + degree
            solid[centre + m] = value * cosine
            if m > 0:
                solid[centre - m] = value * sine
        cosine, sine = x * cosine - y * sine, x * sine + y * cosine
    for degree in range(order + 1):
        first, width = degree * degree, 2 * degree + 1
        last, value = 0.0, scale * start[degree]
        for n in range(degree, order + 1):
            if n > degree:
                last, value = value, gain[n, degree] * w * value - loss[n, degree] * last
            offset = n * (n + 1) * (2 * n + 1) // 6 + first
            for k in range(width):
                out[offset + k] += value * solid[first + k]


@_compiled
def expand(  # type: ignore[no-untyped-def]  # noqa: ANN201
    fractions,  # noqa: ANN001
    lattice,  # noqa: ANN001
    positions,  # noqa: ANN001
    weights,  # noqa: ANN001
    first,  # noqa: ANN001
    bins,  # noqa: ANN001
    origin,  # noqa: ANN001
    inverse_width,  # noqa: ANN001
    cutoff,  # noqa: ANN001
    rfac0,  # noqa: ANN001
    rmin0,  # noqa: ANN001
    order,  # noqa: ANN001
    start,  # noqa: ANN001
    gain,  # noqa: ANN001
    loss,  # noqa: ANN001
    diagonal,  # noqa: ANN001
    up,  # noqa: ANN001
    down,  # noqa: ANN001
    out,  # noqa: ANN001
):
    """Adds the harmonics of all neighbours of each point to ``out``, (points, harmonics).

    ``fractions`` are fractional coordinates in [0, 1]; atoms (with all images within reach) are sorted by bin.
    """
    solid = np.zeros((order + 1) ** 2)
    low = np.zeros(3, np.int64)
    high = np.zeros(3, np.int64)
    for point in range(fractions.shape[0]):
        f0, f1, f2 = fractions[point, 0], fractions[point, 1], fractions[point, 2]
        px = f0 * lattice[0, 0] + f1 * lattice[1, 0] + f2 * lattice[2, 0]
        py = f0 * lattice[0, 1] + f1 * lattice[1, 1] + f2 * lattice[2, 1]
        pz = f0 * lattice[0, 2] + f1 * lattice[1, 2] + f2 * lattice[2, 2]
        for axis in range(3):
            middle = int((fractions[point, axis] - origin[axis]) * inverse_width[axis])
            low[axis] = max(middle - 1, 0)
            high[axis] = min(middle + 1, bins[axis] - 1)
        for i in range(low[0], high[0] + 1):
            for j in range(low[1], high[1] + 1):
                row = (i * bins[1] + j) * bins[2]
                for atom in range(first[row + low[2]], first[row + high[2] + 1]):
                    x = positions[atom, 0] - px
                    y = positions[atom, 1] - py
                    z = positions[atom, 2] - pz
                    square = x * x + y * y + z * z
                    if square >= cutoff * cutoff:
                        continue
                    distance = math.sqrt(square)
                    phase = math.pi * (distance - rmin0) / (cutoff - rmin0)
                    scale, sign = weights[atom], 1.0
                    if phase >= 0.0:
                        scale *= 0.5 * (math.cos(phase) + 1.0)
                    elif distance > 0.0:
                        sign = -1.0
                    else:
                        continue
                    angle = rfac0 * phase
                    ratio = sign * math.sin(angle) / distance if distance > 0.0 else 0.0
                    add_harmonics(
                        scale,
                        sign * math.cos(angle),
                        ratio * x,
                        ratio * y,
                        ratio * z,
                        order,
                        start,
                        gain,
                        loss,
                        diagonal,
                        up,
                        down,
                        solid,
                        out[point],
                    )


@_compiled
def contract_pairs(harmonics, order, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Writes p_{jj'l} = sum_m A_jlm A_j'lm for j <= j', l <= j to ``out``, (points, features)."""
    for point in range(harmonics.shape[0]):
        feature = 0
        for n1 in range(order + 1):
            offset1 = n1 * (n1 + 1) * (2 * n1 + 1) // 6
            for n2 in range(n1, order + 1):
                offset2 = n2 * (n2 + 1) * (2 * n2 + 1) // 6
                for degree in range(n1 + 1):
                    total = 0.0
                    for k in range(degree * degree, (degree + 1) * (degree + 1)):
                        total += harmonics[point, offset1 + k] * harmonics[point, offset2 + k]
                    out[point, feature] = total
                    feature += 1


@_compiled
def contract_triples(real, imaginary, triples, offsets, coupling, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Writes B_{j1 j2 j} = sum_{mm'} conj(u^j_mm') sum C_{m m1 m2} C_{m' m1' m2'} u^j1_m1m1' u^j2_m2m2' to ``out``.

    Args:
        real: real part of u, (sum_j (j + 1)^2, points), j = 0, 1, .. twice the angular momentum.
        imaginary: imaginary part of u, likewise.
        triples: j1, j2, j (twice the angular momenta) of each component, (components, 3).
        offsets: start of each component's table in ``coupling``, (components,).
        coupling: Clebsch-Gordan coefficients [m, m1] of every component, one after the other.
        out: (points, components).
    """
    points = real.shape[1]
    z_real = np.zeros(points)
    z_imaginary = np.zeros(points)
    total = np.zeros(points)
    for component in range(triples.shape[0]):
        j1, j2, j = triples[component, 0], triples[component, 1], triples[component, 2]
        size1, size2, size = j1 + 1, j2 + 1, j + 1
        offset1 = j1 * (j1 + 1) * (2 * j1 + 1) // 6
        offset2 = j2 * (j2 + 1) * (2 * j2 + 1) // 6
        offset = j * (j + 1) * (2 * j + 1) // 6
        shift = (j1 + j2 - j) // 2  # m2 = m - m1 as indices: m + shift - m1
        total[:] = 0.0
        # u_{-m,-m'} = (-1)^(m - m') conj(u_{m,m'}): the second half of the sum is the conjugate of the first
        for index in range((size * size + 1) // 2):
            row, column = index // size, index % size
            z_real[:] = 0.0
            z_imaginary[:] = 0.0
            for row1 in range(max(0, row + shift - j2), min(j1, row + shift) + 1):
                row2 = row + shift - row1
                factor = coupling[offsets[component] + row * size1 + row1]
                for column1 in range(max(0, column + shift - j2), min(j1, column + shift) + 1):
                    column2 = column + shift - column1
                    weight = factor * coupling[offsets[component] + column * size1 + column1]
                    k1 = offset1 + row1 * size1 + column1
                    k2 = offset2 + row2 * size2 + column2
                    for p in range(points):
                        a, b = real[k1, p], imaginary[k1, p]
                        c, d = real[k2, p], imaginary[k2, p]
                        z_real[p] += weight * (a * c - b * d)
                        z_imaginary[p] += weight * (a * d + b * c)
            weight = 1.0 if 2 * index + 1 == size * size else 2.0
            for p in range(points):
                total[p] += weight * (
                    real[offset + index, p] * z_real[p] + imaginary[offset + index, p] * z_imaginary[p]
                )
        for p in range(points):
            out[p, component] = total[p]
