"""Compilation of the descriptors' loops on first use, kept in the user's cache folder for the next process."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numba
from llvmlite.binding import get_host_cpu_features
from numba.core import config
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator
from numba.misc.appdirs import user_cache_dir

from fermisea.errors import InputError

_WIDTHS = (128, 256, 512)


@lru_cache(maxsize=1)
def vector_bits() -> int:
    """Returns the width of the vector registers that the loops are compiled for.

    512 with AVX-512, 256 with AVX, else 128; the environment variable ``FERMISEA_VECTOR_BITS`` overrules.

    Raises:
        InputError: if that variable is none of the three.
    """
    asked = os.environ.get("FERMISEA_VECTOR_BITS")
    if asked is not None:
        if asked not in map(str, _WIDTHS):
            raise InputError(f"FERMISEA_VECTOR_BITS: got {asked!r}, expected one of {', '.join(map(str, _WIDTHS))}")
        return int(asked)
    features = get_host_cpu_features()
    return 512 if features.get("avx512f") else 256 if features.get("avx") else 128


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function for each combination of argument types on first use; it runs without the interpreter lock.

    The machine code is kept in a folder ``fermisea`` of the user's cache (in ``NUMBA_CACHE_DIR``, where that is set),
    and made anew when any file of this folder changes. Where no such folder can be written, each process compiles.
    """
    dispatcher = numba.njit(nogil=True, error_model="numpy", fastmath={"contract", "nsz"})(function)
    try:
        dispatcher._cache = _Cache(function)  # type: ignore[attr-defined,no-untyped-call]  # noqa: SLF001  # as numba's enable_caching
    except RuntimeError:  # numba found no folder
        return dispatcher
    return dispatcher


class _Locator(_CacheLocator):
    """Where numba keeps the machine code of one function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._line = function.__code__.co_firstlineno

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> Self | None:  # noqa: ARG003
        locator = cls(py_func)
        try:
            locator.ensure_cache_path()  # type: ignore[no-untyped-call]
        except OSError:
            return None
        return locator

    def get_cache_path(self) -> str:
        chosen = config.CACHE_DIR  # type: ignore[attr-defined]
        base = Path(chosen or user_cache_dir("fermisea", appauthor=False))  # type: ignore[no-untyped-call]
        return str(base / f"fermisea-{vector_bits()}-{_sources()[:16]}")

    def get_source_stamp(self) -> str:
        return _sources()

    def get_disambiguator(self) -> str:
        return str(self._line)


class _CacheImpl(CompileResultCacheImpl):
    _locator_classes = [_Locator]  # type: ignore[list-item]  # noqa: RUF012  # as numba declares it


class _Cache(FunctionCache):
    _impl_class = _CacheImpl


@lru_cache(maxsize=1)
def _sources() -> str:
    """Returns a digest of all source files here: compiled functions contain those that they call."""
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
