"""Interatomic potentials for the free energy: at one electronic temperature (regular models), and at every one."""

from fermisea.potential.correction import fit_correction
from fermisea.potential.fit import fit_regular
from fermisea.potential.model import RegularModel, RegularPrediction
from fermisea.potential.thermal import PotentialPrediction, ThermalPotential
from fermisea.potential.thermal_fit import fit_thermal

__all__ = [
    "PotentialPrediction",
    "RegularModel",
    "RegularPrediction",
    "ThermalPotential",
    "fit_correction",
    "fit_regular",
    "fit_thermal",
]
