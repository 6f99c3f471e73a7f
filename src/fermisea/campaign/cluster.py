"""Structures of a campaign computed by the workers of a Dask cluster.

All workers must be able to access the folder of the campaign under the same path.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fermisea.campaign.job import Job, Watch, compute
from fermisea.campaign.records import Record, Records
from fermisea.errors import InputError, StorageError
from fermisea.utilities.signals import no_interruption

if TYPE_CHECKING:
    from distributed import Client

_ANSWER = 10
"""Timeout for an answer of the scheduler, s."""

_POLL = 1.0
"""Interval between readings of the records of running structures, s."""


def on_cluster(jobs: Iterable[Job], workers: int, address: str | None, watch: Watch | None) -> Generator[Record]:
    """Yields the record of each job as it ends.

    Args:
        jobs: structures to compute.
        workers: number of processes of the cluster started on this machine if no address is given.
        address: address of a Dask scheduler, or its scheduler file.
        watch: callback with the records of the running structures.

    Raises:
        InputError: if Dask is not installed or no scheduler answers.
        StorageError: if the disk is full or cannot be written to.
    """
    try:
        from distributed import Client, LocalCluster, as_completed  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise InputError(
            "scheduler dask: Dask is not installed; install it with pip install 'fermisea[cluster]'"
        ) from error
    if address is None:
        with no_interruption():
            cluster = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs=50)
        client = Client(cluster)
    else:
        cluster, client = None, _connect(Client, address)
    ended = threading.Event()
    try:
        # a job that killed its worker would kill the next one too: do not repeat it in this campaign
        futures = {client.submit(_compute, job, key=f"fermisea-{job.name}", pure=False, retries=0): job for job in jobs}
        if watch is not None:
            threading.Thread(target=_follow, args=(list(futures.values()), watch, ended), daemon=True).start()
        for future in as_completed(list(futures)):
            yield _result(future, futures[future])
    finally:
        ended.set()
        client.close()
        if cluster is not None:
            cluster.close()


def _compute(job: Job) -> Record | StorageError:
    import dask  # noqa: PLC0415  # an extra

    try:
        with dask.config.set(scheduler="synchronous"):  # otherwise xarray requests a cluster-wide lock to write a file
            return compute(job)
    except StorageError as error:
        return StorageError(str(error))


def _result(future: Any, job: Job) -> Record:
    error = future.exception()
    if error is None:
        record = future.result()
        if isinstance(record, StorageError):
            raise record
        return record
    records = Records(job.folder)
    known = records.read(job.name) or Record.beginning(job.name, len(job.atoms))
    reason = " ".join(str(error).split())
    record = replace(known, status="failed", error=f"the worker of this structure ended ({reason})", kind="engine")
    records.write(record)
    records.log("failed", job.name)
    return record


def _follow(jobs: list[Job], watch: Watch, ended: threading.Event) -> None:
    seen: dict[str, Record] = {}
    while not ended.wait(_POLL):
        for job in jobs:
            record = None
            with suppress(StorageError):  # the next reading may succeed
                record = Records(job.folder).read(job.name)
            if record is not None and record.status == "running" and record != seen.get(job.name):
                seen[job.name] = record
                watch(record)


def _connect(client: type[Client], address: str) -> Client:
    options: dict[str, Any] = {"address": address}
    if address.endswith(".json"):
        if not Path(address).is_file():
            raise InputError(
                f"{address}: no such scheduler file; start a scheduler with dask scheduler --scheduler-file"
            )
        options = {"scheduler_file": address}
    try:
        return client(**options, timeout=_ANSWER)
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(
            f"Dask scheduler {address}: no answer in {_ANSWER} s; start one with dask scheduler"
        ) from error
