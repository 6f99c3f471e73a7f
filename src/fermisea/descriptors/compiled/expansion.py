"""Surroundings expanded in real hyperspherical harmonics, and the derivatives of that.

The harmonics of unit quaternions (cos theta_0, sin theta_0 r/|r|) are homogeneous polynomials in the four components,
so that nothing is singular at |r| = 0:

    Y_nlm = g_nl(cos theta_0) R_lm(sin theta_0 r/|r|),    n = 0 .. order, l <= n, -l <= m <= l

with Gegenbauer polynomials g_nl and real solid harmonics R_lm, by three-term recursions without their norms, which
enter once for all neighbours of a point. Y_nlm stands at n (n + 1) (2 n + 1) / 6 + l^2 + l + m.
"""
# ruff: noqa: ANN001, ANN201, ANN202, D417  # compiled for the types of its arguments; tables go by groups

from __future__ import annotations

import numpy as np

from fermisea.descriptors.compiled.bricks import aligned, surroundings
from fermisea.descriptors.compiled.compiling import compiled
from fermisea.descriptors.compiled.simd import (
    fma,
    lanes,
    load,
    root,
    splat,
    store,
    where_below,
)

_GROUP = 4
"""Neighbours whose harmonics are added in one go."""


@compiled
def _quaternion(near, place, cutoff, rmin0, polynomials):
    """Returns w f_c and (cos theta_0, sin theta_0 r/|r|) of a neighbour; see ``Expansion``."""
    size = lanes(near)
    x, y, z = load(near, place), load(near, place + size), load(near, place + 2 * size)
    square = fma(x, x, fma(y, y, z * z))
    if rmin0 == 0.0:
        t = square * (1.0 / (cutoff * cutoff))
        lever = splat(near, 1.0 / cutoff)
    else:
        distance = root(square)
        phase = (distance - rmin0) * (1.0 / (cutoff - rmin0))
        t = phase * phase
        lever = where_below(square, 1e-20, 0.0, phase / distance)
    last = polynomials.shape[0] - 1
    cosine = splat(near, polynomials[last, 0])
    sine = splat(near, polynomials[last, 1])
    switch = splat(near, polynomials[last, 2])
    for k in range(last - 1, -1, -1):
        cosine = fma(cosine, t, polynomials[k, 0])
        sine = fma(sine, t, polynomials[k, 1])
        switch = fma(switch, t, polynomials[k, 2])
    ratio = sine * lever
    if rmin0 > 0.0:
        cosine = where_below(distance, rmin0, 0.0 - cosine, cosine)
        ratio = where_below(distance, rmin0, 0.0 - ratio, ratio)
        switch = where_below(distance, rmin0, 1.0, switch)
        switch = where_below(square, 1e-20, 0.0, switch)
    scale = where_below(square, cutoff * cutoff, switch * load(near, place + 3 * size), 0.0)
    return scale, cosine, x * ratio, y * ratio, z * ratio


@compiled
def _add_solids(x, y, z, order, down, out, begin):
    """Writes R_lm(x, y, z), without norm, to ``out``, ((order + 1)^2, lanes), from ``begin`` on."""
    size = lanes(out)
    square = fma(x, x, fma(y, y, z * z))
    cosine, sine = splat(out, 1.0), splat(out, 0.0)
    for m in range(order + 1):
        last, value = splat(out, 0.0), splat(out, 1.0)
        for degree in range(m, order + 1):
            if degree > m:
                last, value = value, z * value - square * last * down[degree, m]
            centre = degree * degree + degree
            store(out, begin + (centre + m) * size, value * cosine)
            if m > 0:
                store(out, begin + (centre - m) * size, value * sine)
        cosine, sine = x * cosine - y * sine, x * sine + y * cosine


@compiled
def _add_radials(w, scale, order, loss, out, begin):
    """Writes ``scale`` g_nl(w), without norm, l = 0 .. order, n = l .. order, the latter fastest, to ``out``."""
    size = lanes(out)
    place = begin
    for degree in range(order + 1):
        last, value = splat(out, 0.0), scale
        for n in range(degree, order + 1):
            if n > degree:
                last, value = value, w * value - last * loss[n, degree]
            store(out, place, value)
            place += size


