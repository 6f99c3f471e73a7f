"""A study on disk: trials of several processes and machines, with recovery of interrupted trials.

The folder is the state. Optuna's journal holds the trials. Each running trial has a lock file, which the operating
system releases when the process ends; a trial without a lock was interrupted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
from filelock import BaseFileLock, Timeout
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from fermisea.errors import InputError, StorageError
from fermisea.training.config import TrainingConfig
from fermisea.tuning.space import SearchSpace
from fermisea.utilities.files import check_writable_folder
from fermisea.utilities.locks import file_lock

JOURNAL = "study.journal"
_NAME, _RUNNING = "fermisea", ".running"
_STARTUP, _WARM_UP = 5, 3
"""Number of trials before the sampler uses them and trials are pruned, and of epochs before a trial is pruned."""


class TuningStudy:
    """Trials in a folder."""

    def __init__(
        self, folder: Path, identity: Mapping[str, Any], space: SearchSpace, *, seed: int, prune: bool
    ) -> None:
        """Opens the study of a folder, or creates it.

        Args:
            folder: folder of the study.
            identity: data, search space and minimised error, which must be the same for all processes.
            space: search space.
            seed: random seed of the sampler (tree-structured Parzen estimators).
            prune: whether a trial is stopped early if its error is above the median of others at the same epoch.

        Raises:
            InputError: if the study in the folder has another identity.
            StorageError: if the folder cannot be written to, or the journal is damaged.
        """
        check_writable_folder(folder)
        (folder / _RUNNING).mkdir(exist_ok=True)
        self._folder, self._space, self._seed = folder, space, seed
        self._lock = file_lock(folder / _RUNNING / "study.lock")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        journal = folder / JOURNAL
        lock: Any = _Lock(folder / _RUNNING / "journal.lock")
        try:
            with self._lock:
                _mend(journal)
                self._study = optuna.create_study(
                    study_name=_NAME,
                    storage=JournalStorage(JournalFileBackend(str(journal), lock)),
                    pruner=optuna.pruners.MedianPruner(_STARTUP, _WARM_UP) if prune else optuna.pruners.NopPruner(),
                    load_if_exists=True,
                )
                before = self._study.user_attrs
                for name, value in identity.items():
                    if name not in before:
                        self._study.set_user_attr(name, value)
                    elif before[name] != value:
                        raise InputError(f"{folder}: {_difference(name, before[name], value)}")
        except (OSError, ValueError, KeyError) as error:
            raise StorageError(f"{journal}: cannot be used ({error}); choose another folder") from error

    def begin(self, trials: int) -> Iterator[tuple[Trial, TrainingConfig]]:
        """Yields trials to run, one after the other, until enough trials are finished or running elsewhere."""
        while True:
            with self._lock:
                self._bury_the_dead()
                open_states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
                number = sum(trial.state in open_states for trial in self.trials())  # without interrupted trials
                if number >= trials:
                    return
                self._study.sampler = optuna.samplers.TPESampler(
                    n_startup_trials=_STARTUP, multivariate=False, seed=self._seed + 1009 * number
                )
                trial = self._study.ask()
                held = self._lock_of(trial.number)
                held.acquire(timeout=0)
                config = self._space.suggest(trial)
            try:
                yield trial, config
            finally:
                held.release()
                self._remove(trial.number)

    def complete(self, trial: Trial, value: float, facts: Mapping[str, Any]) -> None:
        """Ends a trial with its value; ``facts`` are stored with it."""
        for name, fact in facts.items():
            trial.set_user_attr(name, fact)
        self._study.tell(trial, value)

    def prune(self, trial: Trial) -> None:
        """Ends a trial with larger errors than the others."""
        self._study.tell(trial, state=TrialState.PRUNED)

    def give_up(self, trial: Trial, reason: str) -> None:
        """Ends a trial without a value."""
        trial.set_user_attr("error", reason)
        self._study.tell(trial, state=TrialState.PRUNED)

    def trials(self) -> list[FrozenTrial]:
        """Returns all trials of the study, in the order of their start."""
        return self._study.get_trials(deepcopy=False)

    def importances(self) -> dict[str, float]:
        """Returns the contribution of each parameter to the variance, largest first; empty for too few trials.

        See Hutter, Hoos and Leyton-Brown, ICML 2014 (fANOVA); computed by Optuna's PED-ANOVA (arXiv 2304.10255).
        """
        done = [trial for trial in self.trials() if trial.state == TrialState.COMPLETE]
        if len(done) < 2 * _STARTUP:
            return {}
        return optuna.importance.get_param_importances(
            self._study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
        )

    def _bury_the_dead(self) -> None:
        """Marks trials whose process has ended as failed and enqueues them again."""
        for trial in self.trials():
            if trial.state != TrialState.RUNNING:
                continue
            held = self._lock_of(trial.number)
            try:
                held.acquire(timeout=0)
            except Timeout:
                continue
            self._study.tell(trial.number, state=TrialState.FAIL)
            self._study.enqueue_trial(trial.params, user_attrs={"repeats": trial.number})
            held.release()
            self._remove(trial.number)

    def _lock_of(self, number: int) -> BaseFileLock:
        return file_lock(self._folder / _RUNNING / f"{number}.lock")

    def _remove(self, number: int) -> None:
        with suppress(OSError):
            (self._folder / _RUNNING / f"{number}.lock").unlink(missing_ok=True)


class _Lock:
    """A lock of the journal that is released when its process ends."""

    def __init__(self, path: Path) -> None:
        self._lock = file_lock(path)

    def acquire(self) -> bool:
        self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()


def _mend(journal: Path) -> None:
    """Removes an incomplete last line, left by a full disk or a crash of the machine."""
    if not journal.exists():
        return
    with journal.open("rb+") as stream:
        content = stream.read()
        if content and not content.endswith(b"\n"):
            stream.truncate(content.rfind(b"\n") + 1)


def _difference(name: str, before: Any, now: Any) -> str:
    if name == "space":
        changed = [key for key in now if before.get(key) != now[key]]
        before = {key: before.get(key) for key in changed}
        now = {key: now[key] for key in changed}
    return (
        f"the study in this folder has {name} {json.dumps(before)}, this search has {json.dumps(now)}; use the "
        "settings of the study, or choose another folder"
    )


@contextmanager
def storage_errors(folder: Path) -> Iterator[None]:
    """Converts errors of a full disk into an error that names the folder.

    Raises:
        StorageError: for any OSError in the block.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(f"{folder}: could not be written ({error}); finished trials are kept") from error
