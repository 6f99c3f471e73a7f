"""Energies that are explicit in positions, cell and density, each differentiable."""

from __future__ import annotations

from fermisea.energies.ewald import ewald_energy
from fermisea.energies.fields import gradient, reciprocal_cell, reciprocal_vectors, volume
from fermisea.energies.hartree import hartree_energy, hartree_potential
from fermisea.energies.ions import CoreCharge, Ion, charges, core_density, electrons, structure_factor
from fermisea.energies.xc import Functional, functional, xc_energy, xc_energy_and_potential, xc_energy_and_slope
from fermisea.energies.xc_response import XcResponse, xc_potential_and_strain, xc_response

__all__ = [
    "CoreCharge",
    "Functional",
    "Ion",
    "XcResponse",
    "charges",
    "core_density",
    "electrons",
    "ewald_energy",
    "functional",
    "gradient",
    "hartree_energy",
    "hartree_potential",
    "reciprocal_cell",
    "reciprocal_vectors",
    "structure_factor",
    "volume",
    "xc_energy",
    "xc_energy_and_potential",
    "xc_energy_and_slope",
    "xc_potential_and_strain",
    "xc_response",
]
