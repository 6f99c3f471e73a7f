"""Energies and forces reported by a DFT code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fermisea.utilities.arrays import FloatArray


@dataclass(frozen=True, eq=False)
class Reference:
    """Results reported by the DFT code, for the whole cell.

    Attributes:
        free_energy: total Mermin free energy, eV.
        parts: named energies, eV.
        fermi_level: mu, eV.
        electrons: number of valence electrons.
        entropy_term: -TS of the Kohn-Sham occupations, eV.
        forces: (n, 3), eV/Angstrom, if computed.
        stress: (3, 3), eV/Angstrom^3, if computed; positive under tension.
        mean_potential: average of the local effective potential over the cell, eV, on the energy scale of the LDOS: the
            average of v_xc plus the average of the local pseudopotential, whose -4 pi Z e^2/q^2 is left out at q = 0;
            None if unknown.
        xc_entropy_term: -T S_xc = tau_e dF_xc/dtau_e at fixed density, eV; part of F_xc, not a further term of the free
            energy; 0 for a functional of the ground state.
        tail_electrons: number of electrons in free-electron states above the bands, in the whole cell.
        tail_bottom: bottom of these free electrons where the bands end, eV, on the energy scale of the LDOS; None
            without them.
    """

    free_energy: float
    parts: Mapping[str, float]
    fermi_level: float
    electrons: float
    entropy_term: float
    forces: FloatArray | None = None
    stress: FloatArray | None = None
    mean_potential: float | None = None
    xc_entropy_term: float = 0.0
    tail_electrons: float = 0.0
    tail_bottom: float | None = None
