"""Grid points of many snapshots as one shuffled stream of descriptors and LDOS, from memory or from disk.

What does not fit into the memory that is allowed is written once to a scratch file, as rows of descriptors and LDOS.
An epoch reads short runs of rows from all over the file in random order into a buffer, shuffles that, and reads the
next one behind the back of whoever uses the first.
"""

from __future__ import annotations

import math
import os
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import torch
from torch import Tensor

from fermisea.descriptors import Descriptor
from fermisea.errors import InputError, StorageError
from fermisea.files import check_writable_folder
from fermisea.network import DTYPES
from fermisea.snapshot import Snapshot

MEMORY = 4 * 2**30
"""Bytes of descriptors and LDOS that are kept in memory unless another limit is given."""

_RUN = 64
"""Rows that are read from a scratch file in one go; they stay together only until their buffer is shuffled."""

_BLOCK = 8192
"""Rows of a block."""

_SHARES = 4
"""Parts of the allowed memory: a buffer in use, the next one, and room for descriptors while they are computed."""


class Points(Protocol):
    """Points of several snapshots.

    Attributes:
        features: number of descriptors.
        energies: number of energies.
        sizes: number of points of each snapshot.
        density_weights: integration weights of the electrons at tau_ref, averaged over the snapshots, (nE,), eV.
    """

    @property
    def features(self) -> int: ...  # noqa: D102
    @property
    def energies(self) -> int: ...  # noqa: D102
    @property
    def sizes(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def density_weights(self) -> Tensor: ...  # noqa: D102

    def batches(self, size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields every point once, in random order, ``size`` at a time: (points, features) and (points, nE)."""

    def blocks(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yields all points in a fixed order, a block at a time, with the index of the snapshot they belong to."""


@dataclass(frozen=True, eq=False)
class KeptPoints:
    """Points in memory.

    Attributes:
        descriptors: (points, features).
        ldos: (points, nE), 1/(eV Angstrom^3).
        sizes: number of points of each snapshot, in the order of the rows.
        density_weights: integration weights of the electrons at tau_ref, averaged over the snapshots, (nE,), eV.
    """

    descriptors: Tensor
    ldos: Tensor
    sizes: tuple[int, ...]
    density_weights: Tensor

    @property
    def features(self) -> int:
        """Number of descriptors."""
        return self.descriptors.shape[1]

    @property
    def energies(self) -> int:
        """Number of energies."""
        return self.ldos.shape[1]

    def batches(self, size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields every point once, in random order, ``size`` at a time."""
        for batch in torch.randperm(len(self.ldos), generator=generator).split(size):
            yield self.descriptors[batch], self.ldos[batch]

    def blocks(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yields all points in order, a block at a time, with the index of their snapshot."""
        for index, start, stop in _blocks(self.sizes):
            yield index, self.descriptors[start:stop], self.ldos[start:stop]


class StoredPoints:
    """Points in a scratch file without a name, which goes away with this object or its process."""

    def __init__(
        self,
        features: int,
        energies: int,
        sizes: tuple[int, ...],
        memory: int,
        dtype: torch.dtype,
        scratch: Path | None,
    ) -> None:
        """Makes an empty file.

        Args:
            features: number of descriptors.
            energies: number of energies.
            sizes: number of points of each snapshot.
            memory: bytes that the buffers may take.
            dtype: of the rows.
            scratch: folder for the file; that of the system if left out.

        Raises:
            InputError: if the memory does not hold a few thousand points.
            StorageError: if the file cannot be made.
        """
        self.features, self.energies, self.sizes = features, energies, sizes
        self.density_weights = torch.zeros(energies, dtype=dtype)
        self._dtype, self._width = dtype, features + energies
        self._row = self._width * torch.empty((), dtype=dtype).element_size()
        self._capacity = memory // _SHARES // self._row // _RUN * _RUN
        if self._capacity < 16 * _RUN:
            least = math.ceil(16 * _RUN * self._row * _SHARES / 1e6)
            raise InputError(f"memory: got {memory / 1e6:.0f} MB, expected at least {least} MB for points of this size")
        if scratch is not None:
            check_writable_folder(scratch)
        self._spare: list[Tensor] = []
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=scratch, prefix="fermisea-")  # noqa: SIM115  # lives as long as this
        weakref.finalize(self, self._file.close)

    def append(self, descriptors: Tensor, ldos: Tensor, generator: torch.Generator) -> None:
        """Writes rows at the end of the file, shuffled among themselves.

        Raises:
            StorageError: if the disk is full.
        """
        try:
            with self._buffers(2) as (ordered, shuffled):
                for start in range(0, len(ldos), self._capacity):
                    part = slice(start, min(start + self._capacity, len(ldos)))
                    rows, written = ordered[: part.stop - start], shuffled[: part.stop - start]
                    rows[:, : self.features], rows[:, self.features :] = descriptors[part], ldos[part]
                    torch.index_select(rows, 0, torch.randperm(len(rows), generator=generator), out=written)
                    self._file.write(_bytes(written))
            self._file.flush()
        except OSError as error:
            needed = sum(self.sizes) * self._row / 1e9
            raise StorageError(
                f"scratch file: could not be written ({error.strerror}); {needed:.1f} GB are needed; give a folder "
                "with more room, or more memory"
            ) from error

    def batches(self, size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields every point once, in random order, ``size`` at a time."""
        total = sum(self.sizes)
        starts = torch.arange(0, total, _RUN)
        starts = starts[torch.randperm(len(starts), generator=generator)]
        rest = torch.empty((0, self._width), dtype=self._dtype)
        parts = starts.split(self._capacity // _RUN)
        with self._buffers(len(parts[:2])) as buffers, ThreadPoolExecutor(1) as reader:
            coming = reader.submit(self._read, parts[0], buffers[0])
            for number, following in enumerate([*parts[1:], None], start=1):
                rows = coming.result()
                if following is not None:
                    coming = reader.submit(self._read, following, buffers[number % 2])
                order = torch.randperm(len(rows), generator=generator)
                available = len(rest) + len(rows)
                whole = available if following is None else available // size * size
                used = 0
                for start in range(0, whole, size):
                    fresh = order[used : used + min(size, whole - start) - len(rest)]
                    batch = torch.cat([rest, rows.index_select(0, fresh)])
                    used, rest = used + len(fresh), rest[:0]
                    yield batch[:, : self.features], batch[:, self.features :]
                rest = torch.cat([rest, rows.index_select(0, order[used:])])

    def blocks(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yields all points in the order of the file, a block at a time, with the index of their snapshot."""
        for index, start, stop in _blocks(self.sizes):
            rows = torch.empty((stop - start, self._width), dtype=self._dtype)
            self._fill(rows, start)
            yield index, rows[:, : self.features], rows[:, self.features :]

    @contextmanager
    def _buffers(self, count: int) -> Iterator[list[Tensor]]:
        """Lends buffers of the capacity, used ones first: the allocator may keep what is given back to it."""
        lent, self._spare = self._spare[:count], self._spare[count:]
        lent += [torch.empty((self._capacity, self._width), dtype=self._dtype) for _ in range(count - len(lent))]
        try:
            yield lent
        finally:
            self._spare = (self._spare + lent)[:2]

    def _read(self, starts: Tensor, buffer: Tensor) -> Tensor:
        total, place = sum(self.sizes), 0
        for start in starts.tolist():
            count = min(_RUN, total - start)
            self._fill(buffer[place : place + count], start)
            place += count
        return buffer[:place]

    def _fill(self, rows: Tensor, start: int) -> None:
        view = _bytes(rows)
        if os.preadv(self._file.fileno(), [view], start * self._row) != len(view):
            raise StorageError("scratch file: shorter than it was written; the disk may have failed, start again")


def gather(
    snapshots: Sequence[Snapshot],
    descriptor: Descriptor,
    *,
    dtype: str = "float32",
    memory: int = MEMORY,
    scratch: Path | None = None,
    seed: int = 0,
    done: Callable[[int], None] | None = None,
) -> KeptPoints | StoredPoints:
    """Returns the points of snapshots with their descriptors, in memory if they fit there.

    Args:
        snapshots: with the same energies.
        descriptor: of the points.
        dtype: ``"float32"`` or ``"float64"``.
        memory: bytes of descriptors and LDOS that may be held at once.
        scratch: folder for what does not fit.
        seed: of the order in which that is written.
        done: is told the index of each snapshot that is finished.

    Raises:
        InputError: if the memory does not hold a few thousand points.
        StorageError: if the scratch folder cannot be written to or is too small.
    """
    kind = DTYPES[dtype]
    sizes = tuple(snapshot.grid.size for snapshot in snapshots)
    energies = snapshots[0].energy_grid.size
    row = (descriptor.features + energies) * torch.empty((), dtype=kind).element_size()
    weights = torch.stack([_density_weights(snapshot) for snapshot in snapshots]).mean(0).to(kind)
    if sum(sizes) * row <= memory:
        descriptors = torch.empty((sum(sizes), descriptor.features), dtype=kind)
        ldos = torch.empty((sum(sizes), energies), dtype=kind)
        first = 0
        for index, snapshot in enumerate(snapshots):
            for start, stop, values, targets in _slabs(snapshot, descriptor, dtype, snapshot.grid.shape[0]):
                descriptors[first + start : first + stop] = values
                ldos[first + start : first + stop] = targets
            first += snapshot.grid.size
            if done is not None:
                done(index)
        return KeptPoints(descriptors, ldos, sizes, weights)
    stored = StoredPoints(descriptor.features, energies, sizes, memory, kind, scratch)
    stored.density_weights = weights
    generator = torch.Generator().manual_seed(seed)
    for index, snapshot in enumerate(snapshots):
        plane = snapshot.grid.shape[1] * snapshot.grid.shape[2]
        for _, _, values, targets in _slabs(
            snapshot, descriptor, dtype, max(1, memory // (2 * _SHARES) // row // plane)
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


def _bytes(rows: Tensor) -> memoryview:
    values: Any = rows.numpy()
    return memoryview(values).cast("B")


def _density_weights(snapshot: Snapshot) -> Tensor:
    dos, temperature = snapshot.density_of_states, snapshot.electron_temperature
    level = dos.fermi_level(snapshot.electrons, temperature)
    return torch.as_tensor(dos.weights(level, temperature).electrons)


def _blocks(sizes: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yields the snapshot, first and last row of each block; no block holds points of two snapshots."""
    first = 0
    for index, size in enumerate(sizes):
        for start in range(first, first + size, _BLOCK):
            yield index, start, min(start + _BLOCK, first + size)
        first += size
