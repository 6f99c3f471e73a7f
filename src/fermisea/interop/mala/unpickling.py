"""Untrusted pickles, read as plain data: numpy arrays, torch tensors and MALA's scaler become numbers.

No name in a pickle is imported. The few allowed names stand for functions of a reader, created for each pickle, that
map numbers to numbers. Opcodes that need other names, or could request memory beyond the size of the pickle, are
refused before anything is read.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fermisea.errors import FileFormatError

Array = npt.NDArray[Any]

STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "|b1",
}
"""Number types of torch storages."""

# fmt: off
_OPCODES = frozenset({
    "PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "DUP", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1",
    "BININT2", "LONG1", "LONG4", "BINFLOAT", "SHORT_BINSTRING", "BINSTRING", "SHORT_BINBYTES", "BINBYTES",
    "BINUNICODE", "SHORT_BINUNICODE", "EMPTY_LIST", "APPEND", "APPENDS", "LIST", "EMPTY_TUPLE", "TUPLE", "TUPLE1",
    "TUPLE2", "TUPLE3", "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS", "GLOBAL", "STACK_GLOBAL", "REDUCE", "NEWOBJ",
    "BUILD", "BINPERSID", "BINGET", "LONG_BINGET", "BINPUT", "LONG_BINPUT", "MEMOIZE",
})
# fmt: on
_LONGEST_MEMO = 10**6


class PlainData(dict[str, Any]):
    """Attributes of a pickled object, by name."""


class StorageType:
    """A number type of torch storages, by its name in a pickle."""

    def __init__(self, dtype: str) -> None:
        self.dtype = np.dtype(dtype)


PersistentLoad = Callable[[Any], Array]


def read_pickle(
    stream: io.BytesIO,
    name: str,
    *,
    persistent: PersistentLoad | None = None,
    nested: Callable[[bytes], Array] | None = None,
) -> Any:
    """Returns the plain data of the next pickle in a stream, and moves the stream to its end.

    Args:
        stream: stream at the start of a pickle.
        name: name of the file, for messages.
        persistent: function from the persistent identifier of a torch storage to its numbers.
        nested: function from the bytes of a torch file inside the pickle to the numbers of its storage.

    Raises:
        FileFormatError: if the pickle contains anything but numbers, or is damaged.
    """
    start = stream.tell()
    _check_opcodes(stream, name)
    end = stream.tell()
    stream.seek(start)
    try:
        return _Reader(stream, name, persistent, nested).load()
    except FileFormatError:
        raise
    except Exception as error:  # a damaged pickle can raise any exception
        detail = " ".join(str(error).split())[:100]
        raise FileFormatError(f"{name}: not a complete pickle ({detail}); copy the file again") from error
    finally:
        stream.seek(end)


def _check_opcodes(stream: io.BytesIO, name: str) -> None:
    refused = ""
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name not in _OPCODES:
                refused = f"has the opcode {opcode.name}"
            elif opcode.name == "LONG_BINPUT" and int(argument or 0) > _LONGEST_MEMO:
                refused = "requests more memory than its size"
            if refused:
                break
    except Exception as error:  # pickletools raises ValueError, and other exceptions for damaged text
        detail = " ".join(str(error).split())[:100]
        raise FileFormatError(f"{name}: not a complete pickle ({detail}); copy the file again") from error
    if refused:
        raise FileFormatError(
            f"{name}: the pickle {refused}, expected numbers only; nothing was executed, do not trust this file"
        )


class _Reader(pickle.Unpickler):
    """Replaces the allowed names by data or by its own methods, and refuses all others."""

    def __init__(
        self,
        stream: io.BytesIO,
        name: str,
        persistent: PersistentLoad | None,
        nested: Callable[[bytes], Array] | None,
    ) -> None:
        super().__init__(stream)
        self._name, self._persistent, self._nested = name, persistent, nested

        # classes created for this reader only, because a pickle may set attributes of named objects
        class Scaler(PlainData):
            def __setstate__(self, state: dict[str, Any]) -> None:
                self.update(state)

        class Ordered(dict[Any, Any]):
            pass

        self._known: dict[tuple[str, str], Any] = {
            ("mala.datahandling.data_scaler", "DataScaler"): Scaler,
            ("collections", "OrderedDict"): Ordered,
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("torch._utils", "_rebuild_parameter"): self._parameter,
            ("torch.storage", "_load_from_bytes"): self._storage,
            ("numpy", "ndarray"): "ndarray",
            ("numpy", "dtype"): self._dtype,
        }
        for home in ("numpy.core.multiarray", "numpy._core.multiarray"):
            self._known[home, "_reconstruct"] = self._array
            self._known[home, "scalar"] = self._scalar

    def find_class(self, module: str, name: str, /) -> Any:
        """Returns the object for a name.

        Raises:
            FileFormatError: for a name that MALA's numbers do not need.
        """
        if (module, name) in self._known:
            return self._known[module, name]
        if module == "torch" and name in STORAGES:
            return StorageType(STORAGES[name])
        raise FileFormatError(
            f"{self._name}: the pickle requests {f'{module}.{name}'[:80]!r}, expected numbers only; nothing was "
            "executed, do not trust this file"
        )

    def persistent_load(self, pid: Any, /) -> Any:
        """Returns the numbers of a torch storage."""
        if self._persistent is None:
            raise FileFormatError(f"{self._name}: the pickle refers to external data, expected numbers in the file")
        return self._persistent(pid)

    def _tensor(self, storage: Array, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Array:
        if not isinstance(storage, np.ndarray) or storage.ndim != 1:
            raise FileFormatError(f"{self._name}: got a tensor without numbers; copy the file again")
        count = math.prod(size)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        inside = min((offset, *stride, *size)) >= 0 and (count == 0 or last < storage.size) and count <= storage.size
        if not inside:
            raise FileFormatError(f"{self._name}: got a tensor larger than its storage; copy the file again")
        if count == 0:
            return np.empty(size, dtype=storage.dtype)
        item = storage.dtype.itemsize
        return np.lib.stride_tricks.as_strided(storage[offset:], size, [step * item for step in stride])

    def _parameter(self, data: Array, *_: Any) -> Array:
        return data

    def _storage(self, content: bytes) -> Array:
        if self._nested is None:
            raise FileFormatError(f"{self._name}: got a file nested twice in other files, expected numbers")
        return self._nested(content)

    def _dtype(self, code: str, *_: Any) -> _PickledType:
        return _PickledType(code)

    def _array(self, *_: Any) -> PickledArray:
        return PickledArray()

    def _scalar(self, dtype: _PickledType, content: bytes) -> Any:
        return np.frombuffer(content, dtype.resolved, count=1)[0].item()


class _PickledType:
    """A numpy number type; the byte order is part of the state."""

    def __init__(self, code: str) -> None:
        self._code, self._order = code, "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._order = state[1]

    @property
    def resolved(self) -> np.dtype[Any]:
        if not isinstance(self._code, str) or self._code[:1] not in {"f", "i", "u", "b"}:
            raise ValueError(f"numbers of type {self._code!r}")
        return np.dtype(self._code).newbyteorder(">" if self._order == ">" else "<")


class PickledArray:
    """A numpy array, whose numbers are part of the state."""

    values: Array

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, content = state
        self.values = np.frombuffer(content, dtype.resolved).reshape(shape, order="F" if fortran else "C")


def as_array(value: Any, name: str) -> npt.NDArray[np.float64]:
    """Returns numbers from a pickle or from JSON as an array.

    Raises:
        FileFormatError: for anything but numbers.
    """
    try:
        return np.array(value.values if isinstance(value, PickledArray) else value, dtype=np.float64)
    except (TypeError, ValueError, AttributeError, struct.error) as error:
        raise FileFormatError(f"{name}: holds {str(value)[:40]!r}, expected numbers; copy the file again") from error
