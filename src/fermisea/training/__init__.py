"""Training of models of the LDOS."""

from fermisea.training.config import TrainingConfig
from fermisea.training.log import TrainingLog
from fermisea.training.readout import fit_readout
from fermisea.training.schedule import learning_rate
from fermisea.training.series import checkpoint_files, train
from fermisea.training.state import DivergenceError, TrainingInterruptedError, TrainingState

__all__ = [
    "DivergenceError",
    "TrainingConfig",
    "TrainingInterruptedError",
    "TrainingLog",
    "TrainingState",
    "checkpoint_files",
    "fit_readout",
    "learning_rate",
    "train",
]
