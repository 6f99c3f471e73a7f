"""Processes that this one starts."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from multiprocessing.connection import wait


def _leave() -> None:
    """Ends this process at once."""
    os._exit(1)


def begin_child(threads: int, end: Callable[[], None] = _leave) -> None:
    """Prepares a process that was just started: it ends with its parent, and shares its work among so many threads.

    Args:
        threads: of torch and what it calls.
        end: how to end when the parent is gone; by default, at once.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent.sentinel, end), daemon=True).start()
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import torch  # noqa: PLC0415  # after the number of threads is set

    torch.set_num_threads(threads)


def _watch(sentinel: int, end: Callable[[], None]) -> None:
    wait([sentinel])
    end()
