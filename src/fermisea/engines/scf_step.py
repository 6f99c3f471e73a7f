"""One iteration of a self-consistency cycle of any code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ScfStep:
    """One iteration, for progress reports and the history of a failed run.

    Attributes:
        iteration: number of the iteration, from 1.
        free_energy: Harris-Foulkes estimate, eV.
        residual: Coulomb energy of the density residual, eV per atom.
        fermi_level: mu, eV.
    """

    iteration: int
    free_energy: float
    residual: float
    fermi_level: float
