"""Summation order of the bispectrum, in which equivalent terms are summed once.

B_{j1 j2 j} / (2 j + 1) is the sum over all rows m1 + m2 + m3 = 0 and columns m1' + m2' + m3' = 0 of

    (j1 j2 j; m1 m2 m3) (j1 j2 j; m1' m2' m3') u^j1_m1m1' u^j2_m2m2' u^j_m3m3'

with Wigner's 3j symbols. The sum is invariant under exchange of equal angular momenta and under reversal of all
projections. One representative of each set of equivalent rows is therefore summed, multiplied by the number of rows in
the set. Rows with one of the three in common form groups, which share products.

Angular momenta are given as integers, twice their values; rows and columns count from 0.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fermisea.descriptors.harmonics import degree_offset
from fermisea.descriptors.wigner import bispectrum_triples, three_j, wigner_matrix
from fermisea.utilities.arrays import FloatArray, IntArray

Triple = tuple[int, int, int]

GROUP = 6
"""Largest number of rows in a group, fixed in the compiled loops."""


@dataclass(frozen=True)
class TriplePlan:
    """Tables of the sum, one component after the other; read-only constants.

    Places are indices into a table of Wigner functions with alternating real and imaginary parts.

    Attributes:
        components: first index of the columns, weights and groups of each component, (components + 1, 3).
        lows: for each column of the third function, the first column of the first function.
        highs: for each column of the third function, the end of the columns of the first function.
        weights: 3j symbol of each pair of columns, columns of the third function slowest.
        lengths: number of rows in each group, (groups,).
        first: place of the first column in rows of the first function, (groups, GROUP).
        second: place of the second function for column 0 of the two others, (groups,).
        third: place of the first column in rows of the third function, (groups, GROUP).
        factors: (2 j + 1) times 3j symbol times number of equivalent rows, (groups, GROUP).
    """

    components: IntArray
    lows: IntArray
    highs: IntArray
    weights: FloatArray
    lengths: IntArray
    first: IntArray
    second: IntArray
    third: IntArray
    factors: FloatArray


@lru_cache(maxsize=16)
def triple_plan(twojmax: int) -> TriplePlan:
    """Returns the tables for all components up to ``twojmax``."""
    components, lows, highs, weights = [(0, 0, 0)], [], [], []
    groups: list[tuple[int, list[int], int, list[int], list[float]]] = []
    for triple in bispectrum_triples(twojmax):
        roles, orbits = _cheapest(triple)
        total = sum(roles) // 2
        for c3 in range(roles[2] + 1):
            pairs = range(max(0, total - c3 - roles[1]), min(roles[0], total - c3) + 1)
            lows.append(pairs.start)
            highs.append(pairs.stop)
            weights += [_symbol(roles, (c1, total - c3 - c1, c3)) for c1 in pairs]
        for row, members in orbits:
            groups.append(
                (
                    len(members),
                    [_place(roles[0], rows[0], 0) for rows, _ in members],
                    _place(roles[1], row, total),
                    [_place(roles[2], rows[2], 0) for rows, _ in members],
                    [(triple[2] + 1) * count * _symbol(roles, rows) for rows, count in members],
                )
            )
        components.append((len(lows), len(weights), len(groups)))
    lengths, first, second, third, factors = zip(*groups, strict=True)
    plan = TriplePlan(
        np.array(components, dtype=np.int64),
        np.array(lows, dtype=np.int64),
        np.array(highs, dtype=np.int64),
        np.array(weights),
        np.array(lengths, dtype=np.int64),
        np.array([_padded(rows, 0) for rows in first], dtype=np.int64),
        np.array(second, dtype=np.int64),
        np.array([_padded(rows, 0) for rows in third], dtype=np.int64),
        np.array([_padded(values, 0.0) for values in factors]),
    )
    for array in vars(plan).values():
        array.setflags(write=False)
    return plan


@dataclass(frozen=True)
class WignerTables:
    """The sparse matrix from harmonics to one of each pair u_mm', u_-m-m' = (-1)^(m - m') conj(u_mm').

    Attributes:
        pointers: index of the first entry of each row, real and imaginary parts alternating, (2 pairs + 1,).
        columns: harmonic of each entry.
        entries: values of the entries.
        places: places of u_mm' and u_-m-m' in the table of Wigner functions, and the sign, 0 for m = m' = 0,
            (pairs, 3).
    """

    pointers: IntArray
    columns: IntArray
    entries: FloatArray
    places: IntArray


@lru_cache(maxsize=16)
def wigner_tables(twojmax: int) -> WignerTables:
    """Returns the matrix for all u^j up to ``twojmax``."""
    places = []
    for n in range(twojmax + 1):
        last = (n + 1) ** 2 - 1
        for index in range(last // 2 + 1):
            sign = (-1) ** (index // (n + 1) - index % (n + 1)) if 2 * index < last else 0
            places.append((2 * (degree_offset(n) + index), 2 * (degree_offset(n) + last - index), sign))
    rows = [row for place, _, _ in places for row in (place, place + 1)]
    matrix = wigner_matrix(twojmax)[rows]
    tables = WignerTables(
        matrix.indptr.astype(np.int64),
        matrix.indices.astype(np.int64),
        matrix.data,
        np.array(places, dtype=np.int64),
    )
    for array in vars(tables).values():
        array.setflags(write=False)
    return tables


def _padded(values: Sequence[float], filling: float) -> list[float]:
    return [*values, *[filling] * (GROUP - len(values))]


def _place(j: int, row: int, column: int) -> int:
    return 2 * (degree_offset(j) + row * (j + 1) + column)


def _symbol(js: Triple, places: Triple) -> float:
    m1, m2, m3 = (2 * k - j for k, j in zip(places, js, strict=True))
    return three_j(js[0], m1, js[1], m2, js[2], m3)


def _cheapest(triple: Triple) -> tuple[Triple, list[tuple[int, list[tuple[Triple, int]]]]]:
    """Returns the cheapest order of the three functions, and its groups of rows.

    A group consists of the row of the second function and, for each member, all three rows and their multiplicity.
    """
    best = None
    for places in itertools.permutations(range(3)):
        roles = (triple[places[0]], triple[places[1]], triple[places[2]])
        groups = _groups(roles)
        pairs = len(_rows(roles))
        # multiply-adds: four for each pair of columns and row, plus the cost of a group
        cost = sum(pairs * (4 * len(members) + 2.5) + roles[2] * (2 * len(members) + 6) for _, members in groups)
        if best is None or cost < best[0]:
            best = cost, roles, groups
    assert best is not None  # noqa: S101  # there are six permutations
    return best[1], best[2]


def _rows(js: Triple) -> list[Triple]:
    total = sum(js) // 2
    pairs = itertools.product(range(js[0] + 1), range(js[1] + 1))
    return [(a, b, total - a - b) for a, b in pairs if 0 <= total - a - b <= js[2]]


def _groups(js: Triple) -> list[tuple[int, list[tuple[Triple, int]]]]:
    swaps = [p for p in itertools.permutations(range(3)) if all(js[p[k]] == js[k] for k in range(3))]
    orbits: list[list[Triple]] = []
    seen: set[Triple] = set()
    for rows in _rows(js):
        if rows not in seen:
            turned = {(rows[a], rows[b], rows[c]) for a, b, c in swaps}
            turned |= {(js[0] - a, js[1] - b, js[2] - c) for a, b, c in turned}
            seen |= turned
            orbits.append(sorted(turned))
    groups = []
    while orbits:  # choose the most frequent second row
        counts = Counter(row for orbit in orbits for row in {rows[1] for rows in orbit})
        row = max(counts, key=lambda k: (counts[k], k))
        mine = [(next(rows for rows in orbit if rows[1] == row), len(orbit)) for orbit in orbits if _has(orbit, row)]
        orbits = [orbit for orbit in orbits if not _has(orbit, row)]
        groups += [(row, mine[k : k + GROUP]) for k in range(0, len(mine), GROUP)]
    return groups


def _has(orbit: list[Triple], row: int) -> bool:
    return any(rows[1] == row for rows in orbit)
