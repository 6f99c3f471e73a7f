"""Interatomic potentials for the free energy: at one electronic temperature (regular models), and at every one."""

from fermisea.potential.correction import fit_correction
from fermisea.potential.design import with_products
from fermisea.potential.fit import fit_regular
from fermisea.potential.model import RegularModel, RegularPrediction
from fermisea.potential.thermal import (
    PotentialPrediction,
    ThermalPotential,
    ThermalSites,
    ThermalTerms,
    check_potential_range,
)
from fermisea.potential.thermal_fit import Labels, fit_thermal, highest_label, label_temperatures, labels_of

__all__ = [
    "Labels",
    "PotentialPrediction",
    "RegularModel",
    "RegularPrediction",
    "ThermalPotential",
    "ThermalSites",
    "ThermalTerms",
    "check_potential_range",
    "fit_correction",
    "fit_regular",
    "fit_thermal",
    "highest_label",
    "label_temperatures",
    "labels_of",
    "with_products",
]
