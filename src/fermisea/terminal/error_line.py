"""Errors and warnings as single lines on standard error."""

from __future__ import annotations

import os
import re
import select
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from fermisea.utilities.signs import printable

_LINE_END = re.compile(r"\s*\n\s*")

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
        discard(sys.stdout)
        return status or CLOSED_PIPE
    except OSError as error:
        discard(sys.stdout)
        return unwritten(error)
    return status


def is_closed(stream: TextIO) -> bool:
    """Returns whether the reader of a pipe has ended; the rest of the stream is then discarded."""
    if hasattr(select, "poll"):
        watch = select.poll()
        watch.register(stream.fileno(), 0)  # errors are always reported
        if not watch.poll(0):
            return False
    discard(stream)
    return True


def unwritten(error: OSError) -> int:
    """Prints an error of a file system that is full or defective, and returns the exit status."""
    name = error.filename or "output"
    return fail(f"{name}: cannot be written ({error.strerror}); free some space, then start the same command again", 2)


def discard(stream: TextIO) -> None:
    """Discards everything that a stream still holds, and everything written to it later."""
    with suppress(OSError, ValueError):  # a stream in memory has no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Context in which warnings for the user are single lines without code location, and others are hidden.

    A text that is repeated, for example for every structure of a campaign, is printed once.
    """
    shown: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        text = _LINE_END.sub(" ", str(message))
        if issubclass(category, UserWarning) and text not in shown:
            shown.add(text)
            fail(f"warning: {text}", 0)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
