"""HDF5 and numpy files of other programs: locked, unreadable, or with more data declared than stored."""

from __future__ import annotations

import errno
import fcntl

import h5py
import numpy as np
import pytest

from fermisea.engines.espresso.fields import read_density, read_wavefunctions
from fermisea.errors import FileFormatError, StorageError
from fermisea.interop.mala import fields
from fermisea.utilities.hdf5 import open_hdf5


@pytest.fixture
def path(tmp_path):
    """A file with the plane waves of a density and of two bands."""
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["MillerIndices"] = np.array([[0, 0, 0], [1, 0, 0]])
        file["rhotot_g"] = np.array([1.0, 0.0, 0.5, 0.0])
        file["evc"] = np.ones((2, 4))
        file.attrs["gamma_only"] = ".FALSE."
    return tmp_path / "a.hdf5"


def test_a_locked_file_of_plane_waves_is_not_damaged(path):
    assert read_density(path, (2, 2, 2)).shape == (2, 2, 2)
    with path.open("r+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        for read in (lambda: read_density(path, (2, 2, 2)), lambda: read_wavefunctions(path, 2)):
            with pytest.raises(
                StorageError, match=r"a\.hdf5: cannot be read now .*another process has locked the file"
            ):
                read()


def test_plane_waves_that_are_declared_only_are_refused(path):
    with h5py.File(path, "r+") as file:
        del file["evc"]
        file.create_dataset("evc", shape=(10**6, 10**6), dtype="f8")
    with pytest.raises(FileFormatError, match=r"a\.hdf5: .*evc declares 8000000000000 bytes"):
        read_wavefunctions(path, 10**6)


def test_an_attribute_is_part_of_the_file(path):
    with h5py.File(path, "r+") as file:
        file.attrs.create("big", np.arange(1000.0))
    with open_hdf5(path) as file:
        np.testing.assert_array_equal(file.attrs["big"], np.arange(1000.0))


def test_zeros_compress_far_and_are_read(path):
    with h5py.File(path, "r+") as file:
        file.create_dataset("zeros", data=np.zeros((256, 256, 512), np.float32), compression="gzip", shuffle=True)
    assert path.stat().st_size < 300_000
    with open_hdf5(path) as file:
        assert not file["zeros"][-1].any()


def test_an_array_on_a_failing_disk_is_not_damaged(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", np.zeros((2, 2, 2, 3)))
    assert fields.read_field(tmp_path / "a.npy", "LDOS").shape == (2, 2, 2, 3)

    def refused(*_args, **_kwargs):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(np, "load", refused)
    with pytest.raises(StorageError, match=r"a\.npy: cannot be read now"):
        fields.read_field(tmp_path / "a.npy", "LDOS")


def test_an_array_that_is_declared_only_is_refused(tmp_path):
    with (tmp_path / "a.npy").open("wb") as stream:
        header = {"descr": "<f8", "fortran_order": False, "shape": (10**4, 10**4, 10**4, 3)}
        np.lib.format.write_array_header_1_0(stream, header)
        stream.write(bytes(1000))
    with pytest.raises(FileFormatError, match=r"a\.npy: not a complete \.npy file"):
        fields.read_field(tmp_path / "a.npy", "LDOS")
