"""What later steps keep in the folder, computed ahead by several processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from fermisea.errors import InputError
from fermisea.utilities.processes import begin_child


def compute_ahead(jobs: Sequence[Callable[[], object]], workers: int, done: Callable[[], None]) -> None:
    """Runs jobs, which leave what they find in files; does nothing for one worker.

    A job that fails is left to the step that needs its result and meets the same error.

    Args:
        jobs: that can be pickled.
        workers: processes; they share the cores.
        done: is called as each job ends.

    Raises:
        InputError: if a process is killed.
    """
    count = min(workers, len(jobs))
    if count < 2:
        return
    threads = max(1, (os.cpu_count() or 1) // count)
    pool = ProcessPoolExecutor(
        count, multiprocessing.get_context("spawn"), initializer=begin_child, initargs=(threads,)
    )
    try:
        for future in as_completed([pool.submit(job) for job in jobs]):
            if isinstance(future.exception(), BrokenProcessPool):
                raise InputError(
                    "study: a process was killed; run the same command again to go on, with fewer workers if memory "
                    "was short"
                )
            done()
    finally:
        pool.shutdown(cancel_futures=True)
