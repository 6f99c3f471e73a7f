"""The bispectrum of expanded surroundings, and its derivatives."""
# ruff: noqa: ANN001, ANN201, ANN202, D417, E501  # compiled for the types of its arguments; tables go by groups

from __future__ import annotations

from fermisea.descriptors.compiled.bricks import aligned, read_rows, write_rows
from fermisea.descriptors.compiled.compiling import compiled
from fermisea.descriptors.compiled.simd import (
    fma,
    lanes,
    load,
    row_add,
    row_dot,
    row_fma,
    row_fnma,
    row_multiply,
    row_read,
    row_scale,
    row_update,
    row_zeros,
    splat,
    store,
)


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
    u = aligned(2 * harmonics.shape[1], out)
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
        write_rows(values, rows[brick * size : (brick + 1) * size], out)


@compiled
def _wigner_vjp(cotangents, pointers, columns, entries, places, out):
    """Writes the derivatives by the harmonics, (harmonics, lanes), from those by all u^j_mm'."""
    size = lanes(out)
    out[:] = 0.0
    for k in range(places.shape[0]):
        real, imaginary = load(cotangents, places[k, 0] * size), load(cotangents, (places[k, 0] + 1) * size)
        if places[k, 2] > 0:
            real = real + load(cotangents, places[k, 1] * size)
            imaginary = imaginary - load(cotangents, (places[k, 1] + 1) * size)
        elif places[k, 2] < 0:
            real = real - load(cotangents, places[k, 1] * size)
            imaginary = imaginary + load(cotangents, (places[k, 1] + 1) * size)
        for entry in range(pointers[2 * k], pointers[2 * k + 1]):
            place = columns[entry] * size
            store(out, place, fma(real, entries[entry], load(out, place)))
        for entry in range(pointers[2 * k + 1], pointers[2 * k + 2]):
            place = columns[entry] * size
            store(out, place, fma(imaginary, entries[entry], load(out, place)))


@compiled
def _triple_rows_vjp(u, first, second, third, factors, weights, lows, highs, cotangent, out):
    """Adds the derivatives of ``cotangent`` times the sum of ``_triple_rows`` by u to ``out``, laid out like u."""
    size = lanes(u)
    plus = row_scale(u, factors, cotangent)
    minus = row_scale(u, factors, 0.0 - cotangent)
    begin = 0
    for c3 in range(lows.size):
        real, imaginary = row_zeros(u, first), row_zeros(u, first)
        by_real = row_multiply(u, third, 2 * c3 * size, plus)
        by_imaginary = row_multiply(u, third, (2 * c3 + 1) * size, minus)
        opposite = second - 2 * c3 * size
        place = begin
        for c1 in range(lows[c3], highs[c3]):
            k1, k2, weight = 2 * c1 * size, opposite - 2 * c1 * size, weights[place]
            x, y = load(u, k2) * weight, load(u, k2 + size) * weight
            real = row_fma(real, u, first, k1, x)
            imaginary = row_fma(imaginary, u, first, k1, y)
            real = row_fnma(real, u, first, k1 + size, y)
            imaginary = row_fma(imaginary, u, first, k1 + size, x)
            by_x = row_dot(splat(u, 0.0), u, first, k1, by_real)
            by_x = row_dot(by_x, u, first, k1 + size, by_imaginary)
            by_y = row_dot(splat(u, 0.0), u, first, k1, by_imaginary)
            negative = row_dot(splat(u, 0.0), u, first, k1 + size, by_real)
            row_update(out, first, k1, by_real, x, by_imaginary, y)
            row_update(out, first, k1 + size, by_real, 0.0 - y, by_imaginary, x)
            store(out, k2, fma(by_x, weight, load(out, k2)))
            store(out, k2 + size, fma(by_y - negative, weight, load(out, k2 + size)))
            place += 1
        begin = place
        row_add(out, third, 2 * c3 * size, real, plus)
        row_add(out, third, (2 * c3 + 1) * size, imaginary, minus)


@compiled
def contract_triples_vjp(
    harmonics, rows, pointers, columns, entries, places, components, lows, highs, weights, lengths, first, second, third, factors,
    cotangents, out,
):  # fmt: skip
    """Writes the derivatives of sum B cotangents by the harmonics to ``out``, (bricks, harmonics * lanes).

    Args:
        harmonics, rows: as for ``contract_triples``.
        pointers, columns, entries, places: as ``WignerTables`` holds them.
        components, lows, highs, weights, lengths, first, second, third, factors: as ``TriplePlan`` holds them.
        cotangents: (points, components).
        out: the result.
    """
    size, width = lanes(out), first.shape[1]
    u, by_u = aligned(2 * out.shape[1], out), aligned(2 * out.shape[1], out)
    values = aligned(cotangents.shape[1] * size, out)
    one, three, scale = first.reshape(first.size), third.reshape(third.size), factors.reshape(factors.size)
    for brick in range(harmonics.shape[0]):
        _wigner(harmonics[brick], pointers, columns, entries, places, u)
        read_rows(rows[brick * size : (brick + 1) * size], cotangents, values)
        by_u[:] = 0.0
        for c in range(cotangents.shape[1]):
            low = lows[components[c, 0] : components[c + 1, 0]]
            high = highs[components[c, 0] : components[c + 1, 0]]
            weight = weights[components[c, 1] :]
            factor = load(values, c * size)
            for group in range(components[c, 2], components[c + 1, 2]):
                k, middle = width * group, second[group]
                if lengths[group] == 1:
                    a1, b1, f1 = row_read(one, k, 1), row_read(three, k, 1), row_read(scale, k, 1)
                    _triple_rows_vjp(u, a1, middle, b1, f1, weight, low, high, factor, by_u)
                elif lengths[group] == 2:
                    a2, b2, f2 = row_read(one, k, 2), row_read(three, k, 2), row_read(scale, k, 2)
                    _triple_rows_vjp(u, a2, middle, b2, f2, weight, low, high, factor, by_u)
                elif lengths[group] == 3:
                    a3, b3, f3 = row_read(one, k, 3), row_read(three, k, 3), row_read(scale, k, 3)
                    _triple_rows_vjp(u, a3, middle, b3, f3, weight, low, high, factor, by_u)
                elif lengths[group] == 4:
                    a4, b4, f4 = row_read(one, k, 4), row_read(three, k, 4), row_read(scale, k, 4)
                    _triple_rows_vjp(u, a4, middle, b4, f4, weight, low, high, factor, by_u)
                elif lengths[group] == 5:
                    a5, b5, f5 = row_read(one, k, 5), row_read(three, k, 5), row_read(scale, k, 5)
                    _triple_rows_vjp(u, a5, middle, b5, f5, weight, low, high, factor, by_u)
                else:
                    a6, b6, f6 = row_read(one, k, 6), row_read(three, k, 6), row_read(scale, k, 6)
                    _triple_rows_vjp(u, a6, middle, b6, f6, weight, low, high, factor, by_u)
        _wigner_vjp(by_u, pointers, columns, entries, places, out[brick])
