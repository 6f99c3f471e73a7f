"""Limits on the sizes of grids and tiles of predictions."""

from __future__ import annotations

from numbers import Integral, Real

from fermisea.errors import InputError
from fermisea.grid import RealSpaceGrid
from fermisea.utilities.memory import machine_memory

_MOST = 1e11
"""Largest number of grid points; a pass over so many points takes more than a day on a processor."""


def check_sizes(
    grid: RealSpaceGrid, dos_grid: RealSpaceGrid | None, bytes_per_point: int, *, chunk: object, memory: object
) -> None:
    """Refuses sizes of a prediction that are invalid, or too large for the machine.

    Args:
        grid: grid of the density.
        dos_grid: grid of the DOS, None for the same one.
        bytes_per_point: size of the fields of the result at one point of ``grid``, bytes; 0 without fields.
        chunk: number of points of a tile.
        memory: largest size of a stored hidden layer, bytes.

    Raises:
        InputError: for such sizes.
    """
    check_memory(memory)
    check_chunk(chunk)
    check_size(grid, bytes_per_point)
    if dos_grid is not None:
        check_size(dos_grid)


def check_size(grid: RealSpaceGrid, bytes_per_point: int = 0) -> None:
    """Refuses a grid whose fields exceed the memory of the machine, or with too many points for any machine.

    Args:
        grid: grid of a prediction.
        bytes_per_point: size of the fields of the result at one point, bytes; 0 without fields.

    Raises:
        InputError: for such a grid.
    """
    memory, needed = machine_memory(), grid.size * bytes_per_point
    shape = " x ".join(str(n) for n in grid.shape)
    got = f"grid: got {shape} = {grid.size:.2e} points"
    advice = "choose fewer points, and check that the cell is in Å"
    if grid.size > _MOST:
        raise InputError(f"{got}, expected at most {_MOST:.0e}; {advice}")
    if needed > memory:
        raise InputError(
            f"{got}, whose fields need {needed / 2**30:.0f} GiB, but the machine has {memory / 2**30:.0f} GiB of "
            f"memory; {advice}"
        )


def check_chunk(chunk: object) -> None:
    """Raises InputError unless a number of points of a tile is whole and positive."""
    if not isinstance(chunk, Integral) or int(chunk) < 1:
        raise InputError(f"chunk: got {chunk!r}, expected a positive whole number of grid points, such as 16384")


def check_memory(memory: object) -> None:
    """Raises InputError unless a size in bytes is a number of at least zero."""
    if not isinstance(memory, Real) or not float(memory) >= 0:
        raise InputError(f"memory: got {memory!r}, expected a number of bytes, at least 0")
