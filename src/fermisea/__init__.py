"""Learn the local density of states from finite-temperature DFT, and use it at every electronic temperature.

All public names are available here. Modules are imported on first use, so that ``import fermisea`` and ``fermisea
--help`` are fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fermisea import campaign, descriptors, engines, model, plots, pseudopotentials, units
    from fermisea.analysis import calibration, evaluation
    from fermisea.analysis.evaluation import evaluate
    from fermisea.analysis.structure import pair_distribution, structure_factor
    from fermisea.analysis.thermodynamics import Thermodynamics, thermo
    from fermisea.calculator import Calculator
    from fermisea.campaign import Campaign, run_campaign
    from fermisea.data import dataset, dataset_report, structures, trajectories
    from fermisea.data.dataset import Dataset
    from fermisea.data.sampling import Trajectory, sample
    from fermisea.data.snapshot import Snapshot
    from fermisea.data.structures import read_structures
    from fermisea.dynamics import CouplingTable, LaserPulse, TwoTemperatureDynamics
    from fermisea.errors import ConvergenceError, DomainWarning, FermiseaError, FileFormatError, InputError, WindowError
    from fermisea.grid import EnergyGrid, RealSpaceGrid
    from fermisea.model.combining import blend_models, combine_models
    from fermisea.model.loading import load_model
    from fermisea.model.model import Model
    from fermisea.physics.broadening import Broadening
    from fermisea.physics.density_of_states import DensityOfStates
    from fermisea.prediction.result import Prediction
    from fermisea.training import train
    from fermisea.training.config import TrainingConfig
    from fermisea.utilities import files

__version__ = "0.1.0"

__all__ = [
    "Broadening",
    "Calculator",
    "Campaign",
    "ConvergenceError",
    "CouplingTable",
    "Dataset",
    "DensityOfStates",
    "DomainWarning",
    "EnergyGrid",
    "FermiseaError",
    "FileFormatError",
    "InputError",
    "LaserPulse",
    "Model",
    "Prediction",
    "RealSpaceGrid",
    "Snapshot",
    "Thermodynamics",
    "TrainingConfig",
    "Trajectory",
    "TwoTemperatureDynamics",
    "WindowError",
    "__version__",
    "blend_models",
    "calibration",
    "campaign",
    "combine_models",
    "dataset",
    "dataset_report",
    "descriptors",
    "engines",
    "evaluate",
    "evaluation",
    "files",
    "load_model",
    "model",
    "pair_distribution",
    "plots",
    "pseudopotentials",
    "read_structures",
    "run_campaign",
    "sample",
    "structure_factor",
    "structures",
    "thermo",
    "train",
    "trajectories",
    "units",
]

_MODULES = {
    "broadening": "physics.broadening",
    "calibration": "analysis.calibration",
    "campaign": "campaign",
    "dataset": "data.dataset",
    "dataset_report": "data.dataset_report",
    "descriptors": "descriptors",
    "engines": "engines",
    "evaluation": "analysis.evaluation",
    "files": "utilities.files",
    "model": "model",
    "plots": "plots",
    "pseudopotentials": "pseudopotentials",
    "regular": "potential",
    "structures": "data.structures",
    "trajectories": "data.trajectories",
    "units": "units",
}
"""Full names of the modules with a short name."""

_HOMES = {
    "Broadening": "physics.broadening",
    "Calculator": "calculator",
    "Campaign": "campaign",
    "ConvergenceError": "errors",
    "CouplingTable": "dynamics",
    "Dataset": "data.dataset",
    "DensityOfStates": "physics.density_of_states",
    "DomainWarning": "errors",
    "EnergyGrid": "grid",
    "FermiseaError": "errors",
    "FileFormatError": "errors",
    "InputError": "errors",
    "LaserPulse": "dynamics",
    "Model": "model",
    "Prediction": "prediction.result",
    "RealSpaceGrid": "grid",
    "Snapshot": "data.snapshot",
    "Thermodynamics": "analysis.thermodynamics",
    "TrainingConfig": "training.config",
    "Trajectory": "data.sampling",
    "TwoTemperatureDynamics": "dynamics",
    "WindowError": "errors",
    "blend_models": "model",
    "combine_models": "model",
    "evaluate": "analysis.evaluation",
    "load_model": "model",
    "pair_distribution": "analysis.structure",
    "read_structures": "data.structures",
    "run_campaign": "campaign",
    "sample": "data.sampling",
    "structure_factor": "analysis.structure",
    "thermo": "analysis.thermodynamics",
    "train": "training",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return importlib.import_module(f"{__name__}.{_MODULES[name]}")
        if name in _HOMES:
            return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