@compiled
def expand(
    points, inverse, span, positions, weights, first, bins, origin, inverse_width,
    cutoff, rmin0, polynomials, loss, down, norm, centre, out,
):  # fmt: skip
    """Writes A_nlm, the harmonics of all neighbours of each point and ``centre``, to ``out``.

    Args:
        points: in the cell, (bricks * lanes, 3).
        inverse, span, positions, weights, first, bins, origin, inverse_width: as ``Neighbors`` holds them.
        cutoff, rmin0: Angstrom.
        polynomials: cos theta_0, sin theta_0 / x and f_c in powers of x^2, (powers, 3); x as in ``Expansion``.
        loss, down, norm: as ``HarmonicTables`` holds them.
        centre: added to every point, (harmonics,).
        out: (bricks, harmonics * lanes).
    """
    size, order = lanes(out), loss.shape[0] - 1
    solids, radials = (order + 1) ** 2, (order + 1) * (order + 2) // 2
    found = np.empty(positions.shape[0], np.int64)
    near, who = aligned(0, out), np.empty(0, np.int64)
    solid, radial = aligned(_GROUP * solids * size, out), aligned(_GROUP * radials * size, out)
    for brick in range(out.shape[0]):
        count, near, who = surroundings(
            points[brick * size : (brick + 1) * size],
            cutoff, inverse, span, positions, weights, first, bins, origin, inverse_width, found, near, who,
        )  # fmt: skip
        total = out[brick]
        for k in range(norm.size):
            store(total, k * size, splat(out, 0.0))
        for group in range(0, count, _GROUP):
            for k in range(_GROUP):
                if group + k < count:
                    scale, w, x, y, z = _quaternion(near, 4 * (group + k) * size, cutoff, rmin0, polynomials)
                    _add_solids(x, y, z, order, down, solid, k * solids * size)
                    _add_radials(w, scale, order, loss, radial, k * radials * size)
                else:
                    radial[k * radials * size : (k + 1) * radials * size] = 0.0
                    solid[k * solids * size : (k + 1) * solids * size] = 0.0
            place = 0
            for degree in range(order + 1):
                for n in range(degree, order + 1):
                    g0 = load(radial, place)
                    g1 = load(radial, place + radials * size)
                    g2 = load(radial, place + 2 * radials * size)
                    g3 = load(radial, place + 3 * radials * size)
                    place += size
                    source = degree * degree * size
                    target = n * (n + 1) * (2 * n + 1) // 6 * size + source
                    for k in range(0, (2 * degree + 1) * size, size):
                        value = fma(load(solid, source + k), g0, load(total, target + k))
                        value = fma(load(solid, solids * size + source + k), g1, value)
                        value = fma(load(solid, 2 * solids * size + source + k), g2, value)
                        value = fma(load(solid, 3 * solids * size + source + k), g3, value)
                        store(total, target + k, value)
        for k in range(norm.size):
            store(total, k * size, load(total, k * size) * norm[k] + centre[k])


@compiled
def _quaternion_slopes(near, place, cutoff, rmin0, polynomials):
    """Returns d(w f_c), d(cos theta_0) and d(sin theta_0 / |r|) by d(r^2), and sin theta_0 / |r|, of a neighbour."""
    size = lanes(near)
    x, y, z = load(near, place), load(near, place + size), load(near, place + 2 * size)
    square = fma(x, x, fma(y, y, z * z))
    if rmin0 == 0.0:
        t, slope = square * (1.0 / (cutoff * cutoff)), splat(near, 1.0 / (cutoff * cutoff))
        lever, lever_slope = splat(near, 1.0 / cutoff), splat(near, 0.0)
    else:
        distance = root(square)
        phase = (distance - rmin0) * (1.0 / (cutoff - rmin0))
        t = phase * phase
        lever = where_below(square, 1e-20, 0.0, phase / distance)
        slope = lever * (1.0 / (cutoff - rmin0))
        lever_slope = where_below(square, 1e-20, 0.0, splat(near, 0.5 * rmin0 / (cutoff - rmin0)) / (square * distance))
    last = polynomials.shape[0] - 1
    zero = splat(near, 0.0)
    cosine, sine, switch = zero, zero, zero
    value = splat(near, polynomials[last, 1])
    for k in range(last, 0, -1):
        cosine = fma(cosine, t, k * polynomials[k, 0])
        sine = fma(sine, t, k * polynomials[k, 1])
        switch = fma(switch, t, k * polynomials[k, 2])
        value = fma(value, t, polynomials[k - 1, 1])
    ratio = value * lever
    cosine, switch = cosine * slope, switch * slope
    sine = fma(sine * slope, lever, value * lever_slope)
    if rmin0 > 0.0:
        cosine = where_below(distance, rmin0, 0.0 - cosine, cosine)
        sine = where_below(distance, rmin0, 0.0 - sine, sine)
        ratio = where_below(distance, rmin0, 0.0 - ratio, ratio)
        switch = where_below(distance, rmin0, 0.0, switch)
    switch = where_below(square, cutoff * cutoff, switch * load(near, place + 3 * size), 0.0)
    return switch, cosine, sine, ratio


