"""Electron-phonon coupling of two-temperature models from a density of states.

The energy that electrons at tau_e lose to ions at tau_i, per volume and time, is G (tau_e - tau_i). With P. B. Allen,
Phys. Rev. Lett. 59, 1460 (1987), and the energy dependence of Z. Lin, L. V. Zhigilei, V. Celli, Phys. Rev. B 77,
075133 (2008),

    G(tau_e) = pi hbar k_B lambda<omega^2> / (D(eps_F) V)  int D(eps)^2 (-df/deps) deps

where D counts both spins in the cell of volume V, and eps_F is the Fermi level of cold electrons. At low tau_e this is
pi hbar k_B lambda<omega^2> D(eps_F)/V. lambda<omega^2>, the second moment of the Eliashberg function, is not a property
of the density of states: it comes from experiments or linear response. With (hbar omega)^2 in eV^2, pi hbar omega^2 is
pi (hbar omega)^2 / hbar.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fermisea import units
from fermisea.errors import InputError
from fermisea.physics.density_of_states import DensityOfStates
from fermisea.utilities.arrays import FloatArray

COLD = 50.0
"""tau_e of the Fermi level eps_F, K."""

COUPLING_LIMITS = (
    (
        "G holds for tau_e and tau_i well above the Debye temperature, with electrons in equilibrium at tau_e and one "
        "constant lambda<omega^2> for all energies: Lin, Zhigilei, Celli, Phys. Rev. B 77, 075133 (2008)"
    ),
    (
        "no single G describes aluminium, whose longitudinal phonons take most of the energy: Waldecker et al., Phys. "
        "Rev. X 6, 021003 (2016)"
    ),
)
"""Limits of the coupling, to be shown wherever its values are shown."""


def fermi_level_dos(dos: DensityOfStates, fermi_level: float, electron_temperature: float) -> float:
    """Returns the density of states at the Fermi level, the integral of D (-df/deps), 1/eV, both spins.

    Args:
        dos: density of states of the cell.
        fermi_level: mu, eV.
        electron_temperature: tau_e, K.
    """
    return dos.integral(dos.rule.slopes(fermi_level, electron_temperature).level)


def squared_dos(dos: DensityOfStates, fermi_level: float, electron_temperature: float) -> float:
    """Returns the integral of D^2 (-df/deps), 1/eV^2; see :meth:`fermisea.physics.integration.Integration.squared`.

    Args:
        dos: density of states of the cell.
        fermi_level: mu, eV.
        electron_temperature: tau_e, K.
    """
    return dos.rule.squared(dos.dos, fermi_level, electron_temperature, dos.volume)


def cold_fermi_level_dos(dos: DensityOfStates, electrons: float) -> float:
    """Returns D(eps_F) of cold electrons, 1/eV, both spins.

    Args:
        dos: density of states of the cell.
        electrons: number of electrons in the cell.

    Raises:
        InputError: if there are no states at the Fermi level, so that the material is no metal.
    """
    found = fermi_level_dos(dos, dos.fermi_level(electrons, COLD), COLD)
    if not found * max(dos.energies[-1] - dos.energies[0], 1.0) > 1e-3 * electrons:
        raise InputError(
            f"electron-phonon coupling: got {found:.3g} states per eV at the Fermi level, expected a metal; omit "
            "lambda<omega^2>"
        )
    return found


def coupling_factor(lambda_omega2: float) -> float:
    """Returns pi k_B lambda<(hbar omega)^2> / hbar, eV^2/(ps K).

    Args:
        lambda_omega2: lambda<omega^2>, meV^2.

    Raises:
        InputError: for a value that is not a finite number above 0.
    """
    if not (math.isfinite(lambda_omega2) and lambda_omega2 > 0):
        raise InputError(f"lambda<omega^2>: got {lambda_omega2:g} meV^2, expected a finite number above 0")
    return math.pi * units.BOLTZMANN * 1e-6 * lambda_omega2 / units.HBAR


def electron_phonon_coupling(
    dos: DensityOfStates,
    electrons: float,
    electron_temperature: Sequence[float] | FloatArray,
    lambda_omega2: float,
    volume: float | None = None,
) -> FloatArray:
    """Returns G per volume at each tau_e, (n,), eV/(ps K Angstrom^3); times ``units.COUPLING`` in W/(m^3 K).

    Args:
        dos: density of states of the cell, both spins.
        electrons: number of electrons in the cell.
        electron_temperature: tau_e, (n,), K.
        lambda_omega2: lambda<omega^2>, meV^2.
        volume: volume of the cell, Angstrom^3; by default the one of ``dos``.

    Raises:
        InputError: for an invalid lambda<omega^2> or tau_e, without a volume, or without states at the Fermi level.
    """
    factor, size = coupling_factor(lambda_omega2), dos.volume if volume is None else volume
    if size is None or not size > 0:
        raise InputError(f"electron-phonon coupling: got the volume {size}, expected the volume of the cell, Å^3")
    squares = [squared_dos(dos, dos.fermi_level(electrons, t), t) for t in np.atleast_1d(electron_temperature)]
    return factor * np.array(squares) / (cold_fermi_level_dos(dos, electrons) * size)
