"""Records of the structures of a campaign: one small file for each structure, and a log.

The snapshots are the state of a campaign. The records add information that is not in the snapshots: running structures
and their progress, reasons of failures, times. They are stored in the hidden folder ``.campaign``.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from filelock import Timeout

from fermisea.errors import InputError, StorageError
from fermisea.utilities.files import check_writable_folder, readable, remove_leftovers, write_text
from fermisea.utilities.locks import file_lock

FOLDER = ".campaign"

Status = Literal["running", "done", "failed"]
Kind = Literal["", "structure", "engine"]


@dataclass(frozen=True)
class Record:
    """State of one structure.

    Attributes:
        name: name of the structure.
        status: "running", "done" or "failed".
        host: name of the computer.
        process: process number on this computer.
        started: time of the start, seconds since the epoch.
        seconds: duration, s.
        iteration: number of SCF iterations so far.
        free_energy: free energy after the last iteration, eV.
        residual: residual after the last iteration, eV/atom.
        atoms: number of atoms.
        closure_error: F from the LDOS minus F of the DFT code at tau_ref, eV; None if the LDOS gives no free energy.
        error: reason of a failure.
        kind: kind of a failure: "structure" if a repetition would fail too, "engine" if the code crashed or was killed.
        stamp: size and modification time of the snapshot file when it was written; if they are unchanged, the content
            is not checked again.
    """

    name: str
    status: Status
    host: str = ""
    process: int = 0
    started: float = 0.0
    seconds: float = 0.0
    iteration: int = 0
    free_energy: float | None = None
    residual: float | None = None
    atoms: int = 0
    closure_error: float | None = None
    error: str | None = None
    kind: Kind = ""
    stamp: tuple[int, int] | None = None

    @classmethod
    def beginning(cls, name: str, atoms: int) -> Record:
        """Returns the record of a computation that starts now in this process."""
        return cls(name, "running", socket.gethostname(), os.getpid(), started=time.time(), atoms=atoms)


@dataclass(frozen=True)
class Records:
    """The records of a folder of snapshots.

    Attributes:
        folder: folder of the snapshots.
    """

    folder: Path

    @property
    def place(self) -> Path:
        """Folder of the records."""
        return self.folder / FOLDER

    def read(self, name: str) -> Record | None:
        """Returns the record of a structure; None if there is none, or it is damaged.

        Raises:
            StorageError: if the record exists but cannot be read now.
        """
        path = self.place / f"{name}.json"
        try:
            with readable(path):
                values = json.loads(path.read_text(encoding="utf-8"))
            if values.pop("checksum") != _checksum(values):
                return None
            known = {field.name for field in fields(Record)}
            if values["stamp"] is not None:
                size, modified = values["stamp"]
                values["stamp"] = (int(size), int(modified))
            return Record(**{key: value for key, value in values.items() if key in known})
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            if isinstance(error, StorageError):
                raise
            return None

    def all(self) -> list[Record]:
        """Returns all records that can be read, by name."""
        found = []
        for name in sorted(path.stem for path in self.place.glob("*.json")):
            with suppress(StorageError):
                found.append(self.read(name))
        return [record for record in found if record is not None]

    def write(self, record: Record) -> None:
        """Writes a record atomically.

        Raises:
            StorageError: if the record cannot be written.
        """
        values = asdict(record)
        text = json.dumps(values | {"checksum": _checksum(values)})
        write_text(self.place / f"{record.name}.json", text + "\n")

    def remove(self, name: str) -> None:
        """Removes the record of a structure, if the folder permits it."""
        with suppress(OSError):
            (self.place / f"{name}.json").unlink(missing_ok=True)

    def log(self, event: str, name: str) -> None:
        """Appends a line to the log: time, host, process, event, structure.

        Raises:
            StorageError: if the log cannot be written.
        """
        line = f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {socket.gethostname()} {os.getpid()} {event} {name}\n"
        try:
            with (self.place / "log").open("a", encoding="utf-8") as stream:
                stream.write(line)
        except OSError as error:
            raise StorageError(
                f"{self.place / 'log'}: cannot be written ({error.strerror}); finished files are kept"
            ) from error

    @contextmanager
    def only_one(self) -> Iterator[None]:
        """Locks the folder for one campaign; the lock is released when the process ends in any way.

        Raises:
            InputError: if another campaign is running in the folder.
            StorageError: if the folder cannot be written to.
        """
        check_writable_folder(self.place)
        lock = file_lock(self.place / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise InputError(
                f"{self.folder}: another campaign is running in this folder; wait for its end or stop it, then start "
                "again"
            ) from error
        except OSError as error:
            raise StorageError(
                f"{self.place / 'lock'}: cannot be locked ({error.strerror}); remove this file or choose another folder"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def clean(self) -> None:
        """Removes the remains of killed computations: their records and unfinished files."""
        for record in self.all():
            if record.status == "running":
                self.remove(record.name)
        for place in (self.folder, self.place):
            remove_leftovers(place)


def _checksum(values: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of the values of a record."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
