"""Errors and warnings as single lines on standard error."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from fermisea.terminal.signs import printable

CLOSED_PIPE = 141
"""Exit status after standard output was closed, the same as for a program that SIGPIPE ended."""


def fail(message: str, status: int) -> int:
    """Prints an error as one line to standard error and returns ``status``."""
    with suppress(OSError):  # standard error is closed
        sys.stderr.write(f"fermisea: {printable(message.strip())}\n")
        sys.stderr.flush()
    return status


def flushed(status: int) -> int:
    """Writes the rest of standard output, and returns the exit status: ``status``, unless the output is lost."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard(sys.stdout)
        return status or CLOSED_PIPE
    except OSError as error:
        _discard(sys.stdout)
        return fail(f"standard output: cannot be written ({error.strerror}); finished files are kept", 2)
    return status


def is_closed(stream: TextIO) -> bool:
    """Returns whether the reader of a pipe has ended; the rest of the stream is then discarded."""
    try:
        stream.flush()
    except BrokenPipeError:
        _discard(stream)
        return True
    return False


def _discard(stream: TextIO) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Context in which warnings for the user are single lines without code location, and others are hidden."""
    with warnings.catch_warnings():
        warnings.showwarning = _show
        yield


def _show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, UserWarning):
        fail(f"warning: {message}", 0)
