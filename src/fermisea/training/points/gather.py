"""Training points from snapshots: descriptors are computed once, and data larger than the memory go through a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fermisea.data.snapshot import Snapshot
from fermisea.descriptors import Descriptor
from fermisea.networks.mlp import DTYPES
from fermisea.training.points.kept import KeptPoints
from fermisea.training.points.stored import SHARES, StoredPoints
from fermisea.utilities.torchrun import Processes

MEMORY = 4 * 2**30
"""Default memory limit of descriptors and LDOS, bytes."""

_SLAB = 2**18
"""Largest number of points whose descriptors are computed at once."""


def gather(
    snapshots: Sequence[Snapshot],
    descriptor: Descriptor,
    *,
    dtype: str = "float32",
    memory: int = MEMORY,
    scratch: Path | None = None,
    seed: int | None = 0,
    done: Callable[[int], None] | None = None,
    processes: Processes | None = None,
) -> KeptPoints | StoredPoints:
    """Returns the points of snapshots with their descriptors, in memory if they fit.

    Args:
        snapshots: snapshots with the same energies.
        descriptor: descriptor of the points.
        dtype: type of the rows, ``"float32"`` or ``"float64"``.
        memory: memory limit of descriptors and LDOS, bytes per process.
        scratch: folder of the scratch file for larger data.
        seed: random seed of the order in the scratch file; None keeps the order of the grids.
        done: callback with the index of each finished snapshot.
        processes: processes that share the computation; each gets all points.

    Raises:
        InputError: if the memory is too small for a few thousand points.
        StorageError: if the scratch folder cannot be written to or is too small.
    """
    processes = processes or Processes()
    kind = DTYPES[dtype]
    sizes = tuple(snapshot.grid.size for snapshot in snapshots)
    energies, width = snapshots[0].energy_grid.size, descriptor.features + snapshots[0].energy_grid.size
    points: KeptPoints | StoredPoints
    if sum(sizes) * width * kind.itemsize <= memory:
        points = KeptPoints(torch.empty((sum(sizes), width), dtype=kind), descriptor.features, sizes)
        most = _SLAB
    else:
        points = StoredPoints(descriptor.features, energies, sizes, memory, kind, scratch)
        most = min(_SLAB, memory // (2 * SHARES) // (width * kind.itemsize))
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    slabs = [slab for index, snapshot in enumerate(snapshots) for slab in _slabs(index, snapshot, most)]
    place = 0
    for first in range(0, len(slabs), processes.count):
        together = slabs[first : first + processes.count]
        own = together[processes.rank].rows(descriptor, dtype) if processes.rank < len(together) else None
        for number, slab in enumerate(together):
            rows = own if own is not None and number == processes.rank else torch.empty((slab.size, width), dtype=kind)
            processes.send(rows, number)
            if isinstance(points, StoredPoints):
                points.append(rows, generator)
            else:
                points.rows[place : place + slab.size] = rows
            place += slab.size
            if slab.last and done is not None:
                done(slab.index)
    return points


@dataclass(frozen=True)
class _Slab:
    """Some grid planes of a snapshot, aligned with the chunks of its file."""

    index: int
    snapshot: Snapshot
    start: int
    stop: int

    @property
    def size(self) -> int:
        """Number of points."""
        _, ny, nz = self.snapshot.grid.shape
        return (self.stop - self.start) * ny * nz

    @property
    def last(self) -> bool:
        """Whether this is the last part of the snapshot."""
        return self.stop == self.snapshot.grid.shape[0]

    def rows(self, descriptor: Descriptor, dtype: str) -> Tensor:
        """Returns descriptors and LDOS, (points, features + energies)."""
        grid = self.snapshot.grid
        _, ny, nz = grid.shape
        rows = torch.empty((self.size, descriptor.features + self.snapshot.energy_grid.size), dtype=DTYPES[dtype])
        evaluator = descriptor.evaluator(self.snapshot.atoms, dtype)
        rows[:, : descriptor.features] = torch.as_tensor(evaluator.box(grid, (self.start, 0, 0), (self.stop, ny, nz)))
        part = slice(self.start * ny * nz, self.stop * ny * nz)
        rows[:, descriptor.features :] = torch.from_numpy(self.snapshot.read_ldos(part))
        return rows


def _slabs(index: int, snapshot: Snapshot, most: int) -> list[_Slab]:
    nx, ny, nz = snapshot.grid.shape
    planes = max(1, most // (ny * nz))
    return [_Slab(index, snapshot, start, min(start + planes, nx)) for start in range(0, nx, planes)]
