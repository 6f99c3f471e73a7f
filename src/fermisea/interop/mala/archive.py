"""Untrusted archives, read in memory with limits; nothing is written to disk."""

from __future__ import annotations

import io
import stat
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath

from fermisea.errors import FileFormatError

MEMBERS = 1000
"""Largest number of files in an archive."""

SIZE = 2**31
"""Largest size of an unpacked archive, bytes."""

RATIO = 100
"""Largest compression ratio beyond the first megabytes; weights hardly compress."""

_FREE = 2**24
_BLOCK = 2**20


def read_archive(content: bytes, name: str) -> Mapping[str, bytes]:
    """Returns the files of a zip archive by name.

    Args:
        content: bytes of the archive.
        name: name of the archive, for messages.

    Raises:
        FileFormatError: if the archive is damaged, too large, encrypted, or has links, duplicate names, or paths that
            lead out of it.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            _check(members, len(content), name)
            return {member.filename: _unpacked(archive, member, name) for member in members}
    except FileFormatError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, NotImplementedError) as error:
        detail = " ".join(str(error).split())[:100]
        raise FileFormatError(f"{name}: not a complete zip archive ({detail}); copy the file again") from error


def _check(members: list[zipfile.ZipInfo], packed: int, name: str) -> None:
    if len(members) > MEMBERS:
        raise FileFormatError(
            f"{name}: got an archive of {len(members)} files, expected at most {MEMBERS}; this is not a file of MALA"
        )
    names = [member.filename for member in members]
    for entry in names:
        if _leaves(entry):
            raise FileFormatError(f"{name}: the path {entry!r} leads out of the archive; do not trust this file")
    if len(set(names)) != len(names):
        raise FileFormatError(f"{name}: two files with the same name in the archive; do not trust this file")
    for member in members:
        if stat.S_ISLNK(member.external_attr >> 16):
            raise FileFormatError(f"{name}: {member.filename!r} is a link, expected a file; do not trust this archive")
        if member.flag_bits & 1:
            raise FileFormatError(f"{name}: {member.filename!r} is encrypted, expected a plain archive")
    unpacked = sum(member.file_size for member in members)
    if unpacked > min(SIZE, _FREE + RATIO * packed):
        raise FileFormatError(
            f"{name}: would unpack from {packed} to {unpacked} bytes, expected at most {RATIO} times as many and "
            f"{SIZE // 2**30} GiB; do not trust this file"
        )


def _leaves(path: str) -> bool:
    """Whether a path is absolute or leads upwards, on any operating system."""
    windows = PureWindowsPath(path)
    return bool(windows.drive or windows.root or PurePosixPath(path).is_absolute() or ".." in windows.parts)


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> bytes:
    """Returns the bytes of a file; stops if it is longer than declared."""
    parts, size = [], 0
    with archive.open(member) as stream:
        while block := stream.read(_BLOCK):
            size += len(block)
            if size > member.file_size:
                raise FileFormatError(f"{name}: {member.filename!r} is longer than declared; do not trust this file")
            parts.append(block)
    return b"".join(parts)
