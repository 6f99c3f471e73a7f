"""Number of cores of this process, and thread pools with results in the order of the tasks."""

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
    """Returns the number of cores that this process may use, or OMP_NUM_THREADS if it is set and smaller."""
    number = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    requested = os.environ.get("OMP_NUM_THREADS", "")
    return min(number, int(requested)) if requested.isdigit() and int(requested) > 0 else number


class Workers:
    """Context with several worker threads.

    Inside the context every thread, including the calling one, uses one torch thread, because the matrix products are
    small and numerous.
    """

    def __init__(self, threads: int | None = None, *, keep_torch_threads: bool = False) -> None:
        """Chooses the number of threads.

        Args:
            threads: number of worker threads; None for the number of torch (OMP_NUM_THREADS if set).
            keep_torch_threads: whether torch keeps its number of threads inside the context.
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
        """Yields the result of each part in the order of the parts, so sums do not depend on the number of threads.

        Only slightly more parts than threads are held at any time.

        Args:
            work: function of one part, called by several threads at the same time.
            parts: arguments of ``work``.
        """
        ahead: deque[Future[_Result]] = deque()
        for part in parts:
            ahead.append(self._pool.submit(work, part))
            if len(ahead) > 2 * self._threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def in_order(work: Callable[[_Part], _Result], parts: Iterable[_Part], threads: int) -> Iterator[_Result]:
    """Yields the result of each part in the order of the parts, from threads that end after the last result.

    Args:
        work: function of one part, called by several threads at the same time.
        parts: arguments of ``work``.
        threads: number of threads; with a single thread, torch keeps its number of threads.
    """
    with Workers(threads, keep_torch_threads=threads == 1) as workers:
        yield from workers.map(work, parts)
