"""Thread pool with results in the order of the tasks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

_Part = TypeVar("_Part")
_Result = TypeVar("_Result")


def in_order(work: Callable[[_Part], _Result], parts: Iterable[_Part], threads: int) -> Iterator[_Result]:
    """Yields the result of each part in order; several threads compute the next parts in advance.

    Args:
        work: function of one part, called by several threads at the same time.
        parts: arguments of ``work``.
        threads: number of threads.
    """
    ahead: deque[Future[_Result]] = deque()
    with _one_thread_each(threads), ThreadPoolExecutor(threads) as pool:
        try:
            for part in parts:
                ahead.append(pool.submit(work, part))
                if len(ahead) > 2 * threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:  # after an error or an interruption
            for future in ahead:
                future.cancel()


@contextmanager
def _one_thread_each(threads: int) -> Iterator[None]:
    """Lets each of several threads compute with one thread: their matrix products are small and numerous."""
    before = torch.get_num_threads()
    try:
        if threads > 1:
            torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(before)
