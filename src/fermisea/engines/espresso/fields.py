"""Wavefunctions and densities that pw.x writes: Fortran's unformatted records, or HDF5 where it was built with that."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
import torch
from scipy.io import FortranEOFError, FortranFile, FortranFormattingError
from torch import Tensor

from fermisea import units
from fermisea.errors import FileFormatError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_DAMAGED = (OSError, KeyError, ValueError, TypeError, IndexError, FortranEOFError, FortranFormattingError)
_REMEDY = "the file is truncated or of another kind; run pw.x again or copy it anew"


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


def read_wavefunctions(path: Path) -> tuple[IntArray, Tensor]:
    """Returns Miller indices, (npw, 3), and coefficients, (bands, npw), complex128.

    Raises:
        FileFormatError: for a file that is damaged.
    """
    try:
        if path.suffix == ".hdf5":
            with h5py.File(path, "r") as file:
                miller = np.asarray(file["MillerIndices"], dtype=np.int64).reshape(-1, 3)
                pairs = np.asarray(file["evc"], dtype=np.float64)
            return miller, torch.view_as_complex(torch.from_numpy(pairs.reshape(len(pairs), -1, 2).copy()))
        with FortranFile(path, "r") as file:
            file.read_record(np.uint8)
            _, waves, spinor, bands = file.read_ints(np.int32)
            file.read_record(np.float64)
            miller = file.read_ints(np.int32).reshape(waves, 3).astype(np.int64)
            coefficients = np.empty((bands, waves * spinor), dtype=np.complex128)
            for band in range(bands):
                coefficients[band] = file.read_record(np.complex128)
        return miller, torch.from_numpy(coefficients)
    except _DAMAGED as error:
        raise FileFormatError(f"{path}: no wavefunctions can be read ({error}); {_REMEDY}") from error


def read_density(path: Path, shape: tuple[int, int, int]) -> Tensor:
    """Returns the valence density on the FFT grid, (nx, ny, nz), 1/Angstrom^3, both spins.

    Raises:
        FileFormatError: for a file that is damaged.
    """
    try:
        if path.suffix == ".hdf5":
            with h5py.File(path, "r") as file:
                miller = np.asarray(file["MillerIndices"], dtype=np.int64).reshape(-1, 3)
                pairs = np.asarray(file["rhotot_g"], dtype=np.float64).reshape(-1, 2)
                values = pairs[:, 0] + 1j * pairs[:, 1]
        else:
            with FortranFile(path, "r") as file:
                file.read_record(np.uint8)
                file.read_record(np.float64)
                miller = file.read_ints(np.int32).reshape(-1, 3).astype(np.int64)
                values = file.read_record(np.complex128)
        field = torch.zeros(shape, dtype=torch.complex128)
        field[tuple(torch.from_numpy(miller % np.array(shape)).T)] = torch.from_numpy(values)
    except _DAMAGED as error:
        raise FileFormatError(f"{path}: no density can be read ({error}); {_REMEDY}") from error
    return torch.fft.ifftn(field, norm="forward").real / units.BOHR**3
