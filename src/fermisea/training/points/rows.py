"""Grid points as rows of descriptors and LDOS, read in random order.

An epoch takes short runs of rows from all over the data in random order, as many as a buffer holds, and shuffles them.
Runs instead of single rows make reading from a file fast.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

RUN = 64
"""Rows that are read in one go; they stay together only until they are shuffled with others."""

_BLOCK = 8192
"""Rows of a block."""


class Points(ABC):
    """Points of several snapshots, each a row of descriptors and LDOS.

    Attributes:
        features: number of descriptors.
        energies: number of energies.
        sizes: number of points of each snapshot, in the order of the rows.
        dtype: of the rows.
        device: that batches and blocks are handed out on; the rows themselves are kept in memory or in a file.
    """

    def __init__(self, features: int, energies: int, sizes: Sequence[int], dtype: torch.dtype, capacity: int) -> None:
        """Takes the shapes, and the number of rows that are shuffled together, a multiple of ``RUN``."""
        self.device = torch.device("cpu")
        self.features, self.energies, self.sizes, self.dtype = features, energies, tuple(sizes), dtype
        self._capacity = capacity

    @property
    def width(self) -> int:
        """Length of a row."""
        return self.features + self.energies

    def __len__(self) -> int:
        return sum(self.sizes)

    @abstractmethod
    def windows(self, parts: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields, for each part of the runs, rows and the numbers of those among them that are in these runs.

        Args:
            parts: first rows of the runs of each part.
        """

    @abstractmethod
    def read_block(self, start: int, stop: int) -> Tensor:
        """Returns rows ``start`` to ``stop``."""

    def batches(
        self, size: int, generator: torch.Generator, *, skip: int = 0, share: slice = slice(None)
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields every point once, in random order, ``size`` at a time: (points, features) and (points, energies).

        Args:
            size: points of a batch; the last one may have fewer.
            generator: of the order.
            skip: batches to leave out at the beginning; the others stay as they would be.
            share: of the rows of each batch that is wanted.
        """
        starts = torch.arange(0, len(self), RUN)
        starts = starts[torch.randperm(len(starts), generator=generator)]
        rest = torch.empty((0, self.width), dtype=self.dtype)
        parts = starts.split(self._capacity // RUN)
        number = 0
        for index, (rows, numbers) in enumerate(self.windows(parts), start=1):
            order = numbers[torch.randperm(len(numbers), generator=generator)]
            available = len(rest) + len(order)
            whole = available if index == len(parts) else available // size * size
            used = 0
            for start in range(0, whole, size):
                fresh = order[used : used + min(size, whole - start) - len(rest)]
                number += 1
                if number > skip:
                    batch = _batch(rest, rows, fresh, share).to(self.device)
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
                    rows = self.read_block(start, min(start + _BLOCK, first + size)).to(self.device)
                    yield index, rows[:, : self.features], rows[:, self.features :]
            first += size


def _batch(rest: Tensor, rows: Tensor, fresh: Tensor, share: slice) -> Tensor:
    if len(rest) == 0:
        return rows.index_select(0, fresh[share])
    return torch.cat([rest, rows.index_select(0, fresh)])[share]
