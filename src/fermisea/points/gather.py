"""From snapshots to points: descriptors are computed once, and what does not fit into memory goes through a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from fermisea.descriptors import Descriptor
from fermisea.network import DTYPES
from fermisea.points.kept import KeptPoints
from fermisea.points.stored import SHARES, StoredPoints
from fermisea.snapshot import Snapshot

MEMORY = 4 * 2**30
"""Bytes of descriptors and LDOS that are kept in memory unless another limit is given."""


def gather(
    snapshots: Sequence[Snapshot],
    descriptor: Descriptor,
    *,
    dtype: str = "float32",
    memory: int = MEMORY,
    scratch: Path | None = None,
    seed: int | None = 0,
    done: Callable[[int], None] | None = None,
) -> KeptPoints | StoredPoints:
    """Returns the points of snapshots with their descriptors, in memory if they fit there.

    Args:
        snapshots: with the same energies.
        descriptor: of the points.
        dtype: ``"float32"`` or ``"float64"``.
        memory: bytes of descriptors and LDOS that may be held at once.
        scratch: folder for what does not fit.
        seed: of the order in which that is written; None keeps the order of the grids.
        done: is told the index of each snapshot that is finished.

    Raises:
        InputError: if the memory does not hold a few thousand points.
        StorageError: if the scratch folder cannot be written to or is too small.
    """
    kind = DTYPES[dtype]
    sizes = tuple(snapshot.grid.size for snapshot in snapshots)
    energies = snapshots[0].energy_grid.size
    row = (descriptor.features + energies) * kind.itemsize
    if sum(sizes) * row <= memory:
        rows = torch.empty((sum(sizes), descriptor.features + energies), dtype=kind)
        first = 0
        for index, snapshot in enumerate(snapshots):
            for start, stop, values, targets in _slabs(snapshot, descriptor, dtype, snapshot.grid.shape[0]):
                rows[first + start : first + stop, : descriptor.features] = values
                rows[first + start : first + stop, descriptor.features :] = targets
            first += snapshot.grid.size
            if done is not None:
                done(index)
        return KeptPoints(rows, descriptor.features, sizes)
    stored = StoredPoints(descriptor.features, energies, sizes, memory, kind, scratch)
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    for index, snapshot in enumerate(snapshots):
        plane = snapshot.grid.shape[1] * snapshot.grid.shape[2]
        for _, _, values, targets in _slabs(
            snapshot, descriptor, dtype, max(1, memory // (2 * SHARES) // row // plane)
        ):
            stored.append(values, targets, generator)
        if done is not None:
            done(index)
    return stored


def _slabs(
    snapshot: Snapshot, descriptor: Descriptor, dtype: str, planes: int
) -> Iterator[tuple[int, int, Tensor, Tensor]]:
    """Yields first and last point, descriptors and LDOS of slabs of some planes of a grid, as the file's chunks lie."""
    evaluator = descriptor.evaluator(snapshot.atoms, dtype)
    nx, ny, nz = snapshot.grid.shape
    for plane in range(0, nx, planes):
        end = min(plane + planes, nx)
        part = slice(plane * ny * nz, end * ny * nz)
        values = torch.as_tensor(evaluator.box(snapshot.grid, (plane, 0, 0), (end, ny, nz)))
        yield part.start, part.stop, values, torch.from_numpy(snapshot.read_ldos(part))
