"""Physical constants and the only unit conversions of the package.

All public quantities are in eV, Angstrom and kelvin. The constants are the CODATA 2018 values.
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

HBAR = 6.582119569e-4
"""Reduced Planck constant in eV ps."""

MALA_BOLTZMANN = 8.617330337217213e-05
"""Boltzmann constant of the MALA code (CODATA 2014), in eV/K."""

METRE_PER_ANGSTROM = 1e-10
"""Angstrom in metres."""

COULOMB = HARTREE * BOHR
"""e^2 / (4 pi eps_0) in eV Angstrom."""

ELECTRONVOLT = 1.602176634e-19
"""Electronvolt in joules."""

GIGAPASCAL = 1e9 * METRE_PER_ANGSTROM**3 / ELECTRONVOLT
"""Gigapascal in eV/Angstrom^3."""

MASS_DENSITY = 1.66053906660e-27 / METRE_PER_ANGSTROM**3
"""g/(mol Angstrom^3) in kg/m^3."""

COUPLING = 1e12 * ELECTRONVOLT / METRE_PER_ANGSTROM**3
"""eV/(ps K Angstrom^3) in W/(m^3 K)."""

CONDUCTIVITY = 1e12 * ELECTRONVOLT / METRE_PER_ANGSTROM
"""eV/(ps K Angstrom) in W/(m K)."""

DIFFUSIVITY = 1e-12 / METRE_PER_ANGSTROM**2
"""m^2/s in Angstrom^2/ps."""

KINETIC = HARTREE * BOHR**2 / 2
"""hbar^2 / (2 m_e) in eV Angstrom^2."""

CONSTANTS = {"codata2018": (BOHR, HARTREE), "mala": (0.5291772105638411, 27.211386024367243)}
"""Bohr radius (Angstrom) and Hartree energy (eV) by name; the second pair is used by ASE and MALA (CODATA 2014)."""

FIELD_UNITS = {
    "1/Angstrom^3": (0, 0.0),
    "1/bohr^3": (3, 0.0),
    "1/(eV Angstrom^3)": (0, 0.0),
    "1/(eV bohr^3)": (3, 0.0),
    "1/(Ry bohr^3)": (3, 0.5),
    "1/(Ha bohr^3)": (3, 1.0),
}
"""Units of densities and of an LDOS: the powers of 1/bohr and of 1/Hartree in each unit."""


def field_factor(unit: str, constants: str = "codata2018") -> float:
    """Returns the factor that converts values in ``unit`` to 1/Angstrom^3 or 1/(eV Angstrom^3).

    Args:
        unit: one of ``FIELD_UNITS``.
        constants: one of ``CONSTANTS``.

    Raises:
        InputError: for an unknown unit or set of constants, with a list of the known ones.
    """
    for what, got, known in (("unit", unit, FIELD_UNITS), ("constants", constants, CONSTANTS)):
        if got not in known:
            raise InputError(f"{what}: got {got!r}, expected one of {', '.join(known)}")
    (lengths, hartrees), (bohr, hartree) = FIELD_UNITS[unit], CONSTANTS[constants]
    return 1 / bohr**lengths / (hartrees * hartree or 1.0)


def thermal_energy(electron_temperature: float) -> float:
    """Returns k_B tau_e in eV.

    Args:
        electron_temperature: tau_e in kelvin.

    Raises:
        InputError: if the temperature is not a finite number above zero.
    """
    try:
        finite = math.isfinite(electron_temperature)
    except (TypeError, OverflowError) as error:
        raise InputError(
            f"electron temperature: got {electron_temperature!r}, expected one number in kelvin; give for example 1000"
        ) from error
    if not (finite and electron_temperature > 0):
        raise InputError(
            f"electron temperature: got {electron_temperature} K, expected a finite value above 0 K"
            + ("; for the ground state use a small value such as 50 K" if electron_temperature <= 0 else "")
        )
    return BOLTZMANN * electron_temperature
