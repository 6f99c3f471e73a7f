"""Half of a k-mesh, which for hot electrons gives nearly the same density as the full mesh."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from fermisea import units
from fermisea.engines.basis import plane_waves
from fermisea.engines.planewave.kpoints import monkhorst_pack
from fermisea.engines.planewave.problem import Problem

ENOUGH = 6.0
"""Smallest size of the supercell of the half mesh for which it saves time, in thermal lengths."""


def half_mesh(problem: Problem) -> Problem | None:
    """Returns the problem on half of the mesh along each axis, or None if the error of its density would be too large.

    A mesh of n points corresponds to a supercell n times as long. The error of the density decays with this length on
    the scale of the thermal length of free electrons, hbar v_F / (pi k_B tau_e).

    Args:
        problem: problem on the full mesh.
    """
    kpts = problem.kpts
    if max(kpts) == 1 or any(n > 1 and n % 2 for n in kpts):
        return None
    x, y, z = (n // 2 if n > 1 else 1 for n in kpts)
    heights = 2 * math.pi / np.linalg.norm(problem.grid.reciprocal, axis=1)
    shortest = min(half * height for half, n, height in zip((x, y, z), kpts, heights, strict=True) if n > 1)
    length = 2 * units.KINETIC * problem.fermi_momentum / (math.pi * units.thermal_energy(problem.electron_temperature))
    if shortest < ENOUGH * length:
        return None
    mesh = monkhorst_pack((x, y, z), problem.shift)
    device = problem.ions.cell.device
    waves = [plane_waves(problem.grid, fraction, problem.cutoff, device) for fraction in mesh.fractions]
    return replace(problem, waves=waves, weights=mesh.weights, kpts=(x, y, z))
