"""Wavefunctions and densities of pw.x, from unformatted Fortran records or HDF5 files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy.io import FortranEOFError, FortranFile, FortranFormattingError
from torch import Tensor

from fermisea import units
from fermisea.errors import FileFormatError
from fermisea.utilities.arrays import IntArray
from fermisea.utilities.files import unreadable
from fermisea.utilities.hdf5 import open_hdf5

_DAMAGED = (OSError, KeyError, ValueError, TypeError, IndexError, FortranEOFError, FortranFormattingError)
_REMEDY = "the file is truncated or of another kind; run pw.x or copy the file again"

_HEAD = np.dtype([("k", "<i4"), ("xk", "<f8", 3), ("spin", "<i4"), ("gamma_only", "<i4"), ("scale_factor", "<f8")])
"""Layout of the first record of a wavefunction file."""

_MARKER = 4
"""Size of the length before and after each Fortran record, bytes."""

ComplexArray = npt.NDArray[np.complex128]


def wavefunction_file(folder: Path, index: int) -> Path | None:
    """Returns the file of the k-point ``index``, counted from 0, in a ``prefix.save``; None if there is none."""
    for suffix in ("dat", "hdf5"):
        path = folder / f"wfc{index + 1}.{suffix}"
        if path.is_file():
            return path
    return None


def density_file(folder: Path) -> Path | None:
    """Returns the file of the density in a ``prefix.save``; None if there is none."""
    found = (folder / f"charge-density.{suffix}" for suffix in ("dat", "hdf5"))
    return next((path for path in found if path.is_file()), None)


def read_wavefunctions(path: Path, count: int, first: int = 0) -> tuple[IntArray, Tensor, int]:
    """Returns Miller indices, (npw, 3), coefficients of some bands, (count, npw), and the number of all bands.

    Only these bands are read, one after the other. If a file has only half of the plane waves (gamma trick), the others
    are added.

    Args:
        path: wavefunction file of a k-point.
        count: number of bands; fewer where the file ends.
        first: index of the first band, counted from 0.

    Raises:
        FileFormatError: for a file that is damaged or contains spinors.
    """
    try:
        with _opened(path) as (miller, bands, half, scale, rows):
            kept = (miller != 0).any(axis=1) if half else np.zeros(len(miller), dtype=bool)
            number = min(count, bands - first)
            found = np.empty((max(number, 0), len(miller) + kept.sum()), dtype=np.complex64)
            for row, values in zip(found, rows(first, first + number), strict=True):
                if len(values) != len(miller):
                    raise ValueError(f"{len(values)} coefficients for {len(miller)} plane waves, as with spin")
                row[: len(miller)] = values if scale == 1.0 else values * scale
                row[len(miller) :] = row[: len(miller)][kept].conj()
        return np.concatenate([miller, -miller[kept]]), torch.from_numpy(found), bands
    except _DAMAGED as error:
        damaged = FileFormatError(f"{path}: the wavefunctions cannot be read ({error}); {_REMEDY}")
        raise unreadable(path, error) or damaged from error


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IntArray, int, bool, float, Callable[[int, int], Iterator[ComplexArray]]]]:
    """Yields Miller indices, number of bands, gamma trick or not, scale, and a reader of a range of bands."""
    if path.suffix == ".hdf5":
        with open_hdf5(path) as file:
            data = file["evc"]

            def rows(first: int, stop: int) -> Iterator[ComplexArray]:
                return (np.asarray(data[band], dtype=np.float64).view(np.complex128) for band in range(first, stop))

            miller = np.asarray(file["MillerIndices"], dtype=np.int64).reshape(-1, 3)
            scale = float(file.attrs.get("scale_factor", 1.0))
            yield miller, len(data), _is_true(file.attrs["gamma_only"]), scale, rows
        return
    with path.open("rb") as stream:
        file = FortranFile(stream, "r")
        head = file.read_record(_HEAD)[0]
        _, waves, _, bands = (int(number) for number in file.read_ints(np.int32))
        file.read_record(np.float64)
        miller = file.read_ints(np.int32).reshape(waves, 3).astype(np.int64)
        begin = stream.tell()

        def records(first: int, stop: int) -> Iterator[ComplexArray]:
            stream.seek(begin + first * (16 * waves + 2 * _MARKER))
            return (np.asarray(file.read_record(np.complex128), dtype=np.complex128) for _ in range(first, stop))

        yield miller, bands, bool(head["gamma_only"]), float(head["scale_factor"]), records


def read_density(path: Path, shape: tuple[int, int, int]) -> Tensor:
    """Returns the valence density on the FFT grid, (nx, ny, nz), 1/Angstrom^3, both spins.

    Raises:
        FileFormatError: for a damaged file.
    """
    try:
        if path.suffix == ".hdf5":
            with open_hdf5(path) as file:
                miller = np.asarray(file["MillerIndices"], dtype=np.int64).reshape(-1, 3)
                pairs = np.asarray(file["rhotot_g"], dtype=np.float64).reshape(-1, 2)
                values = pairs[:, 0] + 1j * pairs[:, 1]
                half = _is_true(file.attrs["gamma_only"])
        else:
            with FortranFile(path, "r") as file:
                half = bool(file.read_ints(np.int32)[0])
                file.read_record(np.float64)
                miller = file.read_ints(np.int32).reshape(-1, 3).astype(np.int64)
                values = file.read_record(np.complex128)
        if half:
            miller, values = _whole(miller, values)
        field = torch.zeros(shape, dtype=torch.complex128)
        field[tuple(torch.from_numpy(miller % np.array(shape)).T)] = torch.from_numpy(values)
    except _DAMAGED as error:
        damaged = FileFormatError(f"{path}: the density cannot be read ({error}); {_REMEDY}")
        raise unreadable(path, error) or damaged from error
    return torch.fft.ifftn(field, norm="forward").real / units.BOHR**3


def _whole(miller: IntArray, values: npt.NDArray[np.complex128]) -> tuple[IntArray, npt.NDArray[np.complex128]]:
    """Returns Miller indices and coefficients, (..., G), of a real field for G and -G, from one half of them."""
    rest = (miller != 0).any(axis=1)
    return np.concatenate([miller, -miller[rest]]), np.concatenate([values, values[..., rest].conj()], axis=-1)


def _is_true(value: object) -> bool:
    """Returns the value of a logical attribute written by Fortran."""
    text = value.decode() if isinstance(value, bytes) else str(value)
    return text.strip().lower().strip(".") in {"t", "true", "1"}
