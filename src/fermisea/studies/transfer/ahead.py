"""What later steps keep in the folder, computed ahead by several processes of this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing, suppress

from fermisea.errors import InputError
from fermisea.utilities.processes import in_processes


def compute_ahead(jobs: Sequence[Callable[[], object]], workers: int, done: Callable[[], None]) -> None:
    """Runs jobs, which leave what they find in files; does nothing for one worker.

    A job that fails is left to the step that needs its result and meets the same error.

    Args:
        jobs: functions that can be pickled.
        workers: processes; they share the cores.
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
                    "study: a process was killed; run the same command again to go on, with fewer workers if memory "
                    "was short"
                )
            done()


def _attempt(job: Callable[[], object], _: Callable[[object], None]) -> None:
    with suppress(Exception):  # the step that needs the result meets it again
        job()