@compiled
def _solid_gradient(solid, factors, order, leads):
    """Returns sum_lm factors_lm grad R_lm from all R_lm without norms, both ((order + 1)^2, lanes).

    Derivatives of solid harmonics are solid harmonics of the degree below: of S = R_lm + i R_l-m,
    d_z S_lm = (l + m) (l - m) / (2 l - 1) S_l-1,m and (d_x +- i d_y) S_lm = a S_l-1,m+1 or b S_l-1,m-1,
    with a and b in ``leads``, (2, order + 1, order + 1).
    """
    size = lanes(solid)
    x, y, z = splat(solid, 0.0), splat(solid, 0.0), splat(solid, 0.0)
    for degree in range(1, order + 1):
        here, below = (degree * degree + degree) * size, (degree * degree - degree) * size
        for m in range(degree + 1):
            a, b = leads[0, degree, m], leads[1, degree, m]
            even, odd = load(factors, here + m * size), load(factors, here - m * size)
            if m < degree:
                fall = leads[2, degree, m]
                z = fma(load(solid, below + m * size) * fall, even, z)
                if m > 0:
                    z = fma(load(solid, below - m * size) * fall, odd, z)
            if m + 1 < degree:
                real = load(solid, below + (m + 1) * size) * a
                imaginary = load(solid, below - (m + 1) * size) * a
                if m == 0:
                    x, y = fma(real, even, x), fma(imaginary, even, y)
                else:
                    x, y = fma(real * 0.5, even, x), fma(imaginary * 0.5, even, y)
                    x, y = fma(imaginary * 0.5, odd, x), y - real * 0.5 * odd
            if m > 0:
                real = load(solid, below + (m - 1) * size) * (0.5 * b)
                x, y = fma(real, even, x), fma(real, odd, y)
                if m > 1:
                    imaginary = load(solid, below - (m - 1) * size) * (0.5 * b)
                    x, y = fma(imaginary, odd, x), y - imaginary * even
    return x, y, z


@compiled
def expand_vjp(
    points, inverse, span, positions, weights, first, bins, origin, inverse_width,
    cutoff, rmin0, polynomials, loss, down, norm, leads, cotangents, by_image, by_point,
):  # fmt: skip
    """Adds the derivatives of sum A_nlm cotangents_nlm by the positions of images and points.

    Args:
        points, inverse, span, positions, weights, first, bins, origin, inverse_width: as for ``expand``.
        cutoff, rmin0, polynomials, loss, down, norm: as for ``expand``.
        leads: as ``HarmonicTables`` holds them.
        cotangents: (bricks, harmonics * lanes); overwritten.
        by_image: added to, (images, 3).
        by_point: added to, (bricks * lanes, 3).
    """
    size, order = lanes(cotangents), loss.shape[0] - 1
    solids, radials = (order + 1) ** 2, (order + 1) * (order + 2) // 2
    found = np.empty(positions.shape[0], np.int64)
    near, who = aligned(0, cotangents), np.empty(0, np.int64)
    solid, radial = aligned(solids * size, cotangents), aligned(radials * size, cotangents)
    factors, slopes = aligned(solids * size, cotangents), aligned(3 * size, cotangents)
    one = splat(cotangents, 1.0)
    for brick in range(cotangents.shape[0]):
        count, near, who = surroundings(
            points[brick * size : (brick + 1) * size],
            cutoff, inverse, span, positions, weights, first, bins, origin, inverse_width, found, near, who,
        )  # fmt: skip
        total = cotangents[brick]
        for k in range(norm.size):
            store(total, k * size, load(total, k * size) * norm[k])
        for k in range(count):
            place = 4 * k * size
            scale, w, x, y, z = _quaternion(near, place, cutoff, rmin0, polynomials)
            _add_solids(x, y, z, order, down, solid, 0)
            _add_radials(w, one, order, loss, radial, 0)
            by_scale, by_w = splat(cotangents, 0.0), splat(cotangents, 0.0)
            for m in range(solids):
                store(factors, m * size, 0.0)
            for degree in range(order + 1):
                begin = degree * (order + 1) - degree * (degree - 1) // 2 - degree  # of g_nl at n = 0
                beyond = begin + order - degree  # of g_n(l + 1)
                source = degree * degree * size
                for n in range(degree, order + 1):
                    g = load(radial, (begin + n) * size)
                    target = n * (n + 1) * (2 * n + 1) // 6 * size + source
                    overlap = splat(cotangents, 0.0)
                    for m in range(0, (2 * degree + 1) * size, size):
                        value = load(total, target + m)
                        overlap = fma(value, load(solid, source + m), overlap)
                        store(factors, source + m, fma(value, g, load(factors, source + m)))
                    by_scale = fma(overlap, g, by_scale)
                    if n > degree:
                        by_w = fma(load(radial, (beyond + n) * size) * (n - degree), overlap, by_w)
            gx, gy, gz = _solid_gradient(solid, factors, order, leads)
            gx, gy, gz, by_w = gx * scale, gy * scale, gz * scale, by_w * scale
            switch, cosine, sine, ratio = _quaternion_slopes(near, place, cutoff, rmin0, polynomials)
            dx, dy, dz = load(near, place), load(near, place + size), load(near, place + 2 * size)
            along = fma(gx, dx, fma(gy, dy, gz * dz))
            both = fma(by_scale, switch, fma(by_w, cosine, along * sine)) * 2.0
            store(slopes, 0, fma(both, dx, gx * ratio))
            store(slopes, size, fma(both, dy, gy * ratio))
            store(slopes, 2 * size, fma(both, dz, gz * ratio))
            for lane in range(size):
                image = who[k * size + lane]
                if image >= 0:
                    for axis in range(3):
                        slope = slopes[axis * size + lane]
                        by_image[image, axis] += slope
                        by_point[brick * size + lane, axis] -= slope
