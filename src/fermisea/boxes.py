"""Boxes that a grid is cut into, and threads that work on them."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Box = tuple[slice, slice, slice]

_Result = TypeVar("_Result")


def in_order(work: Callable[[Box], _Result], chosen: Iterable[Box], threads: int) -> Iterator[_Result]:
    """Yields the result of each box, in their order; several threads work on the boxes that come next.

    Args:
        work: is called with a box, by several threads at once.
        chosen: the boxes.
        threads: how many there are.
    """
    ahead: deque[Future[_Result]] = deque()
    with _one_thread_each(threads), ThreadPoolExecutor(threads) as pool:
        try:
            for box in chosen:
                ahead.append(pool.submit(work, box))
                if len(ahead) > 2 * threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:  # after an error or an interruption
            for future in ahead:
                future.cancel()


@contextmanager
def _one_thread_each(threads: int) -> Iterator[None]:
    """Lets each of several threads compute alone: their products are small, and there are enough of them."""
    before = torch.get_num_threads()
    try:
        if threads > 1:
            torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(before)


def boxes(shape: tuple[int, int, int], chunk: int) -> Iterator[Box]:
    """Yields the boxes that a grid is cut into: of at most ``chunk`` points, long along the last axis."""
    z = _even(min(shape[2], max(chunk // 4, 1)), shape[2])
    y = _even(min(shape[1], max(chunk // (2 * z), 1)), shape[1])
    x = _even(min(shape[0], max(chunk // (y * z), 1)), shape[0])
    for corner in itertools.product(*(range(0, n, step) for n, step in zip(shape, (x, y, z), strict=True))):
        ends = (min(a + step, n) for a, step, n in zip(corner, (x, y, z), shape, strict=True))
        i, j, k = (slice(a, b) for a, b in zip(corner, ends, strict=True))
        yield i, j, k


def _even(length: int, whole: int) -> int:
    return length if length == whole or length < 2 else length - length % 2
