"""Properties of aluminium from runs of the probes, of DFT or of a model: the same formulas for both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import ase.units
import numpy as np
from ase.data import atomic_masses, atomic_numbers

from fermisea import units
from fermisea.studies.aluminium.probes import DISPLACEMENT, STRAIN, Probe
from fermisea.utilities.arrays import FloatArray

Key = tuple[str, float]
"""Name of a probe, and tau_e in K."""

GPA = 1 / units.GIGAPASCAL
"""GPa in an eV/Angstrom^3."""

_TERAHERTZ = 1e-12 * ase.units.s
"""Inverse of ASE's unit of time, THz."""


@dataclass(frozen=True)
class Result:
    """Result of a run of DFT or of a model for one structure and tau_e.

    Attributes:
        free_energy: F of the cell, eV.
        forces: (atoms, 3), eV/Angstrom.
        stress: (3, 3), eV/Angstrom^3, positive under tension.
    """

    free_energy: float
    forces: FloatArray
    stress: FloatArray


def pressure(stress: FloatArray) -> float:
    """Returns the pressure, GPa, from a stress, eV/Angstrom^3."""
    return -GPA * float(np.trace(stress)) / 3


def line(found: Mapping[Key, Result], probes: list[Probe], tau_e: float) -> dict[str, FloatArray]:
    """Returns properties of the line of fcc crystals at one tau_e.

    Returns:
        ``volume`` and ``free_energy`` per atom, Angstrom^3 and eV; ``pressure`` from the stress and, at the inner
        volumes, ``slope`` = -dF/dV, GPa; and the bulk modulus ``modulus`` = -V dP/dV at the inner volumes, GPa.
    """
    members = [probe for probe in probes if probe.group == "line"]
    atoms = np.array([len(probe.atoms) for probe in members])
    volumes = np.array([probe.atoms.get_volume() for probe in members]) / atoms
    energies = np.array([found[probe.name, tau_e].free_energy for probe in members]) / atoms
    pressures = np.array([pressure(found[probe.name, tau_e].stress) for probe in members])
    return {
        "volume": volumes,
        "free_energy": energies,
        "pressure": pressures,
        "slope": -GPA * np.gradient(energies, volumes)[1:-1],
        "modulus": -(volumes * np.gradient(pressures, volumes))[1:-1],
    }


def elastic_constants(found: Mapping[Key, Result], tau_e: float) -> dict[str, float]:
    """Returns C11, C12 and C44, GPa, from differences of the stress."""

    def change(name: str) -> FloatArray:
        plus, minus = (found[f"elastic-{name}-{sign}", tau_e].stress for sign in ("plus", "minus"))
        return GPA * (plus - minus) / (2 * STRAIN)

    uniaxial, shear = change("uniaxial"), change("shear")
    return {"C11": uniaxial[0, 0], "C12": (uniaxial[1, 1] + uniaxial[2, 2]) / 2, "C44": shear[0, 1]}


def phonons(found: Mapping[Key, Result], probe: Probe, tau_e: float, lattice_constant: float) -> dict[str, float]:
    """Returns the longitudinal and transverse frequencies at X and L, THz, negative for unstable modes.

    Atom 0 is displaced along x. The force on atom j gives the force constants between both, summed over the periodic
    images, with which the wavevectors X and L are commensurate.
    """
    forces = found[probe.name, tau_e].forces
    places = probe.atoms.positions - probe.atoms.positions[0] + np.array([DISPLACEMENT, 0.0, 0.0])
    places[0] = 0.0
    constants = -forces / DISPLACEMENT

    def matrix(wavevector: tuple[float, float, float]) -> FloatArray:
        """Returns the column of the dynamical matrix that belongs to x, times the mass, eV/Angstrom^2."""
        phases = np.cos(2 * np.pi / lattice_constant * places @ np.array(wavevector))
        return np.asarray(phases @ constants)

    mass = atomic_masses[atomic_numbers["Al"]]
    diagonal, mixed, _ = matrix((0.5, 0.5, 0.5))
    squares = {
        "X longitudinal": matrix((1.0, 0.0, 0.0))[0],
        "X transverse": matrix((0.0, 0.0, 1.0))[0],
        "L longitudinal": diagonal + 2 * mixed,
        "L transverse": diagonal - mixed,
    }
    return {
        name: float(np.sign(value) * np.sqrt(abs(value) / mass) / (2 * np.pi) * _TERAHERTZ)
        for name, value in squares.items()
    }


def vacancy_energies(found: Mapping[Key, Result], tau_e: float) -> dict[str, float]:
    """Returns formation energies of the vacancy, eV."""
    crystal = found["crystal", tau_e].free_energy * 31 / 32
    return {
        "vacancy, ideal (eV)": found["vacancy-ideal", tau_e].free_energy - crystal,
        "vacancy, relaxed (eV)": found["vacancy-relaxed", tau_e].free_energy - crystal,
    }


def lattice_energies(found: Mapping[Key, Result], tau_e: float) -> dict[str, float]:
    """Returns F of bcc and hcp relative to fcc, meV per atom."""
    fcc = found["fcc", tau_e].free_energy / 4
    return {
        "bcc - fcc (meV/atom)": 1000 * (found["bcc", tau_e].free_energy / 2 - fcc),
        "hcp - fcc (meV/atom)": 1000 * (found["hcp", tau_e].free_energy / 2 - fcc),
    }
