"""Structures of a campaign computed in several processes of this machine."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import replace

from fermisea.campaign.job import Job, Watch, compute
from fermisea.campaign.records import Record, Records
from fermisea.utilities.processes import in_processes


def on_this_machine(jobs: Iterable[Job], workers: int, watch: Watch | None) -> Generator[Record]:
    """Yields the record of each job as it ends; if a process dies, only its structure is lost.

    Args:
        jobs: structures to compute.
        workers: number of processes.
        watch: callback with the record of a running structure, after every SCF iteration.

    Raises:
        StorageError: if the disk is full or cannot be written to; all processes are then ended.
    """
    with closing(in_processes(_compute, jobs, workers, name="fermisea-dft")) as answers:
        for answer in answers:
            if answer.status is not None:
                yield _died(answer.job, answer.status)
            elif answer.ended:
                yield answer.value
            elif watch is not None:
                watch(answer.value)


def _compute(job: Job, send: Callable[[object], None]) -> Record:
    def watch(record: Record) -> None:
        if record.status == "running":
            send(record)

    return compute(job, watch)


def _died(job: Job, status: int) -> Record:
    cause = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
    remedy = "provide more memory or use fewer workers" if status == -signal.SIGKILL else "start the campaign again"
    records = Records(job.folder)
    known = records.read(job.name) or Record.beginning(job.name, len(job.atoms))
    record = replace(known, status="failed", error=f"the process of this structure {cause}; {remedy}", kind="engine")
    records.write(record)
    records.log("failed", job.name)
    return record
