"""Regular models: the free energy at one electronic temperature as a sum of atomic energies."""

from fermisea.regular.correction import fit_correction
from fermisea.regular.fit import fit_regular
from fermisea.regular.model import RegularModel, RegularPrediction

__all__ = ["RegularModel", "RegularPrediction", "fit_correction", "fit_regular"]
