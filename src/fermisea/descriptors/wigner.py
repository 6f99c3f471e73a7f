"""Constants of the rotation group: Clebsch-Gordan coefficients, and Wigner functions from hyperspherical harmonics.

D. A. Varshalovich, A. N. Moskalev, V. K. Khersonskii, Quantum Theory of Angular Momentum (1988), sections 4.15, 8.2.
Angular momenta and projections are given as integers, twice their values.
"""

from __future__ import annotations

import math
from functools import lru_cache

from scipy.sparse import csr_array

from fermisea.descriptors.harmonics import degree_offset


def clebsch_gordan(j1: int, m1: int, j2: int, m2: int, j: int, m: int) -> float:
    """Returns C^{jm}_{j1 m1 j2 m2} by Racah's sum in exact arithmetic; arguments are twice the quantum numbers."""
    allowed = abs(j1 - j2) <= j <= j1 + j2 and (j1 + j2 - j) % 2 == 0 and m1 + m2 == m
    if not allowed or any(abs(b) > a or (a - b) % 2 for a, b in ((j1, m1), (j2, m2), (j, m))):
        return 0.0
    # with every denominator completed to a binomial coefficient, the terms of Racah's sum are integers
    pairs = [(j1 + m1) // 2, (j1 - m1) // 2, (j2 + m2) // 2, (j2 - m2) // 2, (j + m) // 2, (j - m) // 2]
    a, b, c = triangle = [(j1 + j2 - j) // 2, (j1 - j2 + j) // 2, (j2 - j1 + j) // 2]
    total = sum(
        (-1) ** k * math.comb(a, k) * math.comb(b, pairs[1] - k) * math.comb(c, pairs[2] - k)
        for k in range(min(a, pairs[1], pairs[2]) + 1)
    )
    numerator = (j + 1) * total**2 * math.prod(math.factorial(n) for n in pairs)
    denominator = math.prod(math.factorial(n) for n in (*triangle, (j1 + j2 + j) // 2 + 1))
    return math.copysign(math.sqrt(numerator / denominator), total)


def three_j(j1: int, m1: int, j2: int, m2: int, j3: int, m3: int) -> float:
    """Returns Wigner's 3j symbol (j1 j2 j3; m1 m2 m3); arguments are twice the quantum numbers."""
    return (-1) ** ((j1 - j2 - m3) // 2) * clebsch_gordan(j1, m1, j2, m2, j3, -m3) / math.sqrt(j3 + 1)


@lru_cache(maxsize=16)
def bispectrum_triples(twojmax: int) -> tuple[tuple[int, int, int], ...]:
    """Returns all (j1, j2, j) with j2 <= j1 <= j <= twojmax that form a triangle, j1 slowest, j fastest."""
    return tuple(
        (j1, j2, j)
        for j1 in range(twojmax + 1)
        for j2 in range(j1 + 1)
        for j in range(j1, min(twojmax, j1 + j2) + 1)
        if (j1 + j2 - j) % 2 == 0
    )


@lru_cache(maxsize=16)
def wigner_matrix(twojmax: int) -> csr_array:
    """Returns the sparse real matrix from hyperspherical harmonics to Wigner's U^j_{mm'}, all 2 j <= twojmax.

    With n = 2 j,  U^j_{mm'} = sqrt(2) pi / (n + 1) sum_{l mu} (-i)^l sqrt(2 l + 1) C^{jm}_{j m' l mu} conj(Y_{n l mu}).
    The rows are real and imaginary parts alternating; m and m' ascend, m' fastest, after ``degree_offset(n)``.
    The rotation angle is twice theta_0, so U is a homogeneous polynomial of degree n in the unit quaternion.
    """
    size = degree_offset(twojmax + 1)
    rows, columns, values = [], [], []
    for n in range(twojmax + 1):
        offset = degree_offset(n)
        for index in range((n + 1) ** 2):
            m, other = 2 * (index // (n + 1)) - n, 2 * (index % (n + 1)) - n
            mu = (m - other) // 2
            for l in range(abs(mu), n + 1):  # noqa: E741
                coupling = clebsch_gordan(n, other, 2 * l, 2 * mu, n, m)
                factor = (-1j) ** l * math.sqrt(2 * (2 * l + 1)) * math.pi / (n + 1) * coupling
                for order, part in _real_parts(mu):
                    value = factor * part.conjugate()
                    imaginary = abs(value.imag) > abs(value.real)
                    rows.append(2 * (offset + index) + imaginary)
                    columns.append(offset + l * l + l + order)
                    values.append(value.imag if imaginary else value.real)
    return csr_array((values, (rows, columns)), shape=(2 * size, size))


def _real_parts(mu: int) -> list[tuple[int, complex]]:
    """Returns a complex spherical harmonic as a sum of real ones without the Condon-Shortley phase."""
    if mu == 0:
        return [(0, 1.0 + 0.0j)]
    half = math.sqrt(0.5)
    if mu > 0:
        return [(mu, (-1) ** mu * half + 0.0j), (-mu, (-1) ** mu * half * 1j)]
    return [(-mu, half + 0.0j), (mu, -half * 1j)]
