"""A pool of processes of this machine that work on jobs, each with its share of the cores.

Each process works on one job after the other and is a session of its own: Ctrl-C reaches the parent alone, and ending a
process ends the programs that it started too. A process that dies takes its job with it and no other.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Generic, TypeVar

from fermisea.errors import StorageError
from fermisea.utilities.threads import cores

_METHOD = multiprocessing.get_context("spawn")
_PAUSE = 0.5
"""Seconds between two calls of ``poll``."""

_Job = TypeVar("_Job")


@dataclass(frozen=True, eq=False)
class Answer(Generic[_Job]):
    """A message about a job, or the end of the job.

    Attributes:
        job: the job.
        value: the message, or the result of an ended job; None if the process died.
        ended: whether the job has ended.
        status: exit status of a process that died with the job, negative for a signal; None for any other answer.
    """

    job: _Job
    value: Any = None
    ended: bool = False
    status: int | None = None


@dataclass
class _Worker(Generic[_Job]):
    process: SpawnProcess
    pipe: Connection
    job: _Job | None = None


def in_processes(
    work: Callable[[_Job, Callable[[object], None]], object],
    jobs: Iterable[_Job],
    workers: int,
    *,
    name: str,
    poll: Callable[[], None] | None = None,
) -> Generator[Answer[_Job]]:
    """Yields the messages and the end of each job as they come; closing the generator ends all processes.

    Args:
        work: function of a job and of a callback for messages; both are pickled, as are messages and results.
        jobs: the jobs.
        workers: largest number of processes; they share the cores of this process.
        name: name of the processes.
        poll: callback of the parent, called every half second and after each answer.

    Raises:
        StorageError: if a process met one; then all processes are ended.
    """
    waiting = deque(jobs)
    crew: list[_Worker[_Job]] = []
    count = min(workers, len(waiting))
    threads = max(1, cores() // max(1, count))
    try:
        while waiting or any(worker.job is not None for worker in crew):
            crew = [worker for worker in crew if worker.process.is_alive() or worker.job is not None]
            while waiting and len(crew) < count:
                crew.append(_start(work, threads, name))
            for worker in crew:
                if worker.job is None and waiting:
                    worker.job = waiting.popleft()
                    with suppress(BrokenPipeError):  # it has died, which is seen below
                        worker.pipe.send(worker.job)
            ends = [item for worker in crew for item in (worker.pipe, worker.process.sentinel)]
            ready = set(wait(ends, timeout=None if poll is None else _PAUSE))
            for worker in crew:
                if worker.pipe in ready or worker.process.sentinel in ready:
                    yield from _answers(worker)
            if poll is not None:
                poll()
    finally:
        for worker in crew:
            _end(worker)


def _answers(worker: _Worker[_Job]) -> Iterator[Answer[_Job]]:
    """Yields what a worker has sent about its job."""
    while (job := worker.job) is not None:
        alive = worker.process.is_alive()  # before the pipe is read: the last message of a dead process counts
        try:
            sent = worker.pipe.poll()
            if alive and not sent:
                return
            answer = worker.pipe.recv() if sent else None
        except (EOFError, OSError):
            answer = None
        if isinstance(answer, StorageError):
            raise answer
        if answer is None:
            worker.process.join()
            status = worker.process.exitcode
            answer = (True, None)
        else:
            status = None
        ended, value = answer
        if ended:
            worker.job = None
        yield Answer(job, value, ended, status)


def _start(work: Callable[..., object], threads: int, name: str) -> _Worker[Any]:
    here, there = _METHOD.Pipe()
    process = _METHOD.Process(target=_serve, args=(work, there, threads), name=name, daemon=True)
    process.start()
    there.close()
    return _Worker(process, here)


def _end(worker: _Worker[Any]) -> None:
    if worker.job is None:
        with suppress(OSError):
            worker.pipe.send(None)
        worker.process.join(timeout=5)
    if worker.process.is_alive() and worker.process.pid:
        with suppress(ProcessLookupError):
            _kill_session(worker.process.pid)
        worker.process.join()
    worker.pipe.close()


def _kill_session(process: int) -> None:
    """Ends a process and its children; a process that is still starting has no session of its own yet."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
            return
    os.kill(process, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)


def _serve(work: Callable[..., object], pipe: Connection, threads: int) -> None:
    """Works on the jobs from the pipe until None arrives or the parent ends."""
    if hasattr(os, "setsid"):
        os.setsid()
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent.sentinel,), daemon=True).start()
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import torch  # noqa: PLC0415  # after the number of threads is set

    torch.set_num_threads(threads)
    while (job := _next(pipe)) is not None:
        try:
            result = work(job, lambda message: pipe.send((False, message)))
        except StorageError as error:
            pipe.send(StorageError(str(error)))
        else:
            pipe.send((True, result))
    gc.freeze()  # an end without a last search for garbage, which takes a second


def _watch(parent: int) -> None:
    """Ends this process and its children when the parent ends."""
    wait([parent])
    _kill_session(os.getpid())


def _next(pipe: Connection) -> Any:
    try:
        return pipe.recv()
    except EOFError:
        return None
