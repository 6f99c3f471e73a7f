"""Cores of this process, and threads that work on the parts of a task with results in the order of the parts."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

_Part = TypeVar("_Part")
_Result = TypeVar("_Result")


def cores() -> int:
    """Returns the number of cores that this process may use, or OMP_NUM_THREADS if that is set and smaller."""
    number = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    requested = os.environ.get("OMP_NUM_THREADS", "")
    return min(number, int(requested)) if requested.isdigit() and int(requested) > 0 else number


class Workers:
    """A context with several worker threads.

    Inside the context every thread, the calling one included, computes with one torch thread: the products are small,
    and there are enough of them.
    """

    def __init__(self, threads: int | None = None, *, keep_torch_threads: bool = False) -> None:
        """Chooses the number of threads.

        Args:
            threads: number of worker threads; None takes the number of torch (OMP_NUM_THREADS where that is set).
            keep_torch_threads: whether torch keeps its own number of threads inside the context.
        """
        import torch  # noqa: PLC0415  # a process that only counts its cores needs no torch

        self._torch = torch
        self._before = torch.get_num_threads()
        self._threads = threads or self._before
        self._inside = self._before if keep_torch_threads else 1

    def __enter__(self) -> Self:
        self._torch.set_num_threads(self._inside)
        self._pool = ThreadPoolExecutor(
            self._threads, initializer=self._torch.set_num_threads, initargs=(self._inside,)
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._torch.set_num_threads(self._before)

    def map(self, work: Callable[[_Part], _Result], parts: Iterable[_Part]) -> Iterator[_Result]:
        """Yields the result of each part, in the order of the parts, so that sums do not depend on the threads.

        Only a few more parts than there are threads are computed or wait at any time.

        Args:
            work: function of a part; several threads call it at once.
            parts: the parts.
        """
        ahead: deque[Future[_Result]] = deque()
        for part in parts:
            ahead.append(self._pool.submit(work, part))
            if len(ahead) > 2 * self._threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def in_order(work: Callable[[_Part], _Result], parts: Iterable[_Part], threads: int) -> Iterator[_Result]:
    """Yields the result of each part, in the order of the parts, from threads that end with the last result.

    Args:
        work: function of a part; several threads call it at once.
        parts: the parts.
        threads: number of threads; a single one leaves torch its own number of threads.
    """
    with Workers(threads, keep_torch_threads=threads == 1) as workers:
        yield from workers.map(work, parts)
