"""The power spectrum of expanded surroundings, and its derivatives."""
# ruff: noqa: ANN001, ANN201, D417  # compiled for the types of its arguments; tables go by groups

from __future__ import annotations

from fermisea.descriptors.compiled.bricks import aligned, read_rows, write_rows
from fermisea.descriptors.compiled.compiling import compiled
from fermisea.descriptors.compiled.simd import (
    fma,
    lanes,
    load,
    splat,
    store,
)


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
        write_rows(values, rows[brick * size : (brick + 1) * size], out)


@compiled
def contract_pairs_vjp(harmonics, rows, order, cotangents, out):
    """Writes the derivatives of sum p cotangents by the harmonics to ``out``, (bricks, harmonics * lanes).

    Args:
        harmonics, rows, order: as for ``contract_pairs``.
        cotangents: (points, features).
        out: the result.
    """
    size = lanes(harmonics)
    factors = aligned(cotangents.shape[1] * size, harmonics)
    for brick in range(harmonics.shape[0]):
        read_rows(rows[brick * size : (brick + 1) * size], cotangents, factors)
        a, result = harmonics[brick], out[brick]
        result[:] = 0.0
        place = 0
        for n1 in range(order + 1):
            offset1 = n1 * (n1 + 1) * (2 * n1 + 1) // 6
            for n2 in range(n1, order + 1):
                offset2 = n2 * (n2 + 1) * (2 * n2 + 1) // 6
                for degree in range(n1 + 1):
                    factor = load(factors, place)
                    place += size
                    for k in range(degree * degree, (degree + 1) * (degree + 1)):
                        one, two = (offset1 + k) * size, (offset2 + k) * size
                        store(result, one, fma(load(a, two), factor, load(result, one)))
                        store(result, two, fma(load(a, one), factor, load(result, two)))
