"""Data sets: snapshots that are consistent with each other."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, overload

import numpy as np

from fermisea.data.snapshot import Snapshot
from fermisea.errors import InputError
from fermisea.grid import EnergyGrid
from fermisea.physics.broadening import Broadening
from fermisea.physics.ions import Ion

SUFFIX = ".nc"

_NO_SNAPSHOT = "dataset: got no snapshot, expected at least one; compute snapshots with `fermisea dft`"

OF_TAU_REF = ("energy grid", "broadening", "reference electron temperature (K)")
"""Properties that differ between snapshots with different tau_ref."""


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Snapshots with the same energy grid, broadening, functional and tau_ref; the LDOS stay in the snapshot files.

    Attributes:
        snapshots: the snapshots, in order.
        names: origin of each snapshot, for messages; by default "snapshot 0" and so on.

    Raises:
        InputError: without snapshots, or for inconsistent snapshots, two of which are named.
    """

    snapshots: tuple[Snapshot, ...]
    names: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Dataset(number of snapshots: {len(self.snapshots)}, first: {self.snapshots[0]!r})"

    def __post_init__(self) -> None:
        if not self.snapshots:
            raise InputError(_NO_SNAPSHOT)
        names = self.names or tuple(f"snapshot {index}" for index in range(len(self.snapshots)))
        if len(names) != len(self.snapshots):
            raise InputError(
                f"dataset: got {len(names)} names for {len(self.snapshots)} snapshots, expected one name for each"
            )
        object.__setattr__(self, "names", names)
        for difference in differences(self.snapshots, names):
            raise InputError(f"{difference}; expected the same value in all snapshots of a dataset")

    @classmethod
    def load(cls, paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], *, verify: bool = True) -> Self:
        """Returns the snapshots in files and folders (every .nc file), sorted by name within a folder.

        Args:
            paths: one or more files or folders.
            verify: whether the checksum of every file is compared.

        Raises:
            FileFormatError: for a file that is truncated, altered, or not a snapshot.
            InputError: for a missing path, a folder without snapshots, or inconsistent snapshots.
        """
        files = snapshot_files(paths)
        return cls(tuple(Snapshot.load(file, verify=verify) for file in files), tuple(str(file) for file in files))

    @classmethod
    def load_each(
        cls, paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], *, verify: bool = True
    ) -> tuple[Self, ...]:
        """Returns a dataset for each tau_ref of the snapshots in files and folders, by ascending tau_ref.

        Snapshots with different tau_ref may have different energies and broadenings, but must have the same functional
        and pseudopotentials. Arguments and errors are the same as for :meth:`load`.
        """
        files = snapshot_files(paths)
        if not files:
            raise InputError(_NO_SNAPSHOT)
        snapshots, names = [Snapshot.load(file, verify=verify) for file in files], [str(file) for file in files]
        for difference in differences(snapshots, names, ignored=OF_TAU_REF):
            raise InputError(f"{difference}; expected the same value in all snapshots of a model")
        return tuple(cls(tuple(own), tuple(called)) for own, called in by_tau_ref(snapshots, names))

    def __len__(self) -> int:
        """Number of snapshots."""
        return len(self.snapshots)

    def __iter__(self) -> Iterator[Snapshot]:
        """Yields the snapshots in order."""
        return iter(self.snapshots)

    @overload
    def __getitem__(self, index: int) -> Snapshot: ...
    @overload
    def __getitem__(self, index: slice) -> Dataset: ...
    def __getitem__(self, index: int | slice) -> Snapshot | Dataset:
        """Returns one snapshot, or a smaller dataset."""
        if isinstance(index, slice):
            return Dataset(self.snapshots[index], self.names[index])
        return self.snapshots[index]

    def select(self, ion_temperatures: Sequence[float]) -> Dataset:
        """Returns the snapshots of some ionic temperatures (K).

        Raises:
            InputError: if no snapshot has one of these temperatures.
        """
        absent = sorted(set(ion_temperatures) - set(self.ion_temperatures))
        if absent:
            known = ", ".join(f"{t:g}" for t in self.ion_temperatures) or "none"
            raise InputError(
                f"ion temperatures: got {', '.join(f'{t:g}' for t in absent)} K, expected some of {known} K, the ion "
                "temperatures of the data"
            )
        return self._subset([i for i, s in enumerate(self.snapshots) if s.ion_temperature in set(ion_temperatures)])

    def split_by_ion_temperature(self, held_out: Sequence[float]) -> tuple[Dataset, Dataset]:
        """Returns the snapshots at all other ionic temperatures, and the snapshots at ``held_out`` (K).

        Raises:
            InputError: if no snapshot has one of the held-out temperatures, or if all snapshots do.
        """
        second = self.select(held_out)
        rest = [i for i, s in enumerate(self.snapshots) if s.ion_temperature not in set(held_out)]
        return self._subset(rest), second

    def split(self, fraction: float, seed: int = 0) -> tuple[Dataset, Dataset | None]:
        """Returns a random split into two parts, the second with about ``fraction`` of the structures.

        Snapshots of the same structure stay in the same part. At least one structure is held out if the fraction is
        above zero and there are two or more structures; otherwise the second part is None.

        Args:
            fraction: fraction of the structures, at least 0 and below 1.
            seed: random seed of the split.
        """
        groups: dict[bytes, list[int]] = {}
        for index, snapshot in enumerate(self.snapshots):
            atoms = snapshot.atoms
            key = b"".join(np.asarray(part).tobytes() for part in (atoms.numbers, atoms.positions, atoms.cell.array))
            groups.setdefault(key, []).append(index)
        structures = list(groups.values())
        held = 0
        if fraction > 0 and len(structures) > 1:
            held = min(max(1, round(fraction * len(structures))), len(structures) - 1)
        chosen = {int(i) for i in np.random.default_rng(seed).permutation(len(structures))[:held]}
        first = [i for number, group in enumerate(structures) if number not in chosen for i in group]
        second = [i for number, group in enumerate(structures) if number in chosen for i in group]
        return self._subset(first), self._subset(second) if second else None

    def _subset(self, indices: Sequence[int]) -> Dataset:
        return Dataset(tuple(self.snapshots[i] for i in indices), tuple(self.names[i] for i in indices))

    @property
    def energy_grid(self) -> EnergyGrid:
        """Energy grid of the LDOS."""
        return self.snapshots[0].energy_grid

    @property
    def broadening(self) -> Broadening:
        """Broadening of the LDOS."""
        return self.snapshots[0].broadening

    @property
    def functional(self) -> str:
        """Name of the exchange-correlation functional."""
        return self.snapshots[0].functional

    @property
    def electron_temperature(self) -> float:
        """tau_ref of every snapshot, K."""
        return self.snapshots[0].electron_temperature

    @property
    def ions(self) -> Mapping[str, Ion]:
        """Valence and core charge of every element in the data."""
        return {symbol: ion for snapshot in self.snapshots for symbol, ion in snapshot.ions.items()}

    @property
    def ion_temperatures(self) -> list[float]:
        """All tau_i in the data, ascending, K."""
        return sorted({s.ion_temperature for s in self.snapshots if s.ion_temperature is not None})


