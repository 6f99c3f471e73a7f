"""Results of later steps, computed in advance by several processes on this machine and stored in the folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing, suppress

from fermisea.errors import InputError
from fermisea.utilities.processes import in_processes


def compute_ahead(jobs: Sequence[Callable[[], object]], workers: int, done: Callable[[], None]) -> None:
    """Runs jobs, which write their results to files; does nothing for one worker.

    The error of a failed job is ignored here, because the step that needs the result raises it again.

    Args:
        jobs: functions that can be pickled.
        workers: number of processes, which share the cores.
        done: callback at the end of each job.

    Raises:
        InputError: if a process is killed.
    """
    if min(workers, len(jobs)) < 2:
        return
    with closing(in_processes(_attempt, jobs, workers, name="fermisea-study")) as answers:
        for answer in answers:
            if answer.status is not None:
                raise InputError(
                    "study: a process was killed; run the same command again to resume, with fewer workers if the "
                    "memory was insufficient"
                )
            done()


def _attempt(job: Callable[[], object], _: Callable[[object], None]) -> None:
    with suppress(Exception):  # the step that needs the result raises it again
        job()
