"""Regular models: interatomic potentials for the free energy at one electronic temperature."""

from fermisea.potential.correction import fit_correction
from fermisea.potential.fit import fit_regular
from fermisea.potential.model import RegularModel, RegularPrediction

__all__ = ["RegularModel", "RegularPrediction", "fit_correction", "fit_regular"]
