"""Structures of a campaign computed in several processes of this machine.

Each process computes one structure after the other in its own session: Ctrl-C reaches the parent process only, and
ending a process also ends the DFT code started by it. If a process dies, only its structure is lost.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from fermisea.campaign.job import Job, Watch, compute
from fermisea.campaign.records import Record, Records
from fermisea.errors import StorageError
from fermisea.utilities.processes import begin_child

_METHOD = multiprocessing.get_context("spawn")


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: Connection
    job: Job | None = None


def in_processes(jobs: Iterable[Job], workers: int, watch: Watch | None) -> Generator[Record]:
    """Yields the record of each job as it ends.

    Args:
        jobs: structures to compute; may be a generator that uses earlier results.
        workers: number of processes.
        watch: callback after every SCF iteration.

    Raises:
        StorageError: if the disk is full or cannot be written to; all processes are then ended.
    """
    waiting = deque(jobs)
    crew: list[_Worker] = []
    threads = max(1, (os.cpu_count() or 1) // max(1, min(workers, len(waiting))))
    try:
        while waiting or any(worker.job for worker in crew):
            crew = [worker for worker in crew if worker.process.is_alive() or worker.job]
            while waiting and len(crew) < workers:
                crew.append(_start(threads))
            for worker in crew:
                if worker.job is None and waiting:
                    worker.job = waiting.popleft()
                    worker.pipe.send(worker.job)
            ready = set(wait([item for worker in crew for item in (worker.pipe, worker.process.sentinel)]))
            for worker in crew:
                if worker.pipe in ready or worker.process.sentinel in ready:
                    yield from _heard(worker, watch)
    finally:
        for worker in crew:
            _end(worker)


def _heard(worker: _Worker, watch: Watch | None) -> Iterator[Record]:
    """Yields the record of a worker's job if the job has ended."""
    job = worker.job
    while job is not None:
        alive = (
            worker.process.is_alive()
        )  # checked before reading the pipe, so that the last message of a dead process is received
        try:
            said = worker.pipe.poll()
            if alive and not said:
                return
            answer = worker.pipe.recv() if said else None
        except (EOFError, OSError):
            answer = None
        if answer is None:
            worker.process.join()
            worker.job = None
            yield _died(job, worker.process.exitcode)
            return
        if isinstance(answer, StorageError):
            raise answer
        if answer.status == "running":
            if watch is not None:
                watch(answer)
            continue
        worker.job = job = None
        yield answer


def _died(job: Job, status: int | None) -> Record:
    cause = f"was ended by signal {-status}" if status is not None and status < 0 else f"ended with status {status}"
    remedy = "provide more memory or use fewer workers" if status == -signal.SIGKILL else "start the campaign again"
    records = Records(job.folder)
    known = records.read(job.name) or Record.beginning(job.name, len(job.atoms))
    record = replace(known, status="failed", error=f"the process of this structure {cause}; {remedy}", kind="engine")
    records.write(record)
    records.log("failed", job.name)
    return record


def _start(threads: int) -> _Worker:
    here, there = _METHOD.Pipe()
    process = _METHOD.Process(target=_serve, args=(there, threads), name="fermisea-dft", daemon=True)
    process.start()
    there.close()
    return _Worker(process, here)


def _end(worker: _Worker) -> None:
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


def _serve(pipe: Connection, threads: int) -> None:
    """Computes the jobs received through the pipe until None is received or the parent has ended."""
    if hasattr(os, "setsid"):
        os.setsid()
    begin_child(threads, lambda: _kill_session(os.getpid()))
    while (job := _next(pipe)) is not None:
        try:
            compute(job, watch=pipe.send)  # the last message is the result
        except StorageError as error:
            pipe.send(StorageError(str(error)))
    gc.freeze()  # skips the final garbage collection, which takes a second


def _next(pipe: Connection) -> Any:
    try:
        return pipe.recv()
    except EOFError:
        return None
