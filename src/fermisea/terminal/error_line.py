"""Errors and warnings as single lines on standard error."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def fail(message: str, status: int) -> int:
    """Prints an error as one line to standard error and returns ``status``."""
    sys.stderr.write(f"fermisea: {' '.join(message.split())}\n")
    return status


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Context in which warnings for the user are single lines without code location, and others are hidden."""
    with warnings.catch_warnings():
        warnings.showwarning = _show
        yield


def _show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, UserWarning):
        fail(f"warning: {message}", 0)
