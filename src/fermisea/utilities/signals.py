"""Ctrl-C and SIGTERM as exceptions that unwind the whole program, in the main thread of a command.

A signal may arrive at any moment: while modules are imported, in the middle of a computation, or during the clean-up
after an earlier signal. The exception is postponed where Python or a library would swallow or change it.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

_IMPORT = "<frozen importlib._bootstrap>"

_PAUSE = 0.05
"""Delay of a postponed exception, s."""

TOGETHER = 1.0
"""Interval in which repeated signals count as one, s: some programs send a signal to a process and to its group."""


class Stopped(KeyboardInterrupt):
    """A request to end the program.

    Attributes:
        number: number of the signal.
    """

    def __init__(self, number: int, message: str = "") -> None:
        super().__init__(message)
        self.number = number


def signal_of(error: BaseException) -> int:
    """Returns the number of the signal that caused an interruption, SIGINT if the number is unknown."""
    return error.number if isinstance(error, Stopped) else int(signal.SIGINT)


def interruption(number: int) -> str:
    """Returns the word for a signal in messages."""
    return "interrupted" if number == signal.SIGINT else f"stopped by {signal.Signals(number).name}"


class StopSignals:
    """The handler of both signals.

    Attributes:
        remedy: end of the line on standard error, if the process ends inside the handler.
        loaded: whether the program is loaded; before, a signal ends the process at once.
        status: exit status of a finished program, which a late signal does not change; None before.
    """

    def __init__(self, remedy: str) -> None:
        self.remedy, self.loaded = remedy, False
        self.status: int | None = None
        self._first: float | None = None  # time of the first signal
        self._due = False  # whether a postponed exception is due

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Raises ``Stopped`` at the first signal; the second one ends the process at once."""
        if self.status is not None:
            os._exit(self.status)
        due, self._due = self._due, False
        if self._first is not None and not due:
            if time.monotonic() - self._first > TOGETHER:
                self._exit(number)
            return
        if self._first is None:
            self._first = time.monotonic()
        if not self.loaded:
            self._exit(number)
        if _importing(frame):  # a module that is being initialised may turn the exception into another one
            self._postpone(number)
            return
        raise Stopped(number)

    def ignored(self, unraisable: Any) -> None:
        """Handles an exception that Python ignores, for example in a destructor.

        ``Stopped`` is raised again later. After a signal nothing else is shown: a constructor that was interrupted
        leaves an object whose destructor may fail.
        """
        if isinstance(unraisable.exc_value, KeyboardInterrupt):
            self._postpone(signal_of(unraisable.exc_value))
        elif self._first is None:
            sys.__unraisablehook__(unraisable)

    def _postpone(self, number: int) -> None:
        def deliver() -> None:
            self._due = True
            if hasattr(signal, "pthread_kill"):  # also ends a wait of the main thread
                signal.pthread_kill(threading.main_thread().ident or 0, number)
            else:
                _thread.interrupt_main(signal.Signals(number))

        timer = threading.Timer(_PAUSE, deliver)
        timer.daemon = True
        timer.start()

    def _exit(self, number: int) -> None:
        cursor = "\x1b[?25h" if os.isatty(2) else ""  # a progress bar may have hidden the cursor
        line = f"{cursor}fermisea: {interruption(number)}{self.remedy}\n"
        with suppress(OSError):
            os.write(2, line.encode("ascii", "backslashreplace"))
        os._exit(128 + number)


@contextmanager
def stop_signals(remedy: str) -> Iterator[StopSignals]:
    """Context in which Ctrl-C and SIGTERM raise ``Stopped``; a signal that the parent process ignores stays ignored.

    Args:
        remedy: end of the line on standard error, after the word for the signal.
    """
    handler = StopSignals(remedy)
    if threading.current_thread() is not threading.main_thread():
        yield handler
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    heard = {number: old for number, old in before.items() if old is not signal.SIG_IGN}
    hook, sys.unraisablehook = sys.unraisablehook, handler.ignored
    for number in heard:
        signal.signal(number, handler)
    try:
        yield handler
    finally:
        if handler.status is None:
            sys.unraisablehook = hook
            for number, old in heard.items():
                signal.signal(number, old)


@contextmanager
def no_interruption() -> Iterator[None]:
    """Context in which this thread, and threads and processes started in the context, receive no Ctrl-C.

    A terminal sends Ctrl-C to all processes of a command, but only the first one has to end the others.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker  # noqa: PLC0415  # not needed by most commands

    resource_tracker.ensure_running()  # its start would end the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT:
            return True
        frame = frame.f_back
    return False
