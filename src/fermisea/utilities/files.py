"""Reading of files, and atomic writing: written under a temporary name, flushed, then renamed.

The name of a temporary file, ``.NAME.HOST-PROCESS-RANDOM.tmp``, shows which process writes it. The next write of the
same file removes temporary files of ended processes.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from fermisea.errors import StorageError

UNSUPPORTED = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.ENOLCK})
"""Error numbers of fsync and flock on file systems without these calls."""

_REMEDIES = {
    errno.EAGAIN: "another process has locked the file; wait for the end of that process, or set "
    "HDF5_USE_FILE_LOCKING=FALSE if no process writes to the file",
    errno.EACCES: "change the permissions of the file or run as its owner",
    errno.EPERM: "change the permissions of the file or run as its owner",
    errno.EMFILE: "close other files or raise the limit (ulimit -n)",
    errno.ENFILE: "close other files",
    errno.ENOMEM: "provide more memory",
    errno.ENOLCK: "the file system has no locks; set HDF5_USE_FILE_LOCKING=FALSE",
}
_TRY_AGAIN = "check the disk or the network, then try again"
_UNREADABLE = frozenset(_REMEDIES) | {
    errno.EIO,
    errno.EBUSY,
    errno.EINTR,
    errno.ENODEV,
    errno.ENXIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.ECONNRESET,
    errno.ENOTCONN,
}
"""Error numbers that say nothing about the content of a file."""

_TEMPORARY = re.compile(r"\.(?:(?P<host>[0-9a-f]{8})-(?P<process>\d+)-)?[^.]+\.tmp")
_DAY = 86_400.0
"""Age from which a temporary file of an unknown process is a leftover, s."""


def unreadable(path: str | os.PathLike[str], error: BaseException | None) -> StorageError | None:
    """Returns the error for a file that cannot be read now; None if ``error`` may come from the content of the file.

    A lock, a missing permission or a failing disk says nothing about the content. The causes of ``error`` are examined
    too.
    """
    while error is not None:
        if isinstance(error, StorageError):
            return error
        if isinstance(error, OSError) and error.errno in _UNREADABLE:
            remedy = _REMEDIES.get(error.errno, _TRY_AGAIN)
            return StorageError(f"{path}: cannot be read now ({os.strerror(error.errno)}); {remedy}")
        error = error.__cause__ or error.__context__
    return None


@contextmanager
def readable(path: str | os.PathLike[str]) -> Iterator[None]:
    """Converts errors of the system in the block into a StorageError; errors due to the content are unchanged.

    Raises:
        StorageError: if the file is locked, its permission is missing, or the disk fails.
    """
    try:
        yield
    except Exception as error:
        storage = unreadable(path, error)
        if storage is None or storage is error:
            raise
        raise storage from error


@contextmanager
def atomic_path(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path beside ``target`` that replaces it when the block ends without an error.

    Raises:
        StorageError: if the folder cannot be written to or the disk is full; ``target`` is then unchanged.
    """
    target = Path(target)
    check_writable_folder(target.parent)
    remove_leftovers(target.parent, target.name)
    temporary = target.parent / f".{target.name}.{_host()}-{os.getpid()}-{secrets.token_hex(4)}.tmp"
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666))
    except OSError as error:
        raise StorageError(f"{target}: cannot be written ({error.strerror}); choose another file name") from error
    try:
        yield temporary
        with temporary.open("rb") as stream:
            _flush(stream.fileno())
        temporary.replace(target)
    except OSError as error:
        raise StorageError(f"{target}: could not be written ({error}); an existing file is unchanged") from error
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Removes temporary files of ended processes in a folder.

    A file of this machine is removed if its process has ended, a file of another machine or of an unknown process if it
    is older than one day.

    Args:
        folder: folder of the files.
        name: file name whose temporary files are removed; by default all temporary files.
    """
    start = "." if name is None else f".{name}."
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(start) and entry.name.endswith(".tmp"):
                with suppress(OSError):
                    _remove_if_left(entry, name)


def _remove_if_left(entry: os.DirEntry[str], name: str | None) -> None:
    rest = entry.name[1 + len(name) :] if name is not None else "." + ".".join(entry.name.rsplit(".", 2)[1:])
    match = _TEMPORARY.fullmatch(rest)
    if match is None or not entry.is_file(follow_symlinks=False):
        return
    if match["host"] == _host() and os.name == "posix":
        left = not _alive(int(match["process"]))
    else:
        left = time.time() - entry.stat(follow_symlinks=False).st_mtime > _DAY
    if left:
        Path(entry.path).unlink()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


@cache
def _host() -> str:
    """Returns eight digits that identify this machine and the name space of its process numbers."""
    space = ""
    with suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")  # noqa: PTH115  # the target is not a path
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode()).hexdigest()[:8]


def _flush(descriptor: int) -> None:
    """Writes a file to the disk, on file systems that can."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise


def check_writable_folder(folder: str | os.PathLike[str]) -> Path:
    """Creates ``folder`` if necessary and returns it.

    Raises:
        StorageError: if the path is not a folder, or files cannot be created in it.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StorageError(
            f"{folder}: cannot write files to this folder ({error.strerror}); choose another folder"
        ) from error
    return folder


def write_text(target: str | os.PathLike[str], text: str) -> None:
    """Writes ``text`` to ``target`` as UTF-8, atomically."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
