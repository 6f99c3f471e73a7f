"""Grid points as rows of descriptors and LDOS, read in random order.

An epoch takes short runs of rows from all over the data in random order into a buffer, shuffles that, and fills the
next one behind the back of whoever uses the first. Runs instead of single rows make reading fast, from a file as from
memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor

RUN = 64
"""Rows that are read in one go; they stay together only until their buffer is shuffled."""

_BLOCK = 8192
"""Rows of a block."""


class Points(ABC):
    """Points of several snapshots, each a row of descriptors and LDOS.

    Attributes:
        features: number of descriptors.
        energies: number of energies.
        sizes: number of points of each snapshot, in the order of the rows.
        dtype: of the rows.
    """

    def __init__(self, features: int, energies: int, sizes: Sequence[int], dtype: torch.dtype, capacity: int) -> None:
        """Takes the shapes, and the number of rows of a buffer, a multiple of ``RUN``."""
        self.features, self.energies, self.sizes, self.dtype = features, energies, tuple(sizes), dtype
        self._capacity = capacity
        self._spare: list[Tensor] = []

    @property
    def width(self) -> int:
        """Length of a row."""
        return self.features + self.energies

    def __len__(self) -> int:
        return sum(self.sizes)

    @abstractmethod
    def read_runs(self, starts: Tensor, buffer: Tensor) -> Tensor:
        """Reads the runs that begin at ``starts`` into ``buffer`` and returns the part of it that is full."""

    @abstractmethod
    def read_block(self, start: int, stop: int) -> Tensor:
        """Returns rows ``start`` to ``stop``."""

    def batches(self, size: int, generator: torch.Generator, *, skip: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields every point once, in random order, ``size`` at a time: (points, features) and (points, energies).

        Args:
            size: points of a batch; the last one may have fewer.
            generator: of the order.
            skip: batches to leave out at the beginning; the others stay as they would be.
        """
        starts = torch.arange(0, len(self), RUN)
        starts = starts[torch.randperm(len(starts), generator=generator)]
        rest = torch.empty((0, self.width), dtype=self.dtype)
        parts = starts.split(self._capacity // RUN)
        number = 0
        with self._buffers(len(parts[:2])) as buffers, ThreadPoolExecutor(1) as reader:
            coming = reader.submit(self.read_runs, parts[0], buffers[0])
            for index, following in enumerate([*parts[1:], None], start=1):
                rows = coming.result()
                if following is not None:
                    coming = reader.submit(self.read_runs, following, buffers[index % 2])
                order = torch.randperm(len(rows), generator=generator)
                available = len(rest) + len(rows)
                whole = available if following is None else available // size * size
                used = 0
                for start in range(0, whole, size):
                    fresh = order[used : used + min(size, whole - start) - len(rest)]
                    number += 1
                    if number > skip:
                        batch = torch.cat([rest, rows.index_select(0, fresh)])
                        yield batch[:, : self.features], batch[:, self.features :]
                    used, rest = used + len(fresh), rest[:0]
                rest = torch.cat([rest, rows.index_select(0, order[used:])])

    def blocks(self, only: int | None = None) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yields all points in a fixed order, a block at a time, with the index of the snapshot they belong to.

        Args:
            only: index of the only snapshot that is wanted.
        """
        first = 0
        for index, size in enumerate(self.sizes):
            if only in (None, index):
                for start in range(first, first + size, _BLOCK):
                    rows = self.read_block(start, min(start + _BLOCK, first + size))
                    yield index, rows[:, : self.features], rows[:, self.features :]
            first += size

    @contextmanager
    def _buffers(self, count: int) -> Iterator[list[Tensor]]:
        """Lends buffers of the capacity, used ones first: the allocator may keep what is given back to it."""
        lent, self._spare = self._spare[:count], self._spare[count:]
        lent += [torch.empty((self._capacity, self.width), dtype=self.dtype) for _ in range(count - len(lent))]
        try:
            yield lent
        finally:
            self._spare = (self._spare + lent)[:2]
