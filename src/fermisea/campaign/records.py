"""What is known of each structure of a campaign: one small file for each beside the snapshots, and a log.

The snapshots themselves are the state; records add what they do not hold: what is being computed and how far it is,
why something failed, how long it took. They lie in the hidden folder ``.campaign``.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from fermisea.errors import InputError
from fermisea.utilities.files import check_writable_folder, write_text

FOLDER = ".campaign"

Status = Literal["running", "done", "failed"]
Kind = Literal["", "structure", "engine"]


@dataclass(frozen=True)
class Record:
    """What is known of one structure.

    Attributes:
        name: of the structure.
        status: "running", "done" or "failed".
        host: that computes or computed it.
        process: its number there.
        started: seconds since the epoch.
        seconds: it took.
        iteration: SCF iterations so far.
        free_energy: after the last of them, eV.
        residual: after the last of them, eV/atom.
        atoms: number of atoms.
        closure_error: free energy of the LDOS minus that of the DFT code at tau_ref, eV; None where there is none.
        error: why it failed.
        kind: of the failure: "structure" if a repetition would fail alike, "engine" if the code crashed or was killed.
        stamp: size and time of the snapshot file when it was written; the same ones need no new check of its content.
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
        """Returns the record of a computation that this process begins now."""
        return cls(name, "running", socket.gethostname(), os.getpid(), started=time.time(), atoms=atoms)


@dataclass(frozen=True)
class Records:
    """The records of a folder of snapshots.

    Attributes:
        folder: of the snapshots.
    """

    folder: Path

    @property
    def place(self) -> Path:
        """Where the records lie."""
        return self.folder / FOLDER

    def read(self, name: str) -> Record | None:
        """Returns the record of a structure; None if there is none or it cannot be understood."""
        try:
            values = json.loads((self.place / f"{name}.json").read_text(encoding="utf-8"))
            known = {field.name for field in fields(Record)}
            if values["stamp"] is not None:
                size, modified = values["stamp"]
                values["stamp"] = (int(size), int(modified))
            return Record(**{key: value for key, value in values.items() if key in known})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def all(self) -> list[Record]:
        """Returns every record, by name."""
        names = sorted(path.stem for path in self.place.glob("*.json"))
        return [record for record in map(self.read, names) if record is not None]

    def write(self, record: Record) -> None:
        """Writes a record, whole or not at all.

        Raises:
            StorageError: if it cannot be written.
        """
        write_text(self.place / f"{record.name}.json", json.dumps(asdict(record)) + "\n")

    def remove(self, name: str) -> None:
        """Forgets a structure."""
        (self.place / f"{name}.json").unlink(missing_ok=True)

    def log(self, event: str, name: str) -> None:
        """Appends a line to the log: time, host, process, event, structure."""
        line = f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {socket.gethostname()} {os.getpid()} {event} {name}\n"
        with (self.place / "log").open("a", encoding="utf-8") as stream:
            stream.write(line)

    @contextmanager
    def only_one(self) -> Iterator[None]:
        """Lets one campaign at a time work in the folder; a lock ends with its process, however that ends.

        Raises:
            InputError: if another campaign works there.
            StorageError: if the folder cannot be written to.
        """
        check_writable_folder(self.place)
        try:
            with FileLock(self.place / "lock", timeout=0):
                yield
        except Timeout as error:
            raise InputError(
                f"{self.folder}: another campaign is at work there; wait for it, or end it, and start again"
            ) from error

    def clean(self) -> None:
        """Removes what computations left that were killed: their records and files that were not finished."""
        for record in self.all():
            if record.status == "running":
                self.remove(record.name)
        for pattern in (".*.nc.*.tmp", f"{FOLDER}/.*.json.*.tmp"):
            for path in self.folder.glob(pattern):
                path.unlink(missing_ok=True)
