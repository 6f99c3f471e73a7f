"""Child processes."""

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
    """Prepares a new child process: it ends with its parent and uses a given number of threads.

    Args:
        threads: number of threads of torch and its libraries.
        end: function that ends the process when the parent has ended; by default the process exits immediately.
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
