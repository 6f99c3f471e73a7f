"""Compiled loops of the descriptors.

Points come in bricks: as many neighbouring points as a register has lanes, so that each operation acts on all of them.
Surroundings are expanded in real hyperspherical harmonics of unit quaternions (cos theta_0, sin theta_0 r/|r|),
homogeneous polynomials in the four components, so that nothing is singular at |r| = 0:

    Y_nlm = g_nl(cos theta_0) R_lm(sin theta_0 r/|r|),    n = 0 .. order, l <= n, -l <= m <= l

with Gegenbauer polynomials g_nl and real solid harmonics R_lm, by three-term recursions without their norms, which
enter once for all neighbours of a point. Y_nlm stands at n (n + 1) (2 n + 1) / 6 + l^2 + l + m.

Arrays that registers are read from and written to are flat; the lanes are their last index.
"""
# ruff: noqa: ANN001, ANN201, ANN202, D417, E501  # compiled for the types of its arguments; tables go by groups

from __future__ import annotations

import math

import numpy as np

from fermisea.descriptors.compiled import compiled
from fermisea.descriptors.simd import (
    fma,
    lanes,
    load,
    root,
    row_fma,
    row_fnma,
    row_read,
    row_zeros,
    splat,
    store,
    where_below,
)

_GROUP = 4
"""Neighbours whose harmonics are added in one go."""

_LINE = 64
"""Bytes of a cache line."""


@compiled
def aligned(size, like):
    """Returns an empty array of the type of ``like`` that begins with a cache line."""
    raw = np.empty(size + _LINE, like.dtype)
    skip = (-raw.ctypes.data) % _LINE // like.itemsize
    return raw[skip : skip + size]


