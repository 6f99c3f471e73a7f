"""Fields on a periodic grid: Fourier transforms, gradients and integrals, differentiable with respect to the cell."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import scipy.fft
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from fermisea.physics.fourier_sums import Run, Runs, runs_of
from fermisea.utilities.torchrun import ALONE, Processes

_BLOCK = 2**17
"""Number of coefficients in a block."""

Shape = tuple[int, int, int]


def reciprocal_cell(cell: Tensor) -> Tensor:
    """Returns the reciprocal lattice vectors as rows with the factor 2 pi, (3, 3), 1/Angstrom."""
    return 2 * math.pi * torch.linalg.inv(cell).T


def reciprocal_vectors(cell: Tensor, shape: Shape) -> Tensor:
    """Returns G for every Fourier coefficient of a grid, in the order of an FFT.

    Args:
        cell: lattice vectors as rows, (3, 3), Angstrom.
        shape: grid points along each vector.

    Returns:
        (nx, ny, nz, 3), 1/Angstrom.
    """
    axes = [torch.fft.fftfreq(n, 1.0 / n, dtype=torch.float64, device=cell.device) for n in shape]
    miller = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    return miller @ reciprocal_cell(cell)


def volume(cell: Tensor) -> Tensor:
    """Returns the positive cell volume, Angstrom^3."""
    return torch.linalg.det(cell).abs()


@dataclass(frozen=True, eq=False)
class FourierGrid:
    """A periodic grid, with the Fourier transforms of real fields on it.

    Several processes may share the grid. Each then has some planes of a field along the first axis, and the
    coefficients with some indices along the second axis. The axes of shared coefficients have the order second, first,
    third, and the indices along the second axis of the grid ascend from negative to positive ones.

    Attributes:
        cell: lattice vectors as rows, (3, 3), Angstrom.
        shape: number of points of the whole grid along each axis.
        processes: processes that share the grid.
    """

    cell: Tensor
    shape: Shape
    processes: Processes = ALONE

    @classmethod
    def of(cls, cell: Tensor, field: Tensor) -> Self:
        """Returns the grid of a field, (nx, ny, nz), that this process has as a whole."""
        return cls(cell, (field.shape[0], field.shape[1], field.shape[2]))

    def with_cell(self, cell: Tensor) -> FourierGrid:
        """Returns the grid in another cell."""
        return FourierGrid(cell, self.shape, self.processes)

    @property
    def size(self) -> int:
        """Number of points of the whole grid."""
        return math.prod(self.shape)

    @property
    def volume(self) -> Tensor:
        """Volume of the cell, 0-d, Angstrom^3."""
        return volume(self.cell)

    @property
    def voxel(self) -> Tensor:
        """Volume of one grid point, 0-d, Angstrom^3."""
        return self.volume / self.size

    @property
    def own_shape(self) -> Shape:
        """Shape of a field of this process: of the whole field unless the grid is shared."""
        return _length(self._planes(self.processes.rank)), self.shape[1], self.shape[2]

    @property
    def _shared(self) -> bool:
        return self.processes.count > 1

    def total(self, value: Tensor) -> Tensor:
        """Returns the sum of a value over the processes.

        A derivative of the result contains the part of this process alone. The caller sums the derivatives too.
        """
        if not self._shared:
            return value
        found = self.processes.sum(value.detach())
        return value + (found - value.detach()) if value.requires_grad else found

    def transform(self, field: Tensor) -> Tensor:
        """Returns the Fourier coefficients of a field, (nx, ny, nz // 2 + 1), without a factor."""
        if not self._shared:
            return torch.fft.rfftn(field)
        return _overwriting(scipy.fft.fft, self._columns(field), axis=1)

    def field(self, coefficients: Tensor) -> Tensor:
        """Returns the field of coefficients; may overwrite them if they are not differentiable.

        SciPy's transforms work in place, torch's make two copies.
        """
        if self._shared:
            return self._of_columns(_overwriting(scipy.fft.ifft, coefficients, axis=1))
        if coefficients.requires_grad or coefficients.device.type != "cpu":
            return torch.fft.irfftn(coefficients, s=self.shape)
        return self._last_axis(_overwriting(scipy.fft.ifftn, coefficients, axes=(0, 1)))

    def blocks(self) -> Iterator[slice]:
        """Yields blocks of the coefficients along their first axis, which limit the memory of derived arrays."""
        first, *others = self.coefficients_shape
        step = max(1, _BLOCK // math.prod(others))
        for start in range(0, first, step):
            yield slice(start, min(start + step, first))

    @property
    def coefficients_shape(self) -> Shape:
        """Shape of the coefficients of this process."""
        n, m, k = self.shape
        return (_length(self._rows(self.processes.rank)), n, k // 2 + 1) if self._shared else (n, m, k // 2 + 1)

    @property
    def runs(self) -> Runs:
        """Miller indices of the coefficients of this process along each axis of the grid."""
        if not self._shared:
            return runs_of(self.shape, half=True)
        rows = self._rows(self.processes.rank)
        first, _, third = runs_of(self.shape, half=True)
        return first, Run(_length(rows), rows.start - self.shape[1] // 2), third

    def ordered(self, values: Tensor) -> Tensor:
        """Returns values at the indices of ``runs``, (first, second, third axis), in the order of the coefficients."""
        return values.transpose(0, 1) if self._shared else values

    def indices(self, part: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the Miller indices of a block of coefficients along each axis of the grid, ready to be broadcast."""
        a, b, c = (run.indices.to(self.cell.device) for run in self.runs)
        if self._shared:
            return a[None, :, None], b[part, None, None], c[None, None, :]
        return a[part, None, None], b[None, :, None], c[None, None, :]

    def squares(self, part: slice) -> Tensor:
        """Returns |G|^2 of a block of coefficients, 1/Angstrom^2.

        For an index whose sign is ambiguous on an even grid, the terms that change sign are omitted.
        """
        axes = self.indices(part)
        metric = reciprocal_cell(self.cell) @ reciprocal_cell(self.cell).T
        a, b, c = (torch.where(2 * m.abs() == n, 0.0, m) for m, n in zip(axes, self.shape, strict=True))
        plane = metric[0, 0] * axes[0] ** 2 + metric[1, 1] * axes[1] ** 2 + 2 * metric[0, 1] * a * b
        return plane + 2 * (metric[0, 2] * a + metric[1, 2] * b) * c + metric[2, 2] * axes[2] ** 2

    def vectors(self, part: slice) -> tuple[Tensor, Tensor]:
        """Returns G of a block of coefficients, (..., 3), 1/Angstrom, and where no index is ambiguous in its sign.

        The sign is ambiguous where G and -G are the same point of an even grid.
        """
        axes = torch.broadcast_tensors(*self.indices(part))
        kept = torch.stack([2 * m.abs() != n for m, n in zip(axes, self.shape, strict=True)]).all(dim=0)
        return torch.stack(axes, dim=-1) @ reciprocal_cell(self.cell), kept

    def both_halves(self, columns: Tensor) -> Tensor:
        """Returns the sum over the coefficients of this process of a value that is the same at G and -G, 0-d.

        Args:
            columns: sums over coefficients with the same third index, (nz // 2 + 1,).
        """
        last = columns[-1] if self.shape[2] > 1 and self.shape[2] % 2 == 0 else 0
        return 2 * columns.sum() - columns[0] - last

    def gradient_coefficients(self, field: Tensor) -> Tensor:
        """Returns the coefficients of a field that enter its gradient; the others are zero."""
        coefficients = self.transform(field)
        order = (1, 0, 2) if self._shared else (0, 1, 2)
        for axis, n, m in zip(order, self.shape, self.indices(slice(None)), strict=True):
            coefficients.index_fill_(axis, torch.nonzero(2 * m.flatten().abs() == n).flatten(), 0)
        return coefficients

    def differentiated(self, coefficients: Tensor, axis: int) -> Tensor:
        """Returns coefficients times i and a Cartesian component of G."""
        return self.add_differentiated(torch.zeros_like(coefficients), coefficients, axis)

    def add_differentiated(self, total: Tensor, coefficients: Tensor, axis: int) -> Tensor:
        """Adds coefficients times i and a Cartesian component of G to ``total``, in place, and returns it."""
        vectors = reciprocal_cell(self.cell)
        for part in self.blocks():
            a, b, c = self.indices(part)
            component = vectors[0, axis] * a + vectors[1, axis] * b + vectors[2, axis] * c
            values = coefficients[part]
            total[part] += torch.complex(-component * values.imag, component * values.real)
        return total

    def derivative(self, coefficients: Tensor, axis: int) -> Tensor:
        """Returns one Cartesian component of a gradient, per Angstrom, from ``gradient_coefficients``."""
        return self.field(self.differentiated(coefficients, axis))

    def gradient(self, field: Tensor) -> Tensor:
        """Returns the gradient of a field, (nx, ny, nz, 3), per Angstrom."""
        coefficients = self.gradient_coefficients(field)
        return torch.stack([self.derivative(coefficients, axis) for axis in range(3)], dim=-1)

    def _columns(self, field: Tensor) -> Tensor:
        """Returns coefficients along the second and third axis of the planes of a field, in the order of ``transform``.

        Processes exchange a few planes at a time. A second copy of the field would take as much memory as the result.
        """
        found = field.new_empty(self.coefficients_shape, dtype=field.dtype.to_complex())
        for chunk in range(self._chunks):
            planes = torch.fft.rfftn(field[self._own_planes(chunk)], dim=(1, 2))
            for rank, piece in self._to_columns(planes, chunk):
                found[:, self._chunk(rank, chunk)] = piece.transpose(0, 1)
        return found

    def _of_columns(self, columns: Tensor) -> Tensor:
        """Returns the field of ``_columns``."""
        found = columns.new_empty(self.own_shape, dtype=columns.dtype.to_real())
        for chunk in range(self._chunks):
            target = found[self._own_planes(chunk)]
            planes = columns.new_empty((*target.shape[:2], columns.shape[2]))
            for rank, piece in self._from_columns(columns, chunk):
                planes[:, self._places(rank)] = piece.transpose(0, 1)
            target[:] = self._last_axis(_overwriting(scipy.fft.ifft, planes, axis=1))
        return found

    def _to_columns(self, planes: Tensor, chunk: int) -> Iterator[tuple[int, Tensor]]:
        """Yields part of the planes of each process, with the second indices of this one."""
        rows = _length(self._rows(self.processes.rank))
        return self.processes.swapped(
            lambda rank: planes[:, self._places(rank)],
            lambda rank: (_length(self._chunk(rank, chunk)), rows, planes.shape[2]),
        )

    def _from_columns(self, columns: Tensor, chunk: int) -> Iterator[tuple[int, Tensor]]:
        """Yields the columns of each process, on part of the planes of this one."""
        length = _length(self._chunk(self.processes.rank, chunk))
        return self.processes.swapped(
            lambda rank: columns[:, self._chunk(rank, chunk)],
            lambda rank: (_length(self._rows(rank)), length, columns.shape[2]),
        )

    @property
    def _chunks(self) -> int:
        """Number of parts of the planes of every process that are exchanged one after the other."""
        first, second, third = self.shape
        fewest = first // self.processes.count
        return max(1, min(fewest, fewest * second * (third // 2 + 1) // _BLOCK))

    def _chunk(self, rank: int, chunk: int) -> slice:
        """Returns a part of the planes of a process, counted in the whole grid."""
        planes = self._planes(rank)
        start, stop = (planes.start + _length(planes) * n // self._chunks for n in (chunk, chunk + 1))
        return slice(start, stop)

    def _own_planes(self, chunk: int) -> slice:
        """Returns a part of the planes of this process, counted from its first plane."""
        first, part = self._planes(self.processes.rank).start, self._chunk(self.processes.rank, chunk)
        return slice(part.start - first, part.stop - first)

    def _last_axis(self, coefficients: Tensor) -> Tensor:
        """Returns the inverse of a real transform along the last axis; SciPy's irfftn would copy the coefficients."""
        return _overwriting(scipy.fft.irfft, coefficients, n=self.shape[2], axis=2)

    def _planes(self, rank: int) -> slice:
        """Returns the planes of a field along the first axis that a process has."""
        return self.processes.part(self.shape[0], rank)

    def _rows(self, rank: int) -> slice:
        """Returns the places of the indices along the second axis that a process has, counted from the lowest one."""
        return self.processes.part(self.shape[1], rank)

    def _places(self, rank: int) -> Tensor:
        """Returns the places of these indices in the order of an FFT."""
        rows = self._rows(rank)
        return (torch.arange(rows.start, rows.stop) - self.shape[1] // 2) % self.shape[1]


def recomputed(block: Callable[..., Tensor], *arguments: Any) -> Tensor:
    """Returns ``block(*arguments)`` without storing intermediate results for the backward pass."""
    if not any(isinstance(argument, Tensor) and argument.requires_grad for argument in arguments):
        return block(*arguments)
    result: Tensor = checkpoint(block, *arguments, use_reentrant=False, preserve_rng_state=False)
    return result


def _overwriting(transform: Callable[..., Any], values: Tensor, **options: Any) -> Tensor:
    """Returns a transform of SciPy, which may overwrite its input."""
    threads = torch.get_num_threads()
    return torch.from_numpy(transform(values.numpy(), overwrite_x=True, workers=threads, **options))


def _length(part: slice) -> int:
    return int(part.stop - part.start)
