"""Tensors from files of ``torch.save`` in the old and new format, without torch's reader, which can execute code."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fermisea.errors import FileFormatError
from fermisea.interop.mala.archive import read_archive
from fermisea.interop.mala.unpickling import StorageType, read_pickle

Array = npt.NDArray[Any]

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


def read_torch(content: bytes, name: str) -> Any:
    """Returns the content of a torch file, with tensors and storages as numpy arrays.

    Args:
        content: content of the file.
        name: name of the file, for messages.

    Raises:
        FileFormatError: if the file contains anything but numbers, or is damaged.
    """
    return _zipped(content, name) if content[:2] == b"PK" else _plain(content, name)


def _zipped(content: bytes, name: str) -> Any:
    """Reads the format since torch 1.6: a zip archive with a pickle and one file for each storage."""
    files = read_archive(content, name)
    pickles = [entry for entry in files if entry.endswith("/data.pkl") or entry == "data.pkl"]
    if len(pickles) != 1:
        raise FileFormatError(
            f"{name}: got {len(pickles)} files data.pkl in the archive, expected one; this is not a file of torch.save"
        )
    folder = pickles[0].removesuffix("data.pkl")
    if files.get(f"{folder}byteorder", b"little") != b"little":
        raise FileFormatError(f"{name}: written by a machine of another byte order, expected little endian")

    def storage(pid: Any) -> Array:
        dtype, key, count = _identifier(pid, name)
        data = files.get(f"{folder}data/{key}")
        if data is None or len(data) < count * dtype.itemsize:
            raise FileFormatError(f"{name}: the numbers of storage {key} are missing; copy the file again")
        return np.frombuffer(data, dtype, count)

    return read_pickle(io.BytesIO(files[pickles[0]]), name, persistent=storage)


def _plain(content: bytes, name: str) -> Any:
    """Reads the older format: pickles of magic number, protocol, machine, object and storage names; then the numbers.

    Since the numbers come last, the object is read twice, first to find the types of the storages.
    """
    stream = io.BytesIO(content)
    if read_pickle(stream, name) != _MAGIC or read_pickle(stream, name) != _PROTOCOL:
        raise FileFormatError(f"{name}: not a file of torch.save")
    machine = read_pickle(stream, name)
    if not isinstance(machine, Mapping) or machine.get("little_endian") is not True:
        raise FileFormatError(f"{name}: written by a machine of another byte order, expected little endian")
    types: dict[str, tuple[np.dtype[Any], int]] = {}

    def declared(pid: Any) -> Array:
        dtype, key, count = _identifier(pid, name)
        if count * dtype.itemsize > len(content):
            raise FileFormatError(f"{name}: truncated, a storage of {count} numbers is missing; copy the file again")
        types[key] = (dtype, count)
        return np.zeros(count, dtype)

    start = stream.tell()
    read_pickle(stream, name, persistent=declared)
    keys = read_pickle(stream, name)
    storages: dict[str, Array] = {}
    for key in keys if isinstance(keys, list) else []:
        dtype, count = types.get(str(key), (np.dtype("<f4"), -1))
        length = int.from_bytes(stream.read(8), "little", signed=True)
        data = stream.read(max(count, 0) * dtype.itemsize)
        if length != count or len(data) != count * dtype.itemsize:
            raise FileFormatError(f"{name}: truncated, the numbers of storage {key} are missing; copy the file again")
        storages[str(key)] = np.frombuffer(data, dtype)

    def storage(pid: Any) -> Array:
        key = _identifier(pid, name)[1]
        if key not in storages:
            raise FileFormatError(f"{name}: truncated, the numbers of storage {key} are missing; copy the file again")
        return storages[key]

    stream.seek(start)
    return read_pickle(stream, name, persistent=storage)


def _identifier(pid: Any, name: str) -> tuple[np.dtype[Any], str, int]:
    """Returns number type, key and length of a storage."""
    match pid:
        case ("storage", StorageType() as kind, str(key), str(), int(count), *rest):
            if count >= 0 and all(view is None for view in rest):
                return kind.dtype, key, count
    raise FileFormatError(f"{name}: got a storage of an unknown kind, expected plain numbers")
