"""Learn the local density of states from finite-temperature DFT, and use it at every electronic temperature.

Everything a script needs stands here by name. Modules are imported when first used, so that ``import fermisea`` and
``fermisea --help`` take no time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fermisea import (
        calibration,
        campaign,
        dataset,
        dataset_report,
        descriptors,
        engines,
        evaluation,
        files,
        model,
        plots,
        pseudopotentials,
        structures,
        trajectories,
        units,
    )
    from fermisea.calculator import Calculator
    from fermisea.campaign import Campaign, run_campaign
    from fermisea.dataset import Dataset
    from fermisea.errors import ConvergenceError, FermiseaError, FileFormatError, InputError, WindowError
    from fermisea.evaluation import evaluate
    from fermisea.grid import EnergyGrid, RealSpaceGrid
    from fermisea.model import Model, combine_models, load_model
    from fermisea.observables import DensityOfStates
    from fermisea.prediction import Prediction
    from fermisea.sampling import Trajectory, sample
    from fermisea.snapshot import Snapshot
    from fermisea.structures import read_structures
    from fermisea.thermodynamics import Thermodynamics, thermo
    from fermisea.training import train
    from fermisea.training_config import TrainingConfig

__version__ = "0.1.0"

__all__ = [
    "Calculator",
    "Campaign",
    "ConvergenceError",
    "Dataset",
    "DensityOfStates",
    "EnergyGrid",
    "FermiseaError",
    "FileFormatError",
    "InputError",
    "Model",
    "Prediction",
    "RealSpaceGrid",
    "Snapshot",
    "Thermodynamics",
    "TrainingConfig",
    "Trajectory",
    "WindowError",
    "__version__",
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
    "plots",
    "pseudopotentials",
    "read_structures",
    "run_campaign",
    "sample",
    "structures",
    "thermo",
    "train",
    "trajectories",
    "units",
]

_MODULES = (
    "calibration",
    "campaign",
    "dataset",
    "dataset_report",
    "descriptors",
    "engines",
    "evaluation",
    "files",
    "model",
    "plots",
    "pseudopotentials",
    "structures",
    "trajectories",
    "units",
)
_HOMES = {
    "Calculator": "calculator",
    "Campaign": "campaign",
    "ConvergenceError": "errors",
    "Dataset": "dataset",
    "DensityOfStates": "observables",
    "EnergyGrid": "grid",
    "FermiseaError": "errors",
    "FileFormatError": "errors",
    "InputError": "errors",
    "Model": "model",
    "Prediction": "prediction",
    "RealSpaceGrid": "grid",
    "Snapshot": "snapshot",
    "Thermodynamics": "thermodynamics",
    "TrainingConfig": "training_config",
    "Trajectory": "sampling",
    "WindowError": "errors",
    "evaluate": "evaluation",
    "combine_models": "model",
    "load_model": "model",
    "read_structures": "structures",
    "run_campaign": "campaign",
    "sample": "sampling",
    "thermo": "thermodynamics",
    "train": "training",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return importlib.import_module(f"{__name__}.{name}")
        if name in _HOMES:
            return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
