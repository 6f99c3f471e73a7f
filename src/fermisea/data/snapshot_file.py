"""netCDF4 file of a snapshot: dimensions x y z energy, units in attributes, a checksum of the whole file at its end.

Every variable also has an HDF5 checksum in each chunk, which is verified whenever the chunk is read.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import h5netcdf
import numpy as np
import numpy.typing as npt
import xarray as xr
from ase import Atoms
from ase.data import chemical_symbols
from xarray.backends import H5NetCDFStore

from fermisea.data.reference import Reference
from fermisea.data.sealed_file import FORMAT, REMEDY, one_line, open_sealed, seal, stamp_of
from fermisea.errors import FileFormatError, StorageError
from fermisea.grid import EnergyGrid, RealSpaceGrid
from fermisea.physics.broadening import Broadening
from fermisea.physics.ions import Ion
from fermisea.utilities.files import atomic_path
from fermisea.utilities.hdf5 import open_hdf5

VERSION = 1
_CHUNK = 2**20
"""Largest size of an LDOS chunk, bytes, unless a single grid line along z is larger."""


@dataclass(frozen=True)
class StoredLdos:
    """An LDOS in a file, read on access.

    Attributes:
        path: path of the snapshot file.
        shape: (nx, ny, nz, energies).
        stamp: size and modification time of the file when it was checked; a changed file is refused.
    """

    path: Path
    shape: tuple[int, int, int, int]
    stamp: tuple[int, int]

    def read(self) -> npt.NDArray[np.float32]:
        """Returns the whole LDOS, (nx, ny, nz, energies), 1/(eV Angstrom^3).

        Raises:
            FileFormatError: if the file is missing, changed or damaged.
            StorageError: if the file cannot be read now.
        """
        with self._open() as ldos:
            return self._finite(np.asarray(ldos[...], dtype=np.float32))

    def read_points(self, points: slice | npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
        """Returns the LDOS of points of the flattened grid, (points, energies), reading only their chunks.

        Raises:
            FileFormatError: if the file is missing, changed or damaged.
            StorageError: if the file cannot be read now.
        """
        _, ny, nz, energies = self.shape
        index = np.arange(math.prod(self.shape[:3]))[points]
        result = np.empty((index.size, energies), dtype=np.float32)
        if index.size == 0:
            return result
        with self._open() as ldos:
            depth = ldos.chunks[1] if ldos.chunks else ny
            x, y = np.divmod(index // nz, ny)
            chunk = x * ny + depth * (y // depth)  # first grid line along z in the chunk of each point
            order = np.argsort(chunk, kind="stable")
            for part in np.split(order, np.flatnonzero(np.diff(chunk[order])) + 1):
                first = int(chunk[part[0]])
                start = first % ny
                slab = ldos[first // ny, start : start + depth].reshape(-1, energies)
                result[part] = slab[index[part] - first * nz]
        return self._finite(result)

    @contextmanager
    def _open(self) -> Iterator[Any]:
        try:
            self._check_unchanged()
            with open_hdf5(self.path, checked=True) as file:
                yield file["ldos"]
        except (FileFormatError, StorageError):
            raise
        except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise FileFormatError(f"{self.path}: the LDOS cannot be read ({one_line(error)}); {REMEDY}") from error

    def _finite(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if not np.isfinite(values).all():
            raise FileFormatError(
                f"{self.path}: the LDOS has numbers that are not finite; run the DFT calculation again"
            )
        return values

    def _check_unchanged(self) -> None:
        if stamp_of(self.path) != self.stamp:
            raise FileFormatError(f"{self.path}: the file changed after it was opened; load it again")


class StoredSnapshot(Protocol):
    """Contents of a snapshot file; see :class:`fermisea.Snapshot`."""

    @property
    def atoms(self) -> Atoms: ...  # noqa: D102
    @property
    def ldos(self) -> npt.NDArray[np.float32]: ...  # noqa: D102
    @property
    def density(self) -> npt.NDArray[np.float64]: ...  # noqa: D102
    @property
    def dos(self) -> npt.NDArray[np.float64]: ...  # noqa: D102
    @property
    def grid(self) -> RealSpaceGrid: ...  # noqa: D102
    @property
    def energies(self) -> npt.NDArray[np.float64]: ...  # noqa: D102
    @property
    def energy_grid(self) -> EnergyGrid: ...  # noqa: D102
    @property
    def electron_temperature(self) -> float: ...  # noqa: D102
    @property
    def ion_temperature(self) -> float | None: ...  # noqa: D102
    @property
    def broadening(self) -> Broadening: ...  # noqa: D102
    @property
    def reference(self) -> Reference: ...  # noqa: D102
    @property
    def ions(self) -> Mapping[str, Ion]: ...  # noqa: D102
    @property
    def functional(self) -> str: ...  # noqa: D102
    @property
    def provenance(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def total_energy_obstacle(self) -> str | None: ...  # noqa: D102


def write_snapshot(path: str | os.PathLike[str], snapshot: StoredSnapshot) -> None:
    """Writes ``snapshot`` to ``path``, atomically.

    Raises:
        InputError: if the folder cannot be written to or the disk is full.
    """
    data = to_dataset(snapshot)
    encoding: dict[str, dict[str, Any]] = {
        str(name): {"fletcher32": True, "chunksizes": variable.shape} for name, variable in data.variables.items()
    }
    _, ny, nz, energies = data["ldos"].shape
    depth = max(1, min(ny, _CHUNK // (4 * nz * energies)))
    encoding["ldos"]["chunksizes"] = (1, depth, nz, energies)
    for name in ("ldos", "density"):
        encoding[name] |= {"zlib": True, "complevel": 1, "shuffle": True}
    image = data.to_netcdf(engine="h5netcdf", encoding=encoding)  # in memory: HDF5 crashes when the disk is full
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.write(image)
        stream.write(seal(image))


def read_snapshot(path: str | os.PathLike[str], *, verify: bool) -> dict[str, Any]:
    """Returns the contents of the snapshot file ``path``, with the LDOS as a :class:`StoredLdos`.

    Raises:
        DamagedFileError: for a truncated or altered snapshot.
        FileFormatError: for a file that is missing or not a snapshot.
        StorageError: for a file that cannot be read now.
    """
    path = Path(path)
    try:
        with (
            open_sealed(path, verify=verify) as file,
            xr.open_dataset(H5NetCDFStore(h5netcdf.File(file, "r", phony_dims="access"))) as data,
        ):
            nx, ny, nz, energies = data["ldos"].shape
            return from_dataset(data, str(path), StoredLdos(path, (nx, ny, nz, energies), stamp_of(path)))
    except (FileFormatError, StorageError):
        raise
    except Exception as error:  # h5py and xarray raise many kinds of errors for damaged files
        raise FileFormatError(f"{path}: not readable as a snapshot ({one_line(error)}); {REMEDY}") from error


def to_dataset(snapshot: StoredSnapshot) -> xr.Dataset:
    """Returns a snapshot as a data set, with units in the attributes of each variable."""
    reference, atoms = snapshot.reference, snapshot.atoms
    variables: dict[str, Any] = {
        "ldos": (
            ("x", "y", "z", "energy"),
            np.asarray(snapshot.ldos, dtype=np.float32),
            {"units": "1/(eV Angstrom^3)"},
        ),
        "density": (("x", "y", "z"), snapshot.density, {"units": "1/Angstrom^3"}),
        "dos": (("energy",), snapshot.dos, {"units": "1/eV"}),
        "positions": (("atom", "cartesian"), atoms.positions, {"units": "Angstrom"}),
        "atomic_numbers": (("atom",), atoms.numbers, {"units": "1"}),
        "cell": (("lattice_vector", "cartesian"), snapshot.grid.lattice, {"units": "Angstrom"}),
    }
    if reference.forces is not None:
        variables["forces"] = (("atom", "cartesian"), reference.forces, {"units": "eV/Angstrom"})
    if reference.stress is not None:
        variables["stress"] = (("lattice_vector", "cartesian"), reference.stress, {"units": "eV/Angstrom^3"})
    tail = (
        {}
        if reference.tail_bottom is None
        else {"tail_electrons": reference.tail_electrons, "tail_bottom": reference.tail_bottom}
    )
    attributes: dict[str, Any] = {
        "format": FORMAT,
        "format_version": VERSION,
        "electron_temperature_K": snapshot.electron_temperature,
        "broadening_kernel": snapshot.broadening.kernel,
        "broadening_standard_deviation_eV": snapshot.broadening.standard_deviation,
        "energy_start_eV": snapshot.energy_grid.start,
        "energy_spacing_eV": snapshot.energy_grid.spacing,
        "functional": snapshot.functional,
        "reference": json.dumps(
            {
                "free_energy": reference.free_energy,
                "parts": dict(reference.parts),
                "fermi_level": reference.fermi_level,
                "electrons": reference.electrons,
                "entropy_term": reference.entropy_term,
                "mean_potential": reference.mean_potential,
                "xc_entropy_term": reference.xc_entropy_term,
            }
            | tail
        ),
        "ions": json.dumps({symbol: ion.to_dict() for symbol, ion in snapshot.ions.items()}),
        "provenance": json.dumps(dict(snapshot.provenance)),
    }
    if snapshot.total_energy_obstacle is not None:
        attributes["total_energy_obstacle"] = snapshot.total_energy_obstacle
    if snapshot.ion_temperature is not None:
        attributes["ion_temperature_K"] = snapshot.ion_temperature
    energy = ("energy", snapshot.energies, {"units": "eV"})
    return xr.Dataset(variables, coords={"energy": energy}, attrs=attributes)


def from_dataset(data: xr.Dataset, name: str, ldos: npt.NDArray[np.float32] | StoredLdos) -> dict[str, Any]:
    """Returns the contents of a snapshot from the result of ``to_dataset``, with ``ldos`` in place of ``data['ldos']``.

    Raises:
        FileFormatError: for another format; ``name`` is used in the message.
    """
    head = data.attrs
    if head.get("format") != FORMAT or int(head.get("format_version", -1)) != VERSION:
        raise FileFormatError(
            f"{name}: format {head.get('format')!r} version {head.get('format_version')}, expected {FORMAT!r} version "
            f"{VERSION}; convert it with the release that wrote it"
        )
    cell = data["cell"].values
    nx, ny, nz, energies = ldos.shape
    reference = json.loads(head["reference"])
    for tensor in ("forces", "stress"):
        reference[tensor] = data[tensor].values if tensor in data else None
    ion_temperature, obstacle = head.get("ion_temperature_K"), head.get("total_energy_obstacle")
    if ion_temperature is not None and not 0 <= float(ion_temperature) < math.inf:
        raise FileFormatError(
            f"{name}: the ionic temperature is {ion_temperature} K, expected a positive number; {REMEDY}"
        )
    numbers = data["atomic_numbers"].values
    if not np.isin(numbers, np.arange(len(chemical_symbols))).all():
        raise FileFormatError(
            f"{name}: the atomic numbers are {numbers.min()} to {numbers.max()}, expected at most "
            f"{len(chemical_symbols) - 1}; {REMEDY}"
        )
    return {
        "atoms": Atoms(numbers, data["positions"].values, cell=cell, pbc=True),
        "grid": RealSpaceGrid(tuple(tuple(row) for row in cell), (nx, ny, nz)),
        "energy_grid": EnergyGrid(float(head["energy_start_eV"]), float(head["energy_spacing_eV"]), energies),
        "ldos": ldos,
        "density": data["density"].values,
        "dos": data["dos"].values,
        "electron_temperature": float(head["electron_temperature_K"]),
        "ion_temperature": None if ion_temperature is None else float(ion_temperature),
        "broadening": {
            "kernel": str(head["broadening_kernel"]),
            "standard_deviation": float(head["broadening_standard_deviation_eV"]),
        },
        "reference": reference,
        "ions": {symbol: Ion.from_dict(ion) for symbol, ion in json.loads(head["ions"]).items()},
        "functional": str(head["functional"]),
        "provenance": json.loads(head["provenance"]),
        "total_energy_obstacle": None if obstacle is None else str(obstacle),
    }
