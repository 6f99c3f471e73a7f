"""Locks between processes, on file systems with and without flock."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock

from fermisea.utilities.files import UNSUPPORTED


def file_lock(path: Path) -> BaseFileLock:
    """Returns a lock on a file, which is released when its process ends.

    On a file system without flock, the existence of the file ``path`` with the additional suffix ``.held`` is the lock.

    Args:
        path: lock file, in an existing folder.
    """
    if _has_flock(path.parent):
        return FileLock(path)
    return SoftFileLock(path.with_name(f"{path.name}.held"))


def _has_flock(folder: Path) -> bool:
    """Whether the file system of a folder has flock; Windows has locks of its own."""
    if sys.platform == "win32":
        return True
    import fcntl  # noqa: PLC0415  # not on Windows

    with tempfile.TemporaryFile(dir=folder) as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno not in UNSUPPORTED
    return True
