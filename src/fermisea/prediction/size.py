"""Sizes of predictions: the memory of a grid, and limits of grids and tiles."""

from __future__ import annotations

import os
from numbers import Integral, Real

from fermisea.errors import InputError
from fermisea.grid import RealSpaceGrid
from fermisea.utilities.memory import machine_memory
from fermisea.utilities.torchrun import ALONE, Processes

_MOST = 1e11
"""Largest number of grid points; a pass over so many points takes more than a day on a processor."""

_WORKING = 8
"""Number of fields that F needs at once, beside a density for each tau_e."""

_FORCES = 210
"""Bytes at a point for forces, beside densities; their fields are in double precision."""


def bytes_per_point(temperatures: int, itemsize: int, *, forces: bool = False, spread: bool = False) -> int:
    """Returns the memory of a prediction with densities, in bytes for each grid point, measured for large grids.

    Args:
        temperatures: number of densities, at each tau_e and at tau_ref.
        itemsize: bytes of a number of the network.
        forces: whether forces and stress are computed.
        spread: whether the spread over an ensemble is computed, in double precision.
    """
    found = itemsize * (temperatures + _WORKING)
    if spread:
        found = max(found, 8 * (5 * temperatures + _WORKING))
    return max(found, _FORCES + 4 * itemsize * temperatures) if forces else found


def check_size(grid: RealSpaceGrid, bytes_of_point: int = 0, processes: Processes = ALONE) -> None:
    """Refuses a grid whose fields exceed the memory of the machine, or with too many points for any machine.

    Args:
        grid: grid of a prediction.
        bytes_of_point: memory of the fields at one point, bytes; 0 without fields.
        processes: processes that share the grid.

    Raises:
        InputError: for such a grid.
    """
    shape = " x ".join(str(n) for n in grid.shape)
    got = f"grid: got {shape} = {grid.size:.2e} points"
    if grid.size > _MOST:
        raise InputError(f"{got}, expected at most {_MOST:.0e}; choose fewer points, and check that the cell is in Å")
    here = min(processes.count, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    memory, needed = machine_memory(), grid.size * bytes_of_point * here / processes.count
    if needed > memory:
        raise InputError(
            f"{got}, whose fields need {needed / 2**30:.0f} GiB, but the machine has {memory / 2**30:.0f} GiB of "
            "memory; choose fewer tau_e at once, no forces, no spread over an ensemble, or fewer points, divide the "
            "grid among several machines with torchrun, and check that the cell is in Å"
        )


def check_chunk(chunk: object) -> None:
    """Raises InputError unless a number of points of a tile is whole and positive."""
    if not isinstance(chunk, Integral) or int(chunk) < 1:
        raise InputError(f"chunk: got {chunk!r}, expected a positive whole number of grid points, such as 16384")


def check_memory(memory: object) -> None:
    """Raises InputError unless a size in bytes is a number of at least zero."""
    if not isinstance(memory, Real) or not float(memory) >= 0:
        raise InputError(f"memory: got {memory!r}, expected a number of bytes, at least 0")
