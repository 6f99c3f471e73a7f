"""HDF5 files of unknown origin, opened for reading after a check of their links and declared sizes."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
from h5py import h5a

from fermisea.errors import FileFormatError
from fermisea.utilities.files import UNSUPPORTED, readable

_RATIO = 1032
"""Largest compression ratio of deflate."""

_FREE = 2**24
"""Size up to which a data set may be larger than its compressed content permits, bytes."""


@contextmanager
def open_hdf5(path: str | os.PathLike[str], *, checked: bool = False) -> Iterator[h5py.File]:
    """Yields a file for reading. All its content is in the file itself, and no declared size exceeds the content.

    Errors of HDF5 for a damaged file are unchanged.

    Args:
        path: path of the file.
        checked: whether the check of :func:`check_content` is omitted, because it was done before or follows.

    Raises:
        StorageError: if the file cannot be read now, for example because another process has locked it.
        FileFormatError: if the file refers to other files, has soft links, or declares more data than it holds.
    """
    with readable(path), _opened(path) as file:
        if not checked:
            check_content(file)
        yield file


def _opened(path: str | os.PathLike[str]) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        return h5py.File(path, "r", locking=False)  # the file system may have no locks


def check_content(file: h5py.File) -> None:
    """Checks that all content of an open file is in the file itself, and that no declared size exceeds the content.

    Raises:
        FileFormatError: for other content.
    """
    path = str(file.filename)
    size = Path(path).stat().st_size
    links: dict[str, Any] = {}
    file.visititems_links(lambda name, link: links.update({name: link}))
    _check_attributes(file, path, size)
    for name, link in links.items():
        if not isinstance(link, h5py.HardLink):
            kind = "an external link" if isinstance(link, h5py.ExternalLink) else "a soft link"
            raise FileFormatError(f"{path}: {name} is {kind}, expected data in the file itself; do not trust this file")
        item = file[name]
        _check_attributes(item, path, size)
        if isinstance(item, h5py.Dataset):
            _check_data(item, path, size)


def _check_data(data: h5py.Dataset, path: str, size: int) -> None:
    if data.is_virtual or data.external:
        raise FileFormatError(
            f"{path}: the data of {data.name} are in other files, expected data in the file itself; do not trust this "
            "file"
        )
    stored = min(int(data.id.get_storage_size()), size)
    itemsize = data.dtype.itemsize
    declared = itemsize * max(math.prod(data.shape or ()), math.prod(data.chunks or ()))
    check_size(path, str(data.name), declared, stored)


def _check_attributes(item: Any, path: str, size: int) -> None:
    for index in range(h5a.get_num_attrs(item.id)):
        attribute = h5a.open(item.id, index=index)
        check_size(path, f"the attribute {attribute.name.decode(errors='replace')}", attribute.get_storage_size(), size)


def check_size(path: str, name: str, declared: int, stored: int) -> None:
    """Checks that compression explains the difference between declared and stored bytes.

    Args:
        path: path of the file.
        name: name of the data, for the message.
        declared: size of the data in memory, bytes.
        stored: size in the file, bytes.

    Raises:
        FileFormatError: if the declared size is too large.
    """
    if declared > _FREE + _RATIO * stored:
        raise FileFormatError(
            f"{path}: {name} declares {declared} bytes, but the file holds {stored} bytes for it; copy the file again "
            "or do not trust it"
        )
