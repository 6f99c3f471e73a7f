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
