"""The snapshot file: what goes in comes out, and no damage goes unseen."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import pickle
import resource
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
from ase import Atoms

from fermisea.data import snapshot_file
from fermisea.data.reference import Reference
from fermisea.data.snapshot import Snapshot
from fermisea.errors import DamagedFileError, FileFormatError, InputError, StorageError
from fermisea.grid import EnergyGrid, RealSpaceGrid
from fermisea.physics.broadening import Broadening
from fermisea.physics.ions import CoreCharge, Ion
from synthetic import made_up_ldos, made_up_snapshot


@pytest.fixture(scope="module")
def original():
    return made_up_snapshot(1, shape=(4, 5, 6))


@pytest.fixture(scope="module")
def saved(original, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "al.nc"
    original.save(path)
    return path


@pytest.fixture
def copy(saved, tmp_path):
    path = tmp_path / "copy.nc"
    path.write_bytes(saved.read_bytes())
    return path


def rich() -> Snapshot:
    """Everything that a snapshot can hold: two elements, a core charge, forces, stress, a left-handed cell."""
    rng = np.random.default_rng(3)
    cell = [[0.5, 4.0, 0.3], [3.0, 0.2, -0.4], [-0.5, 0.7, 5.0]]
    atoms = Atoms("AlBe", positions=rng.normal(size=(2, 3)), cell=cell, pbc=True)
    grid = RealSpaceGrid(cell, (3, 4, 2))
    energies = EnergyGrid(-7.3, 0.1 + 1e-15, 30)
    density = rng.random((3, 4, 2))
    return Snapshot(
        atoms=atoms,
        grid=grid,
        energy_grid=energies,
        ldos=rng.random((3, 4, 2, 30), dtype=np.float32),
        density=density * (5.0 / grid.integrate(density)),
        electron_temperature=933.47,
        ion_temperature=None,
        broadening=Broadening("gaussian", 0.1 + 1e-16),
        reference=Reference(
            free_energy=-1 / 3,
            parts={"kinetic": 0.1, "hartree": 1e-300},
            fermi_level=np.pi,
            electrons=5.0,
            entropy_term=-0.25,
            forces=rng.normal(size=(2, 3)),
            stress=rng.normal(size=(3, 3)),
        ),
        ions={"Al": Ion("Al", 3.0, CoreCharge(0.01, rng.random(20_000))), "Be": Ion("Be", 2.0)},
        functional="pbe",
        provenance={"engine": "none", "kpts": [1, 2, 3], "nested": {"μ": None, "yes": True}},
    )


def test_every_part_comes_back_bit_by_bit(tmp_path):
    one = rich()
    one.save(tmp_path / "a.nc")
    two = Snapshot.load(tmp_path / "a.nc")
    for name in ("ldos", "density", "dos", "energies"):
        got, expected = getattr(two, name), getattr(one, name)
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(two.atoms.positions, one.atoms.positions)
    np.testing.assert_array_equal(two.atoms.cell.array, one.atoms.cell.array)
    assert list(two.atoms.symbols) == ["Al", "Be"]
    assert two.atoms.pbc.all()
    for name in (
        "grid",
        "energy_grid",
        "electron_temperature",
        "ion_temperature",
        "broadening",
        "functional",
        "provenance",
    ):
        assert getattr(two, name) == getattr(one, name), name
    for name in ("free_energy", "parts", "fermi_level", "electrons", "entropy_term"):
        assert getattr(two.reference, name) == getattr(one.reference, name), name
    np.testing.assert_array_equal(two.reference.forces, one.reference.forces)
    np.testing.assert_array_equal(two.reference.stress, one.reference.stress)
    assert {s: ion.to_dict() for s, ion in two.ions.items()} == {s: ion.to_dict() for s, ion in one.ions.items()}


def test_what_is_absent_stays_absent(original, saved):
    loaded = Snapshot.load(saved)
    assert loaded.reference.forces is None
    assert loaded.reference.stress is None
    assert loaded.ion_temperature == original.ion_temperature == 300.0


def test_energies_from_a_file_are_those_of_memory(original, saved):
    temperatures = [300.0, 1000.0, 5000.0]
    got, expected = Snapshot.load(saved).observables(temperatures), original.observables(temperatures)
    for one, two in zip(got, expected, strict=True):
        assert one.free_energies == two.free_energies
        np.testing.assert_array_equal(one.density, two.density)


def test_the_file_is_netcdf_with_the_agreed_dimensions_and_units(original, saved):
    with xr.open_dataset(saved, engine="h5netcdf") as data:
        assert data["ldos"].dims == ("x", "y", "z", "energy")
        assert data["ldos"].dtype == np.float32
        assert data["density"].dims == ("x", "y", "z")
        units = {name: variable.attrs["units"] for name, variable in data.variables.items()}
        np.testing.assert_array_equal(data["energy"], original.energies)
        np.testing.assert_allclose(data["ldos"].sum("energy"), original.ldos.sum(axis=-1), rtol=1e-6)
    assert units == {
        "ldos": "1/(eV Angstrom^3)",
        "density": "1/Angstrom^3",
        "dos": "1/eV",
        "energy": "eV",
        "positions": "Angstrom",
        "atomic_numbers": "1",
        "cell": "Angstrom",
    }
    with h5py.File(saved) as file:
        assert file["ldos"].compression == "gzip"
        assert file["ldos"].shuffle
        assert all(file[name].fletcher32 for name in units)


def test_the_ldos_is_read_only_when_asked_for(saved, monkeypatch):
    asked = []
    monkeypatch.setattr(snapshot_file.StoredLdos, "_check_unchanged", lambda self: asked.append(self.path))
    snapshot = Snapshot.load(saved)
    assert snapshot.dos.sum() > 0
    assert snapshot.density.mean() > 0
    assert snapshot.density_of_states.fermi_level(snapshot.electrons, 1000.0) < 20
    assert not asked
    assert snapshot.ldos.shape == (4, 5, 6, 36)
    assert asked == [saved]


SELECTIONS = {
    "all": slice(None),
    "middle": slice(17, 71),
    "backwards": slice(100, 3, -7),
    "random": np.random.default_rng(0).integers(0, 120, 300),
    "negative": np.array([-1, 0, -120]),
    "mask": np.arange(120) % 11 == 0,
    "none": np.array([], dtype=int),
    "empty": slice(5, 5),
}


@pytest.mark.parametrize("points", SELECTIONS.values(), ids=SELECTIONS)
@pytest.mark.parametrize("chunk", [1, 4 * 6 * 36 * 2, 2**20], ids=["lines", "two-lines", "planes"])
def test_some_points_are_those_of_the_whole(original, tmp_path, monkeypatch, chunk, points):
    monkeypatch.setattr(snapshot_file, "_CHUNK", chunk)
    path = tmp_path / "a.nc"
    original.save(path)
    with h5py.File(path) as file:
        depth = {1: 1, 2**20: 5}.get(chunk, 2)
        assert file["ldos"].chunks == (1, depth, 6, 36)
    expected = original.ldos.reshape(-1, 36)[points]
    np.testing.assert_array_equal(Snapshot.load(path).read_ldos(points), expected)
    np.testing.assert_array_equal(original.read_ldos(points), expected)


def test_points_beyond_the_grid_are_an_index_error(original, saved):
    for snapshot in (original, Snapshot.load(saved)):
        with pytest.raises(IndexError):
            snapshot.read_ldos(np.array([120]))


def test_a_point_reads_one_chunk(saved, monkeypatch):
    read = []

    class Spy:
        def __init__(self, data):
            self.data, self.chunks = data, data.chunks

        def __getitem__(self, key):
            read.append(self.data[key].size)
            return self.data[key]

    plain = h5py.File.__getitem__
    loaded = Snapshot.load(saved)
    monkeypatch.setattr(h5py.File, "__getitem__", lambda self, name: Spy(plain(self, name)))
    loaded.read_ldos(np.array([61, 62, 59, 30 * 2]))
    assert read == [30 * 36, 30 * 36]  # planes x = 1 and x = 2 of (5, 6) points


def test_loaded_snapshots_travel_to_other_processes(original, saved):
    loaded = pickle.loads(pickle.dumps(Snapshot.load(saved)))  # noqa: S301
    np.testing.assert_array_equal(loaded.ldos, original.ldos)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files through /proc")
def test_files_are_not_kept_open(saved):
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    snapshots = [Snapshot.load(saved) for _ in range(5)]
    for snapshot in snapshots:
        snapshot.read_ldos(slice(0, 10))
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def damaged(path: Path, position: int, bit: int = 0) -> None:
    with path.open("r+b") as stream:
        stream.seek(position)
        byte = stream.read(1)[0]
        stream.seek(position)
        stream.write(bytes([byte ^ 1 << bit]))


def test_a_flipped_bit_anywhere_is_found(copy):
    size = copy.stat().st_size
    positions = [*range(600), *range(600, size - 100, 41), *range(size - 100, size)]
    for position in positions:
        damaged(copy, position, position % 8)
        with pytest.raises(FileFormatError, match=r"copy\.nc: "):
            Snapshot.load(copy)
        damaged(copy, position, position % 8)
    Snapshot.load(copy)


def test_a_truncated_file_is_found_whatever_is_left(copy):
    content = copy.read_bytes()
    for length in [0, 1, 8, 100, *range(600, len(content), 997), len(content) - 66, len(content) - 1]:
        copy.write_bytes(content[:length])
        for verify in (True, False):
            with pytest.raises(FileFormatError, match=r"copy\.nc: (truncated|not a snapshot)"):
                Snapshot.load(copy, verify=verify)


def test_appended_bytes_are_found(copy):
    copy.write_bytes(copy.read_bytes() + b"\0")
    with pytest.raises(FileFormatError, match="copy it again or run the DFT calculation again"):
        Snapshot.load(copy)


def chunks_of(path: Path, name: str) -> list[tuple[int, int]]:
    with h5py.File(path) as file:
        data = file[name].id
        chunks = [data.get_chunk_info(i) for i in range(data.get_num_chunks())]
        return [(chunk.byte_offset, chunk.size) for chunk in chunks]


def test_a_damaged_chunk_is_found_even_without_the_checksum_of_the_file(original, copy):
    offset, size = chunks_of(copy, "ldos")[2]
    damaged(copy, offset + size // 2)
    with pytest.raises(FileFormatError, match="altered"):
        Snapshot.load(copy)
    snapshot = Snapshot.load(copy, verify=False)
    np.testing.assert_array_equal(snapshot.read_ldos(slice(0, 60)), original.read_ldos(slice(0, 60)))
    for read in (lambda: snapshot.ldos, lambda: snapshot.read_ldos(np.array([70])), lambda: snapshot.observables(1000)):
        with pytest.raises(FileFormatError, match=r"copy\.nc: the LDOS cannot be read"):
            read()


@pytest.mark.parametrize("name", ["density", "dos", "positions", "cell", "atomic_numbers"])
def test_other_damaged_chunks_are_found_without_it_too(copy, name):
    offset, size = chunks_of(copy, name)[0]
    damaged(copy, offset + size // 2)
    with pytest.raises(FileFormatError, match=r"copy\.nc: not readable as a snapshot"):
        Snapshot.load(copy, verify=False)


def test_a_file_that_vanished_or_changed_after_loading_is_refused(original, copy):
    first, second = Snapshot.load(copy), Snapshot.load(copy)
    copy.unlink()
    with pytest.raises(FileFormatError, match=r"copy\.nc: the LDOS cannot be read"):
        _ = first.ldos
    made_up_snapshot(2, shape=(4, 5, 6)).save(copy)
    for read in (lambda: second.ldos, lambda: second.read_ldos(slice(3))):
        with pytest.raises(FileFormatError, match=r"copy\.nc: the file changed after it was opened; load it again"):
            read()
    second = Snapshot.load(copy)
    second.save(copy)  # onto the file that its own LDOS comes from
    np.testing.assert_array_equal(Snapshot.load(copy).ldos, made_up_ldos_of(2))
    assert not np.array_equal(made_up_ldos_of(2), original.ldos)


def made_up_ldos_of(seed: int) -> np.ndarray:
    snapshot = made_up_snapshot(seed, shape=(4, 5, 6))
    return made_up_ldos(snapshot.atoms, snapshot.grid).astype(np.float32)


def foreign_netcdf(path: Path) -> None:
    xr.Dataset({"ldos": (("x",), np.ones(3))}).to_netcdf(path, engine="h5netcdf")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda _: None, "no such file, expected a snapshot made by `fermisea dft`"),
        (lambda path: path.mkdir(), "not readable as a snapshot"),
        (lambda path: path.write_bytes(b""), "not a snapshot, expected a netCDF4 file"),
        (lambda path: path.write_text("hello\n"), "not a snapshot, expected a netCDF4 file"),
        (lambda path: path.write_bytes(b"CDF\x01" + bytes(100)), "not a snapshot, expected a netCDF4 file"),
        (foreign_netcdf, "truncated or not a snapshot, its checksum is missing"),
    ],
    ids=["missing", "folder", "empty", "text", "netcdf3", "netcdf4"],
)
def test_other_things_are_refused_by_name(tmp_path, make, text):
    path = tmp_path / "thing.nc"
    make(path)
    for verify in (True, False):
        with pytest.raises(FileFormatError, match=rf"thing\.nc: .*{text}"):
            Snapshot.load(path, verify=verify)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"format_version": 2}, r"'fermisea-snapshot' version 2, expected 'fermisea-snapshot' version 1"),
        ({"format": "other"}, r"'other' version 1, expected 'fermisea-snapshot' version 1"),
        ({"reference": None}, r"not readable as a snapshot \('reference'\)"),
        ({"electron_temperature_K": -5.0}, r"electron temperature: got -5.0 K"),
    ],
    ids=["version", "kind", "attribute", "value"],
)
def test_whole_files_of_another_kind_are_refused(copy, change, text):
    with xr.open_dataset(copy, engine="h5netcdf") as data:
        data.load()
    attributes = {name: value for name, value in (data.attrs | change).items() if value is not None}
    image = bytes(data.drop_attrs(deep=False).assign_attrs(attributes).to_netcdf(engine="h5netcdf"))
    digest = hashlib.sha256(image).hexdigest()
    copy.write_bytes(image + b"\nfermisea sha256 " + digest.encode())
    with pytest.raises(FileFormatError, match=rf"copy\.nc: .*{text}"):
        Snapshot.load(copy)


def test_a_full_disk_leaves_the_old_file(original, copy):
    before = copy.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # a write beyond fails as on a full disk
    try:
        with pytest.raises(InputError, match=r"copy\.nc: could not be written .*an existing file is unchanged"):
            original.save(copy)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert copy.read_bytes() == before
    assert list(copy.parent.iterdir()) == [copy]


def test_a_folder_that_cannot_be_written_to_is_an_input_error(original, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: cannot write files to this folder"):
        original.save(tmp_path / "file" / "al.nc")


@contextmanager
def locked(path: Path):
    """A lock on an open file; HDF5 opens the file again, for which the lock counts in the same process too."""
    with path.open("r+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def test_a_locked_file_is_not_a_damaged_file(copy):
    before = Snapshot.load(copy)
    message = r"copy\.nc: cannot be read now .*another process has locked the file.*HDF5_USE_FILE_LOCKING=FALSE"
    with locked(copy):
        for read in (lambda: Snapshot.load(copy), lambda: Snapshot.load(copy, verify=False), lambda: before.ldos):
            with pytest.raises(StorageError, match=message) as caught:
                read()
            assert "copy it again" not in str(caught.value)
    np.testing.assert_array_equal(Snapshot.load(copy).ldos, before.ldos)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("step", ["checksum", "hdf5"])
def test_a_file_that_the_system_does_not_give_is_not_a_damaged_file(copy, monkeypatch, number, step):
    def refused(*_args, **_kwargs):
        raise OSError(number, f"Unable to open (errno = {number})")

    monkeypatch.setattr(*((Path, "open") if step == "checksum" else (h5py, "File")), refused)
    with pytest.raises(StorageError, match=r"copy\.nc: cannot be read now"):
        Snapshot.load(copy)


def test_a_file_system_without_locks_is_read(copy, monkeypatch):
    class Unsupported(h5py.File):
        def __init__(self, name, mode, *, locking=None):
            if locking is not False:
                raise OSError(errno.ENOLCK, "unable to lock file")
            super().__init__(name, mode, locking=locking)

    monkeypatch.setattr(h5py, "File", Unsupported)
    assert Snapshot.load(copy).ldos.shape == (4, 5, 6, 36)


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lambda content: content[:-1000], DamagedFileError),
        (lambda content: content[:-20], DamagedFileError),
        (lambda content: content[:-81], DamagedFileError),
        (lambda content: b"\x88" + content[1:], DamagedFileError),
        (lambda content: content[:700] + b"?" + content[701:], DamagedFileError),
        (lambda _: b"", DamagedFileError),
        (lambda _: bytes(5000), DamagedFileError),
        (lambda _: b"notes of the author\n", FileFormatError),
    ],
    ids=["cut", "cut-in-checksum", "cut-before-checksum", "first-byte", "byte", "empty", "zeros", "text"],
)
def test_a_damaged_snapshot_differs_from_another_kind_of_file(copy, spoil, kind):
    copy.write_bytes(spoil(copy.read_bytes()))
    with pytest.raises(FileFormatError) as caught:
        Snapshot.load(copy)
    assert type(caught.value) is kind


def sealed(path: Path) -> None:
    """Adds the checksum of a snapshot to an HDF5 file."""
    image = path.read_bytes()
    path.write_bytes(image + b"\nfermisea sha256 " + hashlib.sha256(image).hexdigest().encode())


def with_virtual(file: h5py.File, other: Path) -> None:
    layout = h5py.VirtualLayout((36,), "f8")
    layout[:] = h5py.VirtualSource(str(other), "dos", (36,))
    file.create_virtual_dataset("dos", layout)


SPOILT = {
    "external-link": (lambda file, other: file.update(dos=h5py.ExternalLink(str(other), "dos")), "an external link"),
    "soft-link": (lambda file, _: file.update(dos=h5py.SoftLink("/energy")), "a soft link"),
    "external-storage": (
        lambda file, other: file.create_dataset("dos", shape=(36,), dtype="f8", external=[(str(other), 0, 288)]),
        "in other files",
    ),
    "virtual": (with_virtual, "in other files"),
    "contiguous": (lambda file, _: file.create_dataset("dos", shape=(10**12,), dtype="f8"), "declares 8000000000000"),
    "chunked": (
        lambda file, _: file.create_dataset("dos", shape=(10**12,), dtype="f8", chunks=(10**6,), compression="gzip"),
        "declares 8000000000000",
    ),
    "chunk": (
        lambda file, _: file.create_dataset("dos", shape=(36,), maxshape=(None,), dtype="f8", chunks=(10**8,)),
        "declares 800000000",
    ),
}


def set_first(name, value):
    def change(file, _):
        values = file[name][...]
        values.flat[0] = value
        file[name][...] = values

    return change


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda file, _: file.attrs.__setitem__("ion_temperature_K", np.nan), "ionic temperature is nan K"),
        (set_first("atomic_numbers", 13 * 2**40), "atomic numbers are .* to 14293651161088, expected at most 118"),
        (set_first("atomic_numbers", -1), "atomic numbers are -1 to 13"),
        (set_first("ldos", np.inf), "LDOS has numbers that are not finite"),
    ],
)
def test_numbers_without_sense_are_refused(saved, copy, change, text):
    with h5py.File(copy, "r+") as file:
        change(file, saved)
    sealed(copy)
    with pytest.raises(FileFormatError, match=rf"copy\.nc: .*{text}"):
        Snapshot.load(copy).read_ldos(slice(3))
    with pytest.raises(FileFormatError, match=rf"copy\.nc: .*{text}"):
        _ = Snapshot.load(copy).ldos


@pytest.mark.parametrize(("change", "text"), SPOILT.values(), ids=SPOILT)
def test_data_elsewhere_and_sizes_without_content_are_refused(saved, copy, change, text):
    with h5py.File(copy, "r+") as file:
        del file["dos"]
        change(file, saved)
    sealed(copy)
    with pytest.raises(FileFormatError, match=rf"copy\.nc: .*{text}"):
        Snapshot.load(copy)
