"""Bricks: as many neighbouring points as a register has lanes, with the atoms around them.

Arrays that registers are read from and written to are flat; the lanes are their last index.
"""
# ruff: noqa: ANN001, ANN201, ANN202  # compiled for the types of its arguments; tables go by groups

from __future__ import annotations

import math

import numpy as np

from fermisea.descriptors.compiled.compiling import compiled
from fermisea.descriptors.compiled.simd import (
    load,
    splat,
    store,
)

_LINE = 64
"""Bytes of a cache line."""

_TOGETHER = 0.5
"""Largest radius of a brick, in cutoffs, whose atoms are searched for once."""

_SHARED = 0.15
"""Largest radius of a brick, in cutoffs, whose points do not choose their own among those atoms."""


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
def _first_bin(f, reach, axis, span, origin, inverse_width):
    """Returns the first bin along an axis that something closer than ``reach`` to a point may lie in."""
    return max(math.floor((f - reach * span[axis] - origin[axis]) * inverse_width[axis]), 0)


@compiled
def _last_bin(f, reach, axis, span, origin, inverse_width, bins):
    """Returns the last such bin."""
    return min(math.floor((f + reach * span[axis] - origin[axis]) * inverse_width[axis]), bins[axis] - 1)


@compiled
def _collect(x, y, z, reach, inverse, span, positions, first, bins, origin, inverse_width, found):
    """Writes the places of all images closer than ``reach`` to a point to ``found``; returns their number."""
    f0 = x * inverse[0, 0] + y * inverse[1, 0] + z * inverse[2, 0]
    f1 = x * inverse[0, 1] + y * inverse[1, 1] + z * inverse[2, 1]
    f2 = x * inverse[0, 2] + y * inverse[1, 2] + z * inverse[2, 2]
    low1, high1 = (
        _first_bin(f1, reach, 1, span, origin, inverse_width),
        _last_bin(f1, reach, 1, span, origin, inverse_width, bins),
    )
    low2, high2 = (
        _first_bin(f2, reach, 2, span, origin, inverse_width),
        _last_bin(f2, reach, 2, span, origin, inverse_width, bins),
    )
    count = 0
    for i in range(
        _first_bin(f0, reach, 0, span, origin, inverse_width),
        _last_bin(f0, reach, 0, span, origin, inverse_width, bins) + 1,
    ):
        for j in range(low1, high1 + 1):
            row = (i * bins[1] + j) * bins[2]
            for image in range(first[row + low2], first[row + high2 + 1]):
                dx, dy, dz = positions[image, 0] - x, positions[image, 1] - y, positions[image, 2] - z
                if dx * dx + dy * dy + dz * dz < reach * reach:
                    found[count] = image
                    count += 1
    return count


@compiled
def surroundings(
    points, cutoff, inverse, span, positions, weights, first, bins, origin, inverse_width, found, near, who
):
    """Writes displacements and weights of the neighbours of one brick to ``near``, and their places to ``who``.

    Points close to each other share the neighbours of their middle; others have neighbours of their own, filled up with
    atoms of weight 0.

    Returns:
        The number of neighbours; ``near``, (count, 4, lanes), and ``who``, (count, lanes), perhaps longer than before.
    """
    size = points.shape[0]
    x, y, z, square = 0.0, 0.0, 0.0, 0.0
    for lane in range(size):
        x, y, z = x + points[lane, 0] / size, y + points[lane, 1] / size, z + points[lane, 2] / size
    for lane in range(size):
        dx, dy, dz = points[lane, 0] - x, points[lane, 1] - y, points[lane, 2] - z
        square = max(square, dx * dx + dy * dy + dz * dz)
    radius = math.sqrt(square)
    together = radius < _TOGETHER * cutoff
    count = positions.shape[0]
    if together:
        count = _collect(
            x, y, z, cutoff + radius, inverse, span, positions, first, bins, origin, inverse_width, found
        )  # fmt: skip
        near, who = _longer(count * size, near, who)
    if radius < _SHARED * cutoff:
        shift = 4 * count * size  # the points themselves stand behind the neighbours
        for lane in range(size):
            near[shift + lane] = points[lane, 0] - x
            near[shift + size + lane] = points[lane, 1] - y
            near[shift + 2 * size + lane] = points[lane, 2] - z
        px, py, pz = load(near, shift), load(near, shift + size), load(near, shift + 2 * size)
        for k in range(count):
            image, place = found[k], 4 * k * size
            store(near, place, splat(near, positions[image, 0] - x) - px)
            store(near, place + size, splat(near, positions[image, 1] - y) - py)
            store(near, place + 2 * size, splat(near, positions[image, 2] - z) - pz)
            store(near, place + 3 * size, splat(near, weights[image]))
            for lane in range(size):
                who[k * size + lane] = image
        return count, near, who
    most, owned = 0, np.empty(size, np.int64)
    for lane in range(size):
        x, y, z = points[lane, 0], points[lane, 1], points[lane, 2]
        if not together:
            count = _collect(x, y, z, cutoff, inverse, span, positions, first, bins, origin, inverse_width, found)
            near, who = _longer(count * size, near, who)
        own = 0
        for candidate in range(count):  # each is written, and the next one over it if it is too far away
            image, place = found[candidate], 4 * own * size + lane
            dx, dy, dz = positions[image, 0] - x, positions[image, 1] - y, positions[image, 2] - z
            near[place], near[place + size], near[place + 2 * size] = dx, dy, dz
            near[place + 3 * size] = weights[image]
            who[own * size + lane] = image
            own += dx * dx + dy * dy + dz * dz < cutoff * cutoff
        owned[lane] = own
        most = max(most, own)
    for lane in range(size):
        for k in range(owned[lane], most):
            place = 4 * k * size + lane
            near[place], near[place + size], near[place + 2 * size], near[place + 3 * size] = 0.0, 0.0, 0.0, 0.0
            who[k * size + lane] = -1
    return most, near, who


@compiled
def _longer(size, near, who):
    """Returns ``near`` and ``who``, in longer arrays if they do not hold ``size`` neighbours of lanes."""
    if size <= who.size:
        return near, who
    wider, longer = aligned(8 * size + 4 * _LINE, near), np.empty(2 * size, np.int64)
    wider[: near.size], longer[: who.size] = near, who
    return wider, longer


@compiled
def write_rows(values, rows, out):
    """Copies the lanes of ``values``, (features, lanes), to their rows of ``out``."""
    size = rows.size
    for lane in range(size):
        row = rows[lane]
        if row >= 0:
            for feature in range(out.shape[1]):
                out[row, feature] = values[feature * size + lane]


@compiled
def read_rows(rows, values, out):
    """Copies rows of ``values``, (points, features), to the lanes of ``out``, (features, lanes); others become zero."""
    size = rows.size
    for lane in range(size):
        row = rows[lane]
        for feature in range(values.shape[1]):
            out[feature * size + lane] = values[row, feature] if row >= 0 else 0.0
