"""Pool of processes on this machine, which share the cores.

Each process computes one job after the other in its own session: Ctrl-C reaches the parent process only, and ending a
process also ends the programs started by it. If a process dies, only its job is lost.
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
from fermisea.utilities.signals import no_interruption
from fermisea.utilities.threads import cores

_METHOD = multiprocessing.get_context("spawn")
_PAUSE = 0.5
"""Interval between two calls of ``poll``, s."""

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
    """Yields the messages and the end of each job as they arrive; closing the generator ends all processes.

    Args:
        work: function of a job and of a callback for messages; both are pickled, as are messages and results.
        jobs: the jobs.
        workers: largest number of processes, which share the cores of this process.
        name: name of the processes.
        poll: callback in the parent process, every half second and after each answer.

    Raises:
        StorageError: if it occurs in a process; all processes are then ended.
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
                    with suppress(BrokenPipeError):  # the process has died, which is handled below
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
    """Yields the messages of a worker about its job."""
    while (job := worker.job) is not None:
        alive = (
            worker.process.is_alive()
        )  # checked before reading the pipe, so that the last message of a dead process is received
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
    with no_interruption():  # inherited until the process has a session of its own
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
    """Computes the jobs received through the pipe until None is received or the parent has ended."""
    if hasattr(os, "setsid"):
        os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
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
    gc.freeze()  # skips the final garbage collection, which takes a second


def _watch(parent: int) -> None:
    """Ends this process and its children when the parent has ended."""
    wait([parent])
    _kill_session(os.getpid())


def _next(pipe: Connection) -> Any:
    try:
        return pipe.recv()
    except EOFError:
        return None
