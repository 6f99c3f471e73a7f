"""Where electrons are so hot that half a k-mesh gives nearly the density of the whole."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from fermisea import units
from fermisea.engines.basis import plane_waves
from fermisea.engines.planewave.kpoints import monkhorst_pack
from fermisea.engines.planewave.problem import Problem

ENOUGH = 6.0
"""Thermal lengths that fit into the cell that the half mesh stands for, from which it is worth its time."""


def half_mesh(
    problem: Problem, cutoff: float, kpts: tuple[int, int, int], shift: tuple[int, int, int]
) -> Problem | None:
    """Returns the problem on half the mesh along each axis, or None if its density would be too far off.

    A mesh of n points stands for a cell n times as long. What a density misses for that decays over the thermal length
    of free electrons, hbar v_F / (pi k_B tau_e).

    Args:
        problem: on the whole mesh.
        cutoff: highest kinetic energy of a plane wave, eV.
        kpts: the whole mesh.
        shift: of it, which stays.
    """
    if max(kpts) == 1 or any(n > 1 and n % 2 for n in kpts):
        return None
    x, y, z = (n // 2 if n > 1 else 1 for n in kpts)
    heights = 2 * math.pi / np.linalg.norm(problem.grid.reciprocal, axis=1)
    shortest = min(half * height for half, n, height in zip((x, y, z), kpts, heights, strict=True) if n > 1)
    length = 2 * units.KINETIC * problem.fermi_momentum / (math.pi * units.thermal_energy(problem.electron_temperature))
    if shortest < ENOUGH * length:
        return None
    mesh = monkhorst_pack((x, y, z), shift)
    device = problem.ions.cell.device
    waves = [plane_waves(problem.grid, fraction, cutoff, device) for fraction in mesh.fractions]
    return replace(problem, waves=waves, weights=mesh.weights)
