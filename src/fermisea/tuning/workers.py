"""A search in one or several processes on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from fermisea.errors import InputError
from fermisea.training import TrainingState
from fermisea.tuning.results import TrialResult, Tuned, write_results
from fermisea.tuning.search import Task, work
from fermisea.tuning.space import SearchSpace
from fermisea.tuning.study import TuningStudy
from fermisea.utilities.processes import in_processes

_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


def tune(
    data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    space: SearchSpace | None = None,
    *,
    workers: int = 1,
    progress: Callable[[Tuned, str], None] | None = None,
    **options: Any,
) -> Tuned:
    """Searches for the configuration with the lowest error on held-out structures, and returns the results.

    The folder is the state: an interrupted or killed search resumes, interrupted trials are repeated, and the same call
    on another machine with access to the folder takes part in the search. ``trials.csv`` and ``best.toml`` are written
    after every trial. Optuna's tree-structured Parzen estimators (Bergstra, Bardenet, Bengio and Kegl, NIPS 2011)
    propose the values, and Optuna's median pruner stops trials whose error is above the median at the same epoch.

    Args:
        data: snapshot files or folders.
        folder: folder of the study.
        space: search space; by default :meth:`SearchSpace.default`.
        workers: number of processes on this machine, which share its cores.
        progress: callback with the finished trials and a short description of the current one.
        **options: ``trials``, ``timeout``, ``minimise``, ``seed``, ``prune``, ``memory``, see
            :class:`fermisea.tuning.search.Task`.

    Raises:
        InputError: for invalid values, or if the study in the folder has other settings.
        StorageError: if the folder cannot be written to.
    """
    if workers < 1:
        raise InputError(f"workers: got {workers}, expected at least 1")
    paths = [data] if isinstance(data, str | os.PathLike) else data
    task = Task(tuple(str(path) for path in paths), space or SearchSpace.default(), Path(folder), **options)
    dataset = task.load()
    study = task.open(dataset)

    def tell(tuned: Tuned, note: str) -> None:
        if progress is not None:
            progress(tuned, note)

    def write() -> Tuned:
        ended = [TrialResult.of(trial, task.space) for trial in study.trials() if trial.state in _FINISHED]
        tuned = Tuned(task.minimise, tuple(ended), study.importances())
        write_results(task.folder, tuned)
        return tuned

    known = write()
    tell(known, "")
    if workers > 1:
        _in_processes(task, workers, study, write, tell)
        return write()

    def heard(number: int, state: TrainingState) -> None:
        if state.stage == "training":
            tell(known, f"trial {number}, epoch {state.step} of {state.steps}: {state.errors[task.minimise]:.4g}")

    def after(number: int) -> None:
        nonlocal known
        known = write()
        tell(known, f"trial {number} ended")

    work(task, dataset, study, heard, after)
    return known


def _in_processes(
    task: Task,
    workers: int,
    study: TuningStudy,
    write: Callable[[], Tuned],
    tell: Callable[[Tuned, str], None],
) -> None:
    known, count = write(), -1

    def look() -> None:
        nonlocal known, count
        states = [trial.state for trial in study.trials()]
        running = states.count(TrialState.RUNNING)
        if count != len(states) - running:
            known, count = write(), len(states) - running
        tell(known, f"{running} running")

    with closing(in_processes(_work, [task] * workers, workers, name="fermisea-tune", poll=look)) as answers:
        statuses = [answer.status for answer in answers]
    for status in statuses:
        if status is not None:
            raise InputError(
                f"tune: a worker ended with status {status}; run the same command again to resume, with fewer workers "
                "if the memory was insufficient"
            )


def _work(task: Task, _: Callable[[object], None]) -> None:
    """Runs trials until the study is complete."""
    dataset = task.load()
    work(task, dataset, task.open(dataset))
