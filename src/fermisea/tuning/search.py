"""Trials: training of configurations, judged by the error on held-out structures."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from optuna.trial import Trial

from fermisea.data.dataset import Dataset
from fermisea.errors import InputError
from fermisea.training import DivergenceError, TrainingState, train
from fermisea.training.config import TrainingConfig
from fermisea.training.points import MEMORY
from fermisea.training.validation import ERRORS
from fermisea.tuning.space import SearchSpace
from fermisea.tuning.study import TuningStudy, storage_errors

MINIMISED = "ldos_error_percent"
"""Default of the minimised error."""


@dataclass(frozen=True)
class Task:
    """Parameters of a search for a process that takes part in it; can be pickled.

    Attributes:
        data: snapshot files or folders.
        space: search space.
        folder: folder of the study.
        trials: number of trials to finish, by all processes together.
        timeout: time after which no trial starts, s.
        minimise: name of the minimised error.
        seed: random seed of the search.
        prune: whether trials with errors above the median are stopped early.
        memory: training data in memory, bytes per process.
    """

    data: tuple[str, ...]
    space: SearchSpace
    folder: Path
    trials: int
    timeout: float | None = None
    minimise: str = MINIMISED
    seed: int = 0
    prune: bool = True
    memory: int = MEMORY

    def __post_init__(self) -> None:
        if self.minimise not in ERRORS:
            raise InputError(f"minimise: got {self.minimise!r}, expected one of {', '.join(ERRORS)}")
        if self.trials < 0:
            raise InputError(f"trials: got {self.trials}, expected at least 0")
        if self.timeout is not None and not self.timeout > 0:
            raise InputError(f"timeout: got {self.timeout}, expected a time above 0 s")

    def load(self) -> Dataset:
        """Returns the data.

        Raises:
            InputError: if the data are invalid, or lack the free energy whose error is minimised.
        """
        dataset = Dataset.load(self.data)
        obstacle = dataset[0].total_energy_obstacle
        if self.minimise == "free_energy_error" and obstacle:
            raise InputError(f"minimise: the data have no total free energy ({obstacle}); use band_energy_error")
        dataset.split(self.space.fixed.validation_fraction, self.space.fixed.seed)
        return dataset

    def open(self, dataset: Dataset) -> TuningStudy:
        """Returns the study in the folder.

        Raises:
            InputError: if the study has other data, another search space or another minimised error.
            StorageError: if the folder cannot be used.
        """
        digest = hashlib.sha256()
        for snapshot in dataset:
            digest.update(snapshot.atoms.positions.tobytes() + snapshot.dos.tobytes())
        identity = {
            "minimise": self.minimise,
            "data": f"{len(dataset)} snapshots ({digest.hexdigest()[:12]})",
            "space": self.space.to_dict(),
        }
        return TuningStudy(self.folder, identity, self.space, seed=self.seed, prune=self.prune)


def work(
    task: Task,
    dataset: Dataset,
    study: TuningStudy,
    heard: Callable[[int, TrainingState], None] | None = None,
    ended: Callable[[int], None] | None = None,
) -> None:
    """Runs trials until the study has the requested number.

    Args:
        task: parameters of the search.
        dataset: data of the search.
        study: study of the search.
        heard: callback with the number of the trial and the state of its training after each epoch.
        ended: callback with the number of each finished trial.

    Raises:
        StorageError: if the disk is full.
    """
    end = None if task.timeout is None else time.monotonic() + task.timeout
    with storage_errors(task.folder):
        for trial, config in study.begin(task.trials):
            _run(task, dataset, study, trial, config, heard)
            if ended is not None:
                ended(trial.number)
            if end is not None and time.monotonic() > end:
                return


class _PrunedError(Exception):
    """A trial has larger errors than the others and is stopped."""


def _run(
    task: Task,
    dataset: Dataset,
    study: TuningStudy,
    trial: Trial,
    config: TrainingConfig,
    heard: Callable[[int, TrainingState], None] | None,
) -> None:
    def follow(state: TrainingState) -> None:
        if heard is not None:
            heard(trial.number, state)
        if state.stage == "training":
            trial.report(state.errors[task.minimise], state.step)
            if trial.should_prune() and state.step < config.epochs:
                raise _PrunedError

    try:
        model = train(dataset, config, memory=task.memory, progress=follow)
    except _PrunedError:
        study.prune(trial)
    except (DivergenceError, InputError) as error:
        study.give_up(trial, str(error))
    else:
        errors = {name: value for name, value in model.provenance["final"].items() if name in ERRORS}
        study.complete(trial, errors[task.minimise], {"errors": errors})
