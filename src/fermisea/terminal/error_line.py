"""Errors and warnings, a line of standard error each."""

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
    """Within it a warning for the user is a line without the place in the code; others are not shown."""
    with warnings.catch_warnings():
        warnings.showwarning = _show
        yield


def _show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, UserWarning):
        fail(f"warning: {message}", 0)