def by_tau_ref(snapshots: Sequence[Snapshot], names: Sequence[str]) -> list[tuple[list[Snapshot], list[str]]]:
    """Returns snapshots and their names for each tau_ref, by ascending tau_ref."""
    found: dict[float, tuple[list[Snapshot], list[str]]] = {}
    for snapshot, name in zip(snapshots, names, strict=True):
        own, called = found.setdefault(snapshot.electron_temperature, ([], []))
        own.append(snapshot)
        called.append(name)
    return [found[tau_ref] for tau_ref in sorted(found)]


def differences(snapshots: Sequence[Snapshot], names: Sequence[str], ignored: Sequence[str] = ()) -> Iterator[str]:
    """Yields a sentence for each property in which snapshots differ, with the first differing pair.

    Args:
        snapshots: the snapshots.
        names: their names.
        ignored: names of properties that may differ.
    """
    first: dict[str, tuple[Any, str]] = {}
    told = set()
    for snapshot, name in zip(snapshots, names, strict=True):
        for what, value in _common(snapshot).items():
            known, owner = first.setdefault(what, (value, name))
            if value != known and what not in told and what not in ignored:
                told.add(what)
                yield f"{what}: {name} has {value}, but {owner} has {known}"


def snapshot_files(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Returns the snapshot files among paths and, sorted, in folders; a file named twice is returned once.

    Raises:
        InputError: for a missing path or a folder without snapshots.
    """
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    files: dict[Path, Path] = {}
    for entry in paths:
        path = Path(entry)
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.suffix == SUFFIX and not file.name.startswith("."))
            if not inside:
                raise InputError(f"{path}: no snapshots ({SUFFIX}) in this folder; compute some with `fermisea dft`")
        elif path.exists():
            inside = [path]
        else:
            raise InputError(f"{path}: no such file or folder, expected snapshots made by `fermisea dft`")
        for file in inside:
            files.setdefault(file.resolve(), file)
    return list(files.values())


def _common(snapshot: Snapshot) -> dict[str, Any]:
    """Returns the common properties of all snapshots of a dataset by name, long ones in abbreviated form."""
    common: dict[str, Any] = {
        "energy grid": snapshot.energy_grid,
        "broadening": snapshot.broadening,
        "functional": snapshot.functional,
        "reference electron temperature (K)": snapshot.electron_temperature,
        "obstacle to total energies": snapshot.total_energy_obstacle,
    }
    for symbol, ion in snapshot.ions.items():
        core = "none"
        if ion.core is not None:
            table = hashlib.sha256(ion.core.values.tobytes()).hexdigest()
            core = f"{ion.core.electrons:.6g} electrons ({table[:8]})"
        made = snapshot.provenance.get("pseudopotentials", {}).get(symbol, {})
        common[f"valence of {symbol}"] = ion.valence
        common[f"core charge of {symbol}"] = core
        common[f"pseudopotential of {symbol}"] = f"{made.get('name', 'unknown')} ({made.get('sha256', 'unknown')[:8]})"
    return common
