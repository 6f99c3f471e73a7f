"""One iteration of a self-consistency cycle, whatever code runs it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ScfStep:
    """One iteration, as progress reports and failed runs show it.

    Attributes:
        iteration: counted from 1.
        free_energy: Harris-Foulkes estimate, eV.
        residual: Coulomb energy of the density residual, eV per atom.
        fermi_level: eV.
    """

    iteration: int
    free_energy: float
    residual: float
    fermi_level: float
