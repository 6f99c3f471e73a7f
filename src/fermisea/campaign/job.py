"""One structure of a campaign, computed in any process or on any machine."""

from __future__ import annotations

import errno
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ase import Atoms

from fermisea.campaign.records import Kind, Record, Records
from fermisea.data.snapshot import Snapshot
from fermisea.engines import Engine, ScfStep
from fermisea.errors import EngineError, FermiseaError, StorageError, WindowError

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)

Watch = Callable[[Record], None]


@dataclass(frozen=True, eq=False)
class Job:
    """A structure to compute.

    Attributes:
        name: name of the structure.
        atoms: the structure.
        engine: DFT engine with its settings.
        electron_temperature: tau_ref, K.
        folder: folder of the snapshot file.
    """

    name: str
    atoms: Atoms
    engine: Engine
    electron_temperature: float
    folder: Path

    @property
    def path(self) -> Path:
        """The snapshot file."""
        return snapshot_path(self.folder, self.name)


def snapshot_path(folder: Path, name: str) -> Path:
    """Returns the snapshot file of a structure."""
    return folder / f"{name}.nc"


def stamp(path: Path) -> tuple[int, int]:
    """Returns size and modification time of a file."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def compute(job: Job, watch: Watch | None = None) -> Record:
    """Computes and saves a snapshot, and returns its record, done or failed.

    Args:
        job: structure to compute.
        watch: callback after every SCF iteration.

    Raises:
        StorageError: if the disk is full or cannot be written to; other structures would then fail too.
    """
    records = Records(job.folder)
    record = Record.beginning(job.name, len(job.atoms))

    def changed(**changes: object) -> None:
        nonlocal record
        record = replace(record, **changes)  # type: ignore[arg-type]
        records.write(record)
        if watch is not None:
            watch(record)

    def step(scf: ScfStep) -> None:
        changed(iteration=scf.iteration, free_energy=scf.free_energy, residual=scf.residual)

    started = time.perf_counter()
    try:
        changed()
        records.log("begin", job.name)
        snapshot = replace(job.engine, report=step).run(job.atoms, job.electron_temperature)  # type: ignore[type-var]
        values = {"free_energy": snapshot.reference.free_energy, "closure_error": known_closure_error(snapshot)}
        snapshot.save(job.path)  # after the closure, which refuses a window without the electrons
        changed(status="done", seconds=time.perf_counter() - started, stamp=stamp(job.path), **values)
        records.log("done", job.name)
    except StorageError:
        records.remove(job.name)
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _DISK:
            records.remove(job.name)
            raise StorageError(
                f"{job.folder}: cannot be written to ({error.strerror}); finished files are kept"
            ) from error
        text, kind = reason(error)
        changed(status="failed", seconds=time.perf_counter() - started, error=text, kind=kind)
        records.log("failed", job.name)
    return record


def reason(error: Exception) -> tuple[str, Kind]:
    """Returns the reason of a failure, and its kind: whether a repetition would fail too."""
    if isinstance(error, EngineError):
        return str(error), "engine"
    if isinstance(error, FermiseaError):
        return str(error), "structure"
    place = traceback.extract_tb(error.__traceback__)[-1]
    text = " ".join(str(error).split())
    return f"{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}: {text}", "engine"


def known_closure_error(snapshot: Snapshot) -> float | None:
    """Returns the closure error of a snapshot, eV; None if its LDOS gives no free energy at tau_ref.

    Raises:
        InputError: if the energy window does not hold the electrons.
    """
    if snapshot.total_energy_obstacle is not None:
        return None
    try:
        return snapshot.closure_error()
    except WindowError:
        return None
