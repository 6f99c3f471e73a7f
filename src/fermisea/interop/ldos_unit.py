"""Unit of an LDOS, judged by the density that it gives."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from fermisea import units
from fermisea.errors import InputError
from fermisea.physics.density_of_states import DensityOfStates
from fermisea.utilities.arrays import FloatArray

_AGREEMENT, _TOLERANCE = 0.005, 0.02
"""Differences of the density of an LDOS and the density of the run, as fractions of the electrons, below which no other
unit is considered, and above which there is a warning."""

_CLEAR = 0.25
"""Largest ratio of the differences in another unit and in the given one at which the other unit is taken for right."""

_SPINS = {1.0: "both spins", 2.0: "one of two spins", 0.5: "both spins, counted twice"}


def density_below(
    ldos: npt.NDArray[np.floating], dos: DensityOfStates, electrons: float, electron_temperature: float
) -> FloatArray:
    """Returns the density of an LDOS, (nx, ny, nz), 1/Angstrom^3.

    Args:
        ldos: (nx, ny, nz, energies), 1/(eV Angstrom^3).
        dos: density of states of the LDOS.
        electrons: number of electrons in the cell.
        electron_temperature: tau_e, K.

    Raises:
        InputError: if the energy window holds too few electrons.
    """
    weights = dos.weights(dos.fermi_level(electrons, electron_temperature), electron_temperature).electrons.weights
    return np.stack([plane @ weights for plane in ldos])  # by planes, because each one is copied in double precision


def check_unit(
    ldos: npt.NDArray[np.floating],
    dos: DensityOfStates,
    electrons: float,
    electron_temperature: float,
    density: FloatArray,
    unit: str,
) -> None:
    """Compares the density of an LDOS with the density of the run; a clear difference without a reason is a warning.

    Args:
        ldos: (nx, ny, nz, energies), 1/(eV Angstrom^3).
        dos: density of states of the LDOS.
        electrons: number of electrons in the cell.
        electron_temperature: tau_e, K.
        density: density of the run, (nx, ny, nz), 1/Angstrom^3.
        unit: unit of the values in the files, one of ``units.FIELD_UNITS``.

    Raises:
        InputError: if the densities differ, and would agree with the values in another unit or for another spin.
    """

    def difference(factor: float) -> float:
        try:
            field = factor * density_below(ldos, replace(dos, dos=factor * dos.dos), electrons, electron_temperature)
        except InputError:  # too few electrons
            return math.inf
        return float(np.abs(field - density).sum() / density.sum() / 2)

    given = difference(1.0)
    if given <= _AGREEMENT:
        return
    text = (
        f"LDOS: its density differs from the density of the run by {100 * given:.1f} % of the electrons, expected at "
        f"most {100 * _AGREEMENT:g} %"
    )
    candidates = {
        f"{other} of {spins}": factor * units.field_factor(other) / units.field_factor(unit)
        for other in units.FIELD_UNITS
        if "eV" in other or "Ry" in other or "Ha" in other
        for factor, spins in _SPINS.items()
    }
    differences = {name: difference(factor) for name, factor in candidates.items()}
    best = min(differences, key=lambda name: differences[name])
    if differences[best] < _CLEAR * given:
        raise InputError(f"{text}; expected values in {unit} of both spins, but these are in {best}")
    if given > _TOLERANCE:
        warnings.warn(f"{text}; check that LDOS and density are of one run", stacklevel=3)
