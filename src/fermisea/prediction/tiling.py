"""Tiles that a grid is cut into."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

Tile = tuple[slice, slice, slice]
"""The points of a grid between two corners: a slice along each axis."""


def tiles(shape: tuple[int, int, int], chunk: int) -> Iterator[Tile]:
    """Yields the tiles of a grid: of at most ``chunk`` points, long along the last axis."""
    z = _even(min(shape[2], max(chunk // 4, 1)), shape[2])
    y = _even(min(shape[1], max(chunk // (2 * z), 1)), shape[1])
    x = _even(min(shape[0], max(chunk // (y * z), 1)), shape[0])
    for corner in itertools.product(*(range(0, n, step) for n, step in zip(shape, (x, y, z), strict=True))):
        ends = (min(a + step, n) for a, step, n in zip(corner, (x, y, z), shape, strict=True))
        i, j, k = (slice(a, b) for a, b in zip(corner, ends, strict=True))
        yield i, j, k


def _even(length: int, whole: int) -> int:
    return length if length == whole or length < 2 else length - length % 2