@compiled
def box_points(start, extent, brick, transform, lattice, first, points, rows):
    """Writes the points of some bricks of a box and the rows of the result that they belong to.

    Args:
        start: index of the box's first grid point, (3,).
        extent: number of its points along each axis, (3,).
        brick: points of a brick along each axis, (3,).
        transform: from grid indices to fractional coordinates of the structure, (3, 3).
        lattice: of the structure, rows, (3, 3).
        first: number of the first brick.
        points: Cartesian, (bricks * lanes, 3), of the images in the cell.
        rows: in C order of the box, (bricks * lanes,); -1 for lanes that stick out of it.
    """
    bricks1, bricks2 = -(-extent[1] // brick[1]), -(-extent[2] // brick[2])
    for place in range(rows.size // (brick[0] * brick[1] * brick[2])):
        number = first + place
        b0, b1, b2 = number // (bricks1 * bricks2), number // bricks2 % bricks1, number % bricks2
        lane = place * brick[0] * brick[1] * brick[2]
        for k0 in range(brick[0]):
            for k1 in range(brick[1]):
                for k2 in range(brick[2]):
                    i0, i1, i2 = b0 * brick[0] + k0, b1 * brick[1] + k1, b2 * brick[2] + k2
                    inside = i0 < extent[0] and i1 < extent[1] and i2 < extent[2]
                    rows[lane] = (i0 * extent[1] + i1) * extent[2] + i2 if inside else -1
                    g0 = start[0] + min(i0, extent[0] - 1)
                    g1 = start[1] + min(i1, extent[1] - 1)
                    g2 = start[2] + min(i2, extent[2] - 1)
                    points[lane] = 0.0
                    for axis in range(3):
                        f = g0 * transform[0, axis] + g1 * transform[1, axis] + g2 * transform[2, axis]
                        f -= math.floor(f + 1e-12)  # a point of the cell's own face stays on it
                        for k in range(3):
                            points[lane, k] += f * lattice[axis, k]
                    lane += 1


@compiled
def _collect(point, reach, inverse, span, positions, first, bins, origin, inverse_width, found):
    """Writes the places of all images closer than ``reach`` to a point to ``found``; returns their number."""
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    for axis in range(3):
        f = point[0] * inverse[0, axis] + point[1] * inverse[1, axis] + point[2] * inverse[2, axis] - origin[axis]
        low[axis] = max(math.floor((f - reach * span[axis]) * inverse_width[axis]), 0)
        high[axis] = min(math.floor((f + reach * span[axis]) * inverse_width[axis]), bins[axis] - 1)
    count = 0
    for i in range(low[0], high[0] + 1):
        for j in range(low[1], high[1] + 1):
            row = (i * bins[1] + j) * bins[2]
            for image in range(first[row + low[2]], first[row + high[2] + 1]):
                x = positions[image, 0] - point[0]
                y = positions[image, 1] - point[1]
                z = positions[image, 2] - point[2]
                if x * x + y * y + z * z < reach * reach:
                    found[count] = image
                    count += 1
    return count


@compiled
def _surroundings(
    points, cutoff, inverse, span, positions, weights, first, bins, origin, inverse_width, found, near, who
):
    """Writes displacements and weights of the neighbours of one brick to ``near``, and their places to ``who``.

    Points close to each other share the neighbours of their middle; others have neighbours of their own, filled up with
    atoms of weight 0.

    Returns:
        The number of neighbours; ``near``, (count, 4, lanes), and ``who``, (count, lanes), perhaps longer than before.
    """
    size = points.shape[0]
    middle = np.zeros(3)
    for lane in range(size):
        middle += points[lane] / size
    radius = 0.0
    for lane in range(size):
        radius = max(radius, np.sum((points[lane] - middle) ** 2))
    radius = math.sqrt(radius)
    if radius < 0.5 * cutoff:
        count = _collect(middle, cutoff + radius, inverse, span, positions, first, bins, origin, inverse_width, found)
        if count * size > who.size:
            near, who = aligned(8 * count * size, near), np.empty(2 * count * size, np.int64)
        shift = aligned(3 * size, near)
        for axis in range(3):
            for lane in range(size):
                shift[axis * size + lane] = points[lane, axis] - middle[axis]
        for k in range(count):
            image = found[k]
            for axis in range(3):
                offset = splat(near, positions[image, axis] - middle[axis]) - load(shift, axis * size)
                store(near, (4 * k + axis) * size, offset)
            store(near, (4 * k + 3) * size, splat(near, weights[image]))
            for lane in range(size):
                who[k * size + lane] = image
        return count, near, who
    most = 0
    for lane in range(size):
        count = _collect(points[lane], cutoff, inverse, span, positions, first, bins, origin, inverse_width, found)
        if count * size > who.size:
            wider, longer = aligned(8 * count * size, near), np.empty(2 * count * size, np.int64)
            wider[: near.size], longer[: who.size] = near, who
            near, who = wider, longer
        for k in range(max(most, count)):
            if k >= most:  # for the lanes before this one
                for earlier in range(lane):
                    who[k * size + earlier] = -1
                    for axis in range(4):
                        near[(4 * k + axis) * size + earlier] = 0.0
            place = 4 * k * size + lane
            if k < count:
                who[k * size + lane] = found[k]
                for axis in range(3):
                    near[place + axis * size] = positions[found[k], axis] - points[lane, axis]
                near[place + 3 * size] = weights[found[k]]
            else:
                who[k * size + lane] = -1
                for axis in range(4):
                    near[place + axis * size] = 0.0
        most = max(most, count)
    return most, near, who


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
    near, who = aligned(256 * size, out), np.empty(64 * size, np.int64)
    solid, radial = aligned(_GROUP * solids * size, out), aligned(_GROUP * radials * size, out)
    for brick in range(out.shape[0]):
        count, near, who = _surroundings(
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
def _write_rows(values, rows, out):
    """Copies the lanes of ``values``, (features, lanes), to their rows of ``out``."""
    size = rows.size
    for lane in range(size):
        row = rows[lane]
        if row >= 0:
            for feature in range(out.shape[1]):
                out[row, feature] = values[feature * size + lane]


@compiled
def contract_pairs(harmonics, rows, order, out):
    """Writes p_{jj'l} = sum_m A_jlm A_j'lm for j <= j', l <= j to the rows of ``out``, (points, features)."""
    size = lanes(out)
    values = aligned(out.shape[1] * size, out)
    for brick in range(harmonics.shape[0]):
        a = harmonics[brick]
        place = 0
        for n1 in range(order + 1):
            offset1 = n1 * (n1 + 1) * (2 * n1 + 1) // 6
            for n2 in range(n1, order + 1):
                offset2 = n2 * (n2 + 1) * (2 * n2 + 1) // 6
                for degree in range(n1 + 1):
                    total = splat(out, 0.0)
                    for k in range(degree * degree, (degree + 1) * (degree + 1)):
                        total = fma(load(a, (offset1 + k) * size), load(a, (offset2 + k) * size), total)
                    store(values, place, total)
                    place += size
        _write_rows(values, rows[brick * size : (brick + 1) * size], out)


@compiled
def _wigner(a, pointers, columns, entries, places, out):
    """Writes all u^j_mm', real and imaginary parts, from ``a``, (harmonics, lanes); tables of ``WignerTables``."""
    size = lanes(a)
    for k in range(places.shape[0]):
        real, imaginary = splat(a, 0.0), splat(a, 0.0)
        for entry in range(pointers[2 * k], pointers[2 * k + 1]):
            real = fma(load(a, columns[entry] * size), entries[entry], real)
        for entry in range(pointers[2 * k + 1], pointers[2 * k + 2]):
            imaginary = fma(load(a, columns[entry] * size), entries[entry], imaginary)
        store(out, places[k, 0] * size, real)
        store(out, (places[k, 0] + 1) * size, imaginary)
        if places[k, 2] > 0:
            store(out, places[k, 1] * size, real)
            store(out, (places[k, 1] + 1) * size, 0.0 - imaginary)
        elif places[k, 2] < 0:
            store(out, places[k, 1] * size, 0.0 - real)
            store(out, (places[k, 1] + 1) * size, imaginary)


@compiled
def _triple_rows(u, first, second, third, factors, weights, lows, highs, total):
    """Returns Re sum_k factors[k] sum u_1[k, c1] u_2[c2] u_3[k, c3] weights[c3, c1] over columns, c1 + c2 + c3 fixed.

    Args:
        u: Wigner functions, real and imaginary parts of (columns, lanes).
        first, third: where the rows of u_1 and u_3 begin, a tuple each.
        second: where u_2 would be at c1 = c3 = 0.
        factors: a tuple of numbers.
        weights: of all pairs of columns, c3 slowest.
        lows, highs: the c1 of each c3.
        total: what is added.
    """
    size = lanes(u)
    sums = row_zeros(u, first)
    place = 0
    for c3 in range(lows.size):
        real, imaginary = row_zeros(u, first), row_zeros(u, first)
        opposite = second - 2 * c3 * size
        for c1 in range(lows[c3], highs[c3]):
            k1, k2 = 2 * c1 * size, opposite - 2 * c1 * size
            x, y = load(u, k2) * weights[place], load(u, k2 + size) * weights[place]
            real = row_fma(real, u, first, k1, x)
            imaginary = row_fma(imaginary, u, first, k1, y)
            real = row_fnma(real, u, first, k1 + size, y)
            imaginary = row_fma(imaginary, u, first, k1 + size, x)
            place += 1
        sums = row_fma(sums, u, third, 2 * c3 * size, real)
        sums = row_fnma(sums, u, third, (2 * c3 + 1) * size, imaginary)
    for k in range(len(first)):
        total = fma(sums[k], factors[k], total)
    return total


@compiled
def contract_triples(
    harmonics, rows, pointers, columns, entries, places, components, lows, highs, weights, lengths, first, second, third, factors,
    out,
):  # fmt: skip
    """Writes B_{j1 j2 j} of all components to the rows of ``out``, (points, components).

    Args:
        harmonics: A_nlm, (bricks, harmonics * lanes).
        rows: of the lanes, -1 for none, (bricks * lanes,).
        pointers, columns, entries, places: as ``WignerTables`` holds them.
        components, lows, highs, weights, lengths, first, second, third, factors: as ``TriplePlan`` holds them.
        out: the result.
    """
    size, width = lanes(out), first.shape[1]
    u = aligned(2 * (harmonics.shape[1] // size) * size, out)
    values = aligned(out.shape[1] * size, out)
    one, three, scale = first.reshape(first.size), third.reshape(third.size), factors.reshape(factors.size)
    for brick in range(harmonics.shape[0]):
        _wigner(harmonics[brick], pointers, columns, entries, places, u)
        for c in range(out.shape[1]):
            low = lows[components[c, 0] : components[c + 1, 0]]
            high = highs[components[c, 0] : components[c + 1, 0]]
            weight = weights[components[c, 1] :]
            total = splat(out, 0.0)
            for group in range(components[c, 2], components[c + 1, 2]):
                k, middle = width * group, second[group]
                if lengths[group] == 1:
                    a1, b1, f1 = row_read(one, k, 1), row_read(three, k, 1), row_read(scale, k, 1)
                    total = _triple_rows(u, a1, middle, b1, f1, weight, low, high, total)
                elif lengths[group] == 2:
                    a2, b2, f2 = row_read(one, k, 2), row_read(three, k, 2), row_read(scale, k, 2)
                    total = _triple_rows(u, a2, middle, b2, f2, weight, low, high, total)
                elif lengths[group] == 3:
                    a3, b3, f3 = row_read(one, k, 3), row_read(three, k, 3), row_read(scale, k, 3)
                    total = _triple_rows(u, a3, middle, b3, f3, weight, low, high, total)
                elif lengths[group] == 4:
                    a4, b4, f4 = row_read(one, k, 4), row_read(three, k, 4), row_read(scale, k, 4)
                    total = _triple_rows(u, a4, middle, b4, f4, weight, low, high, total)
                elif lengths[group] == 5:
                    a5, b5, f5 = row_read(one, k, 5), row_read(three, k, 5), row_read(scale, k, 5)
                    total = _triple_rows(u, a5, middle, b5, f5, weight, low, high, total)
                else:
                    a6, b6, f6 = row_read(one, k, 6), row_read(three, k, 6), row_read(scale, k, 6)
                    total = _triple_rows(u, a6, middle, b6, f6, weight, low, high, total)
            store(values, c * size, total)
        _write_rows(values, rows[brick * size : (brick + 1) * size], out)
