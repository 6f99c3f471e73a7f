"""Points in a scratch file, for data that do not fit into memory."""

from __future__ import annotations

import math
import os
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from fermisea.errors import InputError, StorageError
from fermisea.training.points.rows import RUN, Points
from fermisea.utilities.files import check_writable_folder

SHARES = 4
"""Division of the memory limit: a buffer in use, the next buffer, and space for the computation of descriptors."""


class StoredPoints(Points):
    """Points in an unnamed scratch file, which disappears with this object or its process."""

    def __init__(
        self,
        features: int,
        energies: int,
        sizes: Sequence[int],
        memory: int,
        dtype: torch.dtype,
        scratch: Path | None,
    ) -> None:
        """Creates an empty file.

        Args:
            features: number of descriptors.
            energies: number of energies.
            sizes: number of points of each snapshot.
            memory: memory limit of the buffers, bytes.
            dtype: type of the rows.
            scratch: folder of the file; by default the system's folder for temporary files.

        Raises:
            InputError: if the memory is too small for a few thousand points.
            StorageError: if the file cannot be created.
        """
        self._row = (features + energies) * dtype.itemsize
        capacity = memory // SHARES // self._row // RUN * RUN
        if capacity < 16 * RUN:
            least = math.ceil(16 * RUN * self._row * SHARES / 1e6)
            raise InputError(f"memory: got {memory / 1e6:.0f} MB, expected at least {least} MB for points of this size")
        super().__init__(features, energies, sizes, dtype, capacity)
        self._spare: list[Tensor] = []
        if scratch is not None:
            check_writable_folder(scratch)
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=scratch, prefix="fermisea-")  # noqa: SIM115  # lives as long as this
        weakref.finalize(self, self._file.close)

    def append(self, rows: Tensor, generator: torch.Generator | None) -> None:
        """Appends rows to the file, shuffled if there is a generator.

        Raises:
            StorageError: if the disk is full.
        """
        try:
            with self._buffers(1) as (buffer,):
                for part in rows.split(self._capacity):
                    written = part
                    if generator is not None:
                        written = buffer[: len(part)]
                        torch.index_select(part, 0, torch.randperm(len(part), generator=generator), out=written)
                    self._file.write(_bytes(written))
            self._file.flush()
        except OSError as error:
            needed = len(self) * self._row / 1e9
            raise StorageError(
                f"scratch file: could not be written ({error.strerror}); {needed:.1f} GB are needed; choose a "
                "folder with more space, or a larger memory limit"
            ) from error

    def windows(self, parts: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields the rows of each part, while another thread reads the next part."""
        with self._buffers(len(parts[:2])) as buffers, ThreadPoolExecutor(1) as reader:
            coming = reader.submit(self._read_runs, parts[0], buffers[0])
            for index, following in enumerate([*parts[1:], None], start=1):
                rows = coming.result()
                if following is not None:
                    coming = reader.submit(self._read_runs, following, buffers[index % 2])
                yield rows, torch.arange(len(rows))

    def _read_runs(self, starts: Tensor, buffer: Tensor) -> Tensor:
        """Reads the runs that start at ``starts`` into ``buffer`` and returns the filled part of the buffer."""
        place = 0
        for start in starts.tolist():
            count = min(RUN, len(self) - start)
            self._fill(buffer[place : place + count], start)
            place += count
        return buffer[:place]

    def read_block(self, start: int, stop: int) -> Tensor:
        """Returns rows ``start`` to ``stop``."""
        rows = torch.empty((stop - start, self.width), dtype=self.dtype)
        self._fill(rows, start)
        return rows

    def _fill(self, rows: Tensor, start: int) -> None:
        view = _bytes(rows)
        if os.preadv(self._file.fileno(), [view], start * self._row) != len(view):
            raise StorageError("scratch file: shorter than when it was written; the disk may have failed, start again")

    @contextmanager
    def _buffers(self, count: int) -> Iterator[list[Tensor]]:
        """Provides buffers of the capacity, used ones first, because the allocator may not release freed memory."""
        lent, self._spare = self._spare[:count], self._spare[count:]
        lent += [torch.empty((self._capacity, self.width), dtype=self.dtype) for _ in range(count - len(lent))]
        try:
            yield lent
        finally:
            self._spare = (self._spare + lent)[:2]


def _bytes(rows: Tensor) -> memoryview:
    values: Any = rows.numpy()
    return memoryview(values).cast("B")
