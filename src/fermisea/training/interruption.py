"""Requests to stop by Ctrl-C or SIGTERM, handled at the end of an update."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from fermisea.utilities.signals import TOGETHER


class StopRequest:
    """A request to stop the training.

    Attributes:
        made: whether a signal requested the stop.
        number: number of the signal; 0 if another process of the training received it.
    """

    def __init__(self, before: dict[int, Callable[[int, FrameType | None], Any]]) -> None:
        """Stores the handlers of the signals outside of the training."""
        self.made, self.number = False, 0
        self._before, self._first = before, 0.0

    def make(self, number: int, frame: FrameType | None) -> None:
        """Handles a signal; a second Ctrl-C does not wait for the end of the update."""
        now = time.monotonic()
        if not self.made:
            self.made, self.number, self._first = True, number, now
        elif number == signal.SIGINT and now - self._first > TOGETHER:
            self._before.get(number, signal.default_int_handler)(number, frame)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Yields the request that signals set within the block.

    Only the main thread receives signals. A signal that the process ignores, such as Ctrl-C in a background job of a
    script, stays ignored.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    request = StopRequest({number: handler for number, handler in before.items() if callable(handler)})
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    heard = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    for number in heard:
        signal.signal(number, request.make)
    try:
        yield request
    finally:
        for number, handler in heard.items():
            signal.signal(number, handler)
