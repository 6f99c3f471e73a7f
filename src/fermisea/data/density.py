"""Check of a valence density."""

from __future__ import annotations

import math

import numpy as np

from fermisea import units
from fermisea.errors import InputError
from fermisea.grid import RealSpaceGrid
from fermisea.utilities.arrays import FloatArray

_TOLERANCE = 0.01
"""Largest error of the integral of a density, as a fraction of the electrons."""

_UNITS = {"1/Angstrom^3": 1.0, "1/bohr^3": units.BOHR**-3}
"""Units of densities in files, in 1/Angstrom^3."""


def check_density(
    density: FloatArray, grid: RealSpaceGrid, electrons: float, name: str, unit: str = "1/Angstrom^3"
) -> None:
    """Raises InputError unless a density is finite, lies on the grid and integrates to the number of electrons.

    Args:
        density: (nx, ny, nz), 1/Angstrom^3.
        grid: grid of the density.
        electrons: number of valence electrons in the cell.
        name: file or name of the density, for the error.
        unit: unit of the values in the file, for the error.
    """
    if density.shape != grid.shape or not np.isfinite(density).all():
        raise InputError(f"{name}: got shape {density.shape}, expected finite values on the grid {grid.shape}")
    held = grid.integrate(density)
    if math.isclose(held, electrons, rel_tol=_TOLERANCE):
        return
    fitting = [
        other
        for other, factor in _UNITS.items()
        if other != unit and math.isclose(held * factor / _UNITS[unit], electrons, rel_tol=_TOLERANCE)
    ]
    raise InputError(
        f"{name}: holds {held:.4g} electrons, expected {electrons:g}; give the valence density in {unit}"
        + "".join(f" (the values are in {other})" for other in fitting)
    )
