"""Points in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from fermisea.training.points.rows import RUN, Points

_CAPACITY = 2**15


class KeptPoints(Points):
    """Points in memory.

    Attributes:
        rows: (points, features + energies), descriptors and LDOS in 1/(eV Angstrom^3).
    """

    def __init__(self, rows: Tensor, features: int, sizes: Sequence[int]) -> None:
        """Stores the rows of all snapshots, one after the other."""
        capacity = min(_CAPACITY, -(-len(rows) // RUN) * RUN)
        super().__init__(features, rows.shape[1] - features, sizes, rows.dtype, capacity)
        self.rows = rows

    def windows(self, parts: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields all rows, with the row numbers of each part."""
        for starts in parts:
            numbers = (starts[:, None] + torch.arange(RUN)).flatten()
            yield self.rows, numbers[numbers < len(self.rows)]

    def read_block(self, start: int, stop: int) -> Tensor:
        """Returns rows ``start`` to ``stop``, without a copy."""
        return self.rows[start:stop]
