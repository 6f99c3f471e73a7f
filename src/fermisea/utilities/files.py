"""Atomic writing of files: written under a temporary name, flushed, then renamed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fermisea.errors import StorageError


@contextmanager
def atomic_path(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path beside ``target`` that replaces it when the block ends without an error.

    Raises:
        StorageError: if the folder cannot be written to or the disk is full; ``target`` is then unchanged.
    """
    target = Path(target)
    check_writable_folder(target.parent)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    except OSError as error:
        raise StorageError(f"{target}: cannot be written ({error.strerror}); choose another file name") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(target)
    except OSError as error:
        raise StorageError(f"{target}: could not be written ({error}); an existing file is unchanged") from error
    finally:
        temporary.unlink(missing_ok=True)


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
