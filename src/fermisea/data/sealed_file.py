"""Checksum of a snapshot file: its last bytes, which HDF5 ignores, hold the SHA-256 of all preceding bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from fermisea.errors import DamagedFileError, FileFormatError, StorageError
from fermisea.utilities.files import readable
from fermisea.utilities.hdf5 import check_content, open_hdf5

FORMAT = "fermisea-snapshot"
REMEDY = "copy it again or run the DFT calculation again"

_MARK = b"\nfermisea sha256 "
_TAIL = len(_MARK) + 64
_MAGIC = b"\x89HDF\r\n\x1a\n"


def seal(image: bytes | memoryview) -> bytes:
    """Returns the bytes that follow the content of a file and hold its checksum."""
    return _MARK + hashlib.sha256(image).hexdigest().encode()


@contextmanager
def open_sealed(path: Path, *, verify: bool) -> Iterator[h5py.File]:
    """Yields the open file of a snapshot; the lock of HDF5 keeps other processes from changing a verified file.

    Args:
        path: path of the file.
        verify: whether the content is compared with the checksum.

    Raises:
        DamagedFileError: for a truncated or altered snapshot.
        FileFormatError: for a missing file or another kind of file.
        StorageError: for a file that cannot be read now.
    """
    kept = stored_checksum(path)
    with open_hdf5(path, checked=True) as file:
        if verify and _digest(path, path.stat().st_size - _TAIL) != kept:
            raise DamagedFileError(f"{path}: altered, its content does not match the stored checksum; {REMEDY}")
        check_content(file)
        yield file


def one_line(error: Exception) -> str:
    """Returns the message of an error as one line."""
    return " ".join(str(error).split())


def stamp_of(path: Path) -> tuple[int, int]:
    """Returns size and modification time of a file."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _digest(path: Path, size: int) -> str:
    sha = hashlib.sha256()
    with path.open("rb") as stream:
        while size > 0 and (block := stream.read(min(size, 2**22))):
            sha.update(block)
            size -= len(block)
    return sha.hexdigest()


def stored_checksum(path: str | os.PathLike[str]) -> str:
    """Returns the SHA-256 stored in a snapshot file, which identifies its content.

    Raises:
        DamagedFileError: for a truncated snapshot.
        FileFormatError: for a missing file or another kind of file.
        StorageError: for a file that cannot be read now.
    """
    path = Path(path)
    try:
        with readable(path), path.open("rb") as stream:
            magic = stream.read(len(_MAGIC))
            stream.seek(max(0, path.stat().st_size - _TAIL))
            tail = stream.read()
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise FileFormatError(f"{path}: no such file, expected a snapshot made by `fermisea dft`") from error
        raise FileFormatError(f"{path}: not readable as a snapshot ({error.strerror}); give a snapshot file") from error
    marked = tail.startswith(_MARK)
    if magic == _MAGIC and marked:
        return tail[len(_MARK) :].decode(errors="replace")
    if magic == _MAGIC:
        kind = FileFormatError if _is_foreign(path) else DamagedFileError
        raise kind(f"{path}: truncated or not a snapshot, its checksum is missing; {REMEDY}")
    lost = marked or _MAGIC.startswith(magic) or not any(magic)
    raise (DamagedFileError if lost else FileFormatError)(
        f"{path}: not a snapshot, expected a netCDF4 file made by `fermisea dft`; "
        + (REMEDY if lost else "give a snapshot file")
    )


def _is_foreign(path: Path) -> bool:
    """Whether a file without the checksum of a snapshot is an intact HDF5 file of another kind."""
    try:
        with open_hdf5(path) as file:
            return str(file.attrs.get("format")) != FORMAT
    except (FileFormatError, StorageError):
        raise
    except (OSError, KeyError, RuntimeError, TypeError, ValueError):  # the errors of h5py for truncated files
        return False
