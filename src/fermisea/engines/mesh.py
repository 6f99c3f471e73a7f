"""Default k-mesh of a cell."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

K_SPACING = 0.2
"""Largest distance of neighbouring k-points along a reciprocal vector in the default mesh, 1/Angstrom, with 2 pi.

At 1000 K, F of the primitive cells of aluminium, magnesium and lithium with the shifted default mesh is within
2 meV/atom of F on much denser meshes, and of the cubic cell of aluminium within 4 meV/atom. Without the shift, the
deviation of the primitive cell of aluminium is 5 meV/atom.
"""

Integers = tuple[int, int, int]


def default_mesh(cell: npt.ArrayLike) -> Integers:
    """Returns the smallest k-mesh whose points are at most ``K_SPACING`` apart along each reciprocal vector.

    Args:
        cell: lattice vectors as rows, (3, 3), Angstrom.
    """
    reciprocal = 2 * math.pi * np.linalg.inv(np.asarray(cell, dtype=float)).T
    x, y, z = (max(1, math.ceil(length / K_SPACING - 1e-6)) for length in np.linalg.norm(reciprocal, axis=1))
    return x, y, z


def mesh_of(kpts: Integers | None, shift: Integers | None, cell: npt.ArrayLike) -> tuple[Integers, Integers]:
    """Returns k-mesh and shift of a cell; a default mesh is shifted by half a step, a given mesh is not.

    Args:
        kpts: k-mesh, or None for the default mesh.
        shift: shift of the mesh, 0 or 1 along each axis, or None for the default.
        cell: lattice vectors as rows, (3, 3), Angstrom.
    """
    if kpts is None:
        return default_mesh(cell), (1, 1, 1) if shift is None else shift
    return kpts, (0, 0, 0) if shift is None else shift


def mesh_settings(kpts: Integers | None, shift: Integers | None) -> dict[str, object]:
    """Returns the entries for the provenance that are the same for cells of any shape."""
    _, moved = mesh_of(kpts, shift, np.eye(3))
    mesh: dict[str, object] = {"k_spacing_per_A": K_SPACING} if kpts is None else {"kpts": list(kpts)}
    return mesh | {"shift": list(moved)}
