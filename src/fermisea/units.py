"""Physical constants and the only unit conversions of the package.

Everything public is in eV, Angstrom and kelvin. Values are those of CODATA 2018.
"""

from __future__ import annotations

import math

from fermisea.errors import InputError

BOHR = 0.529177210903
"""Bohr radius in Angstrom."""

HARTREE = 27.211386245988
"""Hartree energy in eV."""

RYDBERG = HARTREE / 2
"""Rydberg energy in eV."""

BOLTZMANN = 8.617333262e-5
"""Boltzmann constant in eV/K."""

MALA_BOLTZMANN = 8.617330337217213e-05
"""Boltzmann constant in eV/K of the MALA code (CODATA 2014)."""

COULOMB = HARTREE * BOHR
"""e^2 / (4 pi eps_0) in eV Angstrom."""

ELECTRONVOLT = 1.602176634e-19
"""Electronvolt in joule."""

KINETIC = HARTREE * BOHR**2 / 2
"""hbar^2 / (2 m_e) in eV Angstrom^2."""


def thermal_energy(electron_temperature: float) -> float:
    """Returns k_B tau_e in eV.

    Args:
        electron_temperature: tau_e in kelvin.

    Raises:
        InputError: if the temperature is not a finite number above zero.
    """
    if not (math.isfinite(electron_temperature) and electron_temperature > 0):
        raise InputError(
            f"electron temperature: got {electron_temperature} K, expected a finite value above 0 K; "
            "give a small one such as 50 K for the ground state"
        )
    return BOLTZMANN * electron_temperature
