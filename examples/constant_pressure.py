"""Molecular dynamics at constant pressure for ``laser_heating.py``: barostat, its state in a trajectory, checks."""

from __future__ import annotations

import argparse
import math
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.md.md import MolecularDynamics

import fermisea

HIGHEST_PRESSURE = 500.0
"""Largest magnitude of a pressure, GPa; a larger number is in another unit."""


def constant_pressure(atoms: Atoms, pressure: float, ion_temperature: float, *, thermostat: bool) -> MolecularDynamics:
    """Returns dynamics of ions and volume at constant pressure, with a cell of fixed shape.

    The barostat is the one of Martyna, Tobias and Klein, J. Chem. Phys. 101, 4177 (1994). A thermostat with an infinite
    relaxation time does not act: F, kinetic energy, pressure times volume and the energy of the barostat are conserved.

    Args:
        atoms: ions with a calculator, with the centre of mass at rest.
        pressure: pressure of ions and electrons, GPa.
        ion_temperature: temperature of the bath of ions and volume, K.
        thermostat: whether the ions are coupled to the bath; the volume always is, which damps its oscillations.
    """
    try:
        from ase.md.nose_hoover_chain import IsotropicMTKNPT  # noqa: PLC0415  # older versions of ASE lack it
    except ImportError as error:
        raise SystemExit(
            "constant pressure: this ASE has no IsotropicMTKNPT; install a newer one, such as 3.29"
        ) from error
    moving = (len(atoms) - 1) / len(atoms)  # ASE counts the degrees of freedom of the centre of mass, which is at rest
    return IsotropicMTKNPT(
        atoms,
        units.fs,
        temperature_K=ion_temperature * moving,
        pressure_au=pressure * units.GPa,
        tdamp=100 * units.fs if thermostat else math.inf,
        pdamp=1000 * units.fs,  # the volume of 32 atoms oscillates with a period of 0.2 ps
    )


def state_of(dynamics: MolecularDynamics) -> dict[str, Any]:
    """Returns what a frame at constant pressure needs beside its ions and cell, as plain data."""
    thermostat, barostat = dynamics._thermostat, dynamics._barostat  # noqa: SLF001  # ASE cannot save them
    return {
        "conserved_energy": dynamics.get_conserved_energy(),
        "cell_momentum": float(dynamics._p_eps),  # noqa: SLF001
        "barostat": [barostat._xi.tolist(), barostat._p_xi.tolist()],  # noqa: SLF001
        "thermostat": [thermostat._eta.tolist(), thermostat._p_eta.tolist()],  # noqa: SLF001
    }


def restore(dynamics: MolecularDynamics, state: dict[str, Any]) -> None:
    """Continues from the state of a frame."""
    thermostat, barostat = dynamics._thermostat, dynamics._barostat  # noqa: SLF001
    dynamics._p_eps = state["cell_momentum"]  # noqa: SLF001
    barostat._xi, barostat._p_xi = map(np.array, state["barostat"])  # noqa: SLF001
    thermostat._eta, thermostat._p_eta = map(np.array, state["thermostat"])  # noqa: SLF001


def check_volume(atoms: Atoms, volumes: tuple[float, float] | None) -> None:
    """Stops where the volume per atom (Angstrom^3) leaves the training structures, beyond which nothing is reliable."""
    volume = atoms.get_volume() / len(atoms)
    if volumes is not None and not volumes[0] <= volume <= volumes[1]:
        raise SystemExit(
            f"constant pressure: the volume has reached {volume:.2f} A^3 per atom, but the training structures have "
            f"{volumes[0]:.2f} to {volumes[1]:.2f}; change the pressure, or the model"
        )


def pressure_of(text: str) -> float:
    """Returns a pressure in GPa.

    Raises:
        ArgumentTypeError: for anything else than a number of GPa.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= HIGHEST_PRESSURE:
        raise argparse.ArgumentTypeError(
            f"got {text}, expected a pressure in GPa between -{HIGHEST_PRESSURE:g} and {HIGHEST_PRESSURE:g}; 1 bar is "
            "0.0001 GPa"
        )
    return value


def obstacle(model: fermisea.Model, hottest: float) -> str | None:
    """Returns why a model cannot be used at constant pressure with electrons at ``hottest`` (K), or None."""
    try:
        highest = model.potential().highest_with_pressure
    except fermisea.InputError:
        highest = 0.0
    if hottest <= highest:
        return None
    if not highest:
        return (
            "--pressure: the model has no interatomic potential trained on several volumes, so its pressure for hot "
            "electrons is not reliable; take a model with one, or omit --pressure"
        )
    return (
        f"--pressure: got tau_e = {hottest:g} K, but the model knows the pressure up to {highest:.0f} K only; request "
        "a lower tau_e, or omit --pressure"
    )
