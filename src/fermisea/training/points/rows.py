"""Grid points as rows of descriptors and LDOS, read in random order.

An epoch reads short runs of rows from all parts of the data in random order, fills a buffer, and shuffles it. Reading
runs instead of single rows is fast for files.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

RUN = 64
"""Number of consecutive rows read at once, before they are shuffled with others."""

_BLOCK = 8192
"""Number of rows in a block."""


class Points(ABC):
    """Points of several snapshots, each a row of descriptors and LDOS.

    Attributes:
        features: number of descriptors.
        energies: number of energies.
        sizes: number of points of each snapshot, in the order of the rows.
        dtype: type of the rows.
        device: device of batches and blocks; the rows themselves are in memory or in a file.
    """

    def __init__(self, features: int, energies: int, sizes: Sequence[int], dtype: torch.dtype, capacity: int) -> None:
        """Stores the shapes, and the number of rows shuffled together, a multiple of ``RUN``."""
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
        """Yields, for each part of the runs, an array of rows and the row numbers of these runs in it.

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
            size: number of points in a batch; the last batch may have fewer.
            generator: random generator of the order.
            skip: number of batches to skip at the beginning; the others are unchanged.
            share: rows of each batch to return.
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
        """Yields all points in a fixed order, a block at a time, with the index of their snapshot.

        Args:
            only: index of a single snapshot to return; by default all.
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
