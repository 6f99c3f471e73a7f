"""Points in memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fermisea.points.rows import RUN, Points

_CAPACITY = 2**15


class KeptPoints(Points):
    """Points in memory.

    Attributes:
        rows: (points, features + energies), descriptors and LDOS in 1/(eV Angstrom^3).
    """

    def __init__(self, rows: Tensor, features: int, sizes: Sequence[int]) -> None:
        """Takes the rows of all snapshots, one after the other."""
        capacity = min(_CAPACITY, -(-len(rows) // RUN) * RUN)
        super().__init__(features, rows.shape[1] - features, sizes, rows.dtype, capacity)
        self.rows = rows

    def read_runs(self, starts: Tensor, buffer: Tensor) -> Tensor:
        """Copies the runs that begin at ``starts`` into ``buffer`` and returns the part of it that is full."""
        index = (starts[:, None] + torch.arange(RUN)).flatten()
        index = index[index < len(self.rows)]
        full = buffer[: len(index)]
        torch.index_select(self.rows, 0, index, out=full)
        return full

    def read_block(self, start: int, stop: int) -> Tensor:
        """Returns rows ``start`` to ``stop``, without a copy."""
        return self.rows[start:stop]
