"""Memory of an LDOS that is summed over blocks of bands: size of the blocks, precision, number of threads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fermisea.errors import InputError
from fermisea.grid import EnergyGrid
from fermisea.utilities.arrays import FloatArray, IntArray

DEFAULT_MEMORY = 2 * 2**30
"""Default memory for an LDOS, bytes."""

LARGEST_BLOCK = 128
"""Number of bands of a block, if the memory suffices."""

REACH = 10.0
"""Distance of an energy from a band at which the Gaussian of the band ends, in standard deviations; it is 2e-22."""

_FIELD = 40
"""Memory of a wavefunction, its density and their Fourier transforms at each point of the transform, bytes."""

_WAVE = 200
"""Memory of the indices and of the coefficients of one band at each plane wave, bytes."""

_SMALL = 8
"""Number of bands of a block below which the memory is not left to more threads."""

_DOUBLE = 0.6
"""Fraction of the memory that an LDOS in double precision and its result may need."""


@dataclass(frozen=True)
class LdosSize:
    """Numbers that decide the memory of an LDOS.

    Attributes:
        points: number of grid points of the LDOS.
        energies: number of energies.
        transform: number of grid points on which wavefunctions are computed.
        waves: largest number of plane waves of a k-point.
    """

    points: int
    energies: int
    transform: int
    waves: int

    def array(self, *, double: bool) -> float:
        """Returns the memory of the sum and of the result, bytes; in single precision they are one array."""
        return 4.0 * self.points * self.energies * (3 if double else 1)

    def result(self, width: int) -> float:
        """Returns the memory of the LDOS of a block whose bands contribute to ``width`` energies, bytes."""
        return 4.0 * self.points * width

    def thread(self, block: int, width: int) -> float:
        """Returns the memory of a thread for a block of bands, bytes."""
        fields = _FIELD * self.transform + _WAVE * self.waves
        return fields + block * (8.0 * self.waves + 4.0 * self.points) + self.result(width)


@dataclass(frozen=True)
class Blocks:
    """Blocks of bands, independent of the number of threads, so that sums are.

    Attributes:
        size: number of bands of a block.
        double: whether the sum has double precision.
        thread: memory of a thread, bytes.
        result: memory of the result of a block, bytes.
        free: memory for threads and results, bytes.
    """

    size: int = LARGEST_BLOCK
    double: bool = True
    thread: float = 0.0
    result: float = 0.0
    free: float = math.inf

    def needed(self, threads: int) -> float:
        """Returns the memory of several threads and of the results that wait for their sum, bytes."""
        return threads * self.thread + (threads + 1) * self.result

    def threads(self, most: int) -> int:
        """Returns the number of threads that the memory permits, at least 1 and at most ``most``."""
        return next((number for number in range(most, 1, -1) if self.needed(number) <= self.free), 1)


def blocks_within(
    memory: float, size: LdosSize, eigenvalues: Sequence[FloatArray], energies: EnergyGrid, broadening: float
) -> Blocks:
    """Returns the blocks for a memory.

    Args:
        memory: memory for the LDOS and its blocks, bytes.
        size: size of the LDOS.
        eigenvalues: eigenvalues of each k-point, (bands,), eV, ascending.
        energies: energies of the LDOS.
        broadening: standard deviation of the Gaussian, eV.

    Raises:
        InputError: if the memory is too small, with the memory that suffices.
    """
    widths = _widths(eigenvalues, energies, broadening)
    for double in (True, False):
        array = size.array(double=double)
        if double and array > _DOUBLE * memory:
            continue
        free = memory - array
        found = [Blocks(block, double, size.thread(block, width), size.result(width), free) for block, width in widths]
        fitting = [blocks for blocks in found if blocks.needed(1) <= free]
        shared = [blocks for blocks in fitting if blocks.size >= _SMALL and blocks.needed(1) <= free / 2]
        small = [blocks for blocks in fitting if blocks.size <= _SMALL]
        if shared or small:
            return (shared + small)[0]
    raise too_large(size, least_memory(size, eigenvalues, energies, broadening), memory)


def least_memory(size: LdosSize, eigenvalues: Sequence[FloatArray], energies: EnergyGrid, broadening: float) -> float:
    """Returns the least memory for an LDOS, bytes; the arguments are the same as for :func:`blocks_within`."""
    _, width = _widths(eigenvalues, energies, broadening)[-1]
    return size.array(double=False) + size.thread(1, width) + 2 * size.result(width)


def _widths(eigenvalues: Sequence[FloatArray], energies: EnergyGrid, broadening: float) -> list[tuple[int, int]]:
    """Returns numbers of bands of a block, descending, with the largest number of energies that one reaches."""
    found = []
    block = LARGEST_BLOCK
    while block >= 1:
        width = 0
        for values in eigenvalues:
            last = np.minimum(np.arange(0, len(values), block) + block, len(values)) - 1
            low, high = reached(energies, values[::block], values[last], broadening)
            width = max(width, int((high - low).max(initial=0)))
        found.append((block, width))
        block //= 2
    return found


def check_array(points: int, energies: int, memory: float) -> None:
    """Raises InputError if the LDOS alone exceeds a memory (bytes)."""
    size = LdosSize(points, energies, 0, 0)
    if (least := size.array(double=False)) > memory:
        raise too_large(size, least, memory)


def too_large(size: LdosSize, least: float, memory: float) -> InputError:
    """Returns the error for an LDOS that needs at least ``least`` bytes."""
    return InputError(
        f"memory: got {memory / 2**30:.3g} GiB, but an LDOS with {size.points} grid points and {size.energies} "
        f"energies needs at least {least / 2**30:.3g} GiB; choose a coarser grid of the LDOS, a narrower energy "
        "window, a wider energy spacing, or more memory"
    )


def reached(
    energies: EnergyGrid, lowest: FloatArray, highest: FloatArray, broadening: float
) -> tuple[IntArray, IntArray]:
    """Returns first index and end of the energies to which bands contribute.

    Args:
        energies: energies of the LDOS.
        lowest: lowest eigenvalue of each block, eV.
        highest: highest eigenvalue of each block, eV.
        broadening: standard deviation of the Gaussian, eV.
    """
    axis = energies.energies
    return (
        np.searchsorted(axis, lowest - REACH * broadening),
        np.searchsorted(axis, highest + REACH * broadening, side="right"),
    )
