"""A restartable series of DFT runs: one snapshot file for each structure, all on one energy grid."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from ase import Atoms

from fermisea import pseudopotentials as psp
from fermisea.energies import functional
from fermisea.engines import LdosOptions, PlaneWave, ScfStep
from fermisea.errors import FermiseaError, FileFormatError, InputError
from fermisea.files import check_writable_folder
from fermisea.grid import EnergyGrid
from fermisea.snapshot import Snapshot
from fermisea.toml import read_toml
from fermisea.units import thermal_energy


@dataclass(frozen=True)
class Campaign:
    """Settings of a series of runs with the embedded engine, as they stand in a TOML file.

    Attributes:
        xc: "lda", "pz", "pbe" or "pbesol".
        cutoff: highest kinetic energy of a plane wave, eV.
        kpts: k-mesh; keep one density of k-points for cells of different sizes.
        shift: 0 or 1 along each axis; 1 moves the mesh by half a step.
        pseudopotentials: "gth", or a UPF file for each element.
        energy_spacing: of the LDOS, eV.
        broadening: standard deviation of the LDOS, eV; the spacing if left out.
        highest_electron_temperature: tau_e that the energy window must serve, K.
        energy_window: first and last energy of the LDOS, eV; chosen from the first structure if left out.
        grid: points of the LDOS; the engine's own if left out.
    """

    xc: str = "pbe"
    cutoff: float = 270.0
    kpts: tuple[int, int, int] = (1, 1, 1)
    shift: tuple[int, int, int] = (0, 0, 0)
    pseudopotentials: str | Mapping[str, str] = "gth"
    energy_spacing: float = 0.2
    broadening: float | None = None
    highest_electron_temperature: float = 10_000.0
    energy_window: tuple[float, float] | None = None
    grid: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        for name in ("cutoff", "energy_spacing", "highest_electron_temperature", "broadening"):
            _check_number(name, getattr(self, name))
        for name, length in (("kpts", 3), ("shift", 3), ("grid", 3), ("energy_window", 2)):
            values = getattr(self, name)
            if values is not None:
                object.__setattr__(self, name, _numbers(name, values, length))
        if not isinstance(self.pseudopotentials, str | Mapping):
            raise InputError(
                f"pseudopotentials: got {self.pseudopotentials!r}, expected 'gth' or a table such as {{Al = 'Al.upf'}}"
            )

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str], **changes: Any) -> Self:
        """Returns the settings in a TOML file, with ``changes`` over them.

        Raises:
            InputError: if the file is missing or not TOML, has an unknown key or a value that cannot be used.
        """
        values = read_toml(path, [field.name for field in fields(cls)])
        try:
            return cls(**(values | changes))
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    def engine(self) -> PlaneWave:
        """Returns the engine with these settings.

        Raises:
            InputError: for settings that cannot be used.
        """
        spacing = self.energy_spacing
        window = None
        if self.energy_window is not None:
            start, stop = self.energy_window
            window = EnergyGrid(start, spacing, round((stop - start) / spacing) + 1)
        return PlaneWave(
            xc=self.xc,
            cutoff=self.cutoff,
            kpts=self.kpts,
            shift=self.shift,
            pseudopotentials="gth" if self.pseudopotentials == "gth" else self.pseudopotentials,  # type: ignore[arg-type]
            ldos=LdosOptions(
                spacing=spacing,
                broadening=spacing if self.broadening is None else self.broadening,
                highest_electron_temperature=self.highest_electron_temperature,
                energy_grid=window,
                grid=self.grid,
            ),
        )


@dataclass(frozen=True)
class Outcome:
    """What became of one structure.

    Attributes:
        name: of the structure.
        path: of its snapshot file.
        status: "computed", "kept" (a valid file was there) or "failed".
        snapshot: the result, unless it failed; its LDOS lies in the file.
        error: why it failed.
        seconds: it took.
    """

    name: str
    path: Path
    status: str
    snapshot: Snapshot | None = None
    error: str | None = None
    seconds: float = 0.0


def run_campaign(
    engine: PlaneWave,
    structures: Mapping[str, Atoms],
    electron_temperature: float,
    folder: str | os.PathLike[str],
    *,
    begin: Callable[[str], None] | None = None,
    step: Callable[[ScfStep], None] | None = None,
    end: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Computes the snapshots that ``folder`` lacks and returns what became of each structure, in order.

    A valid file of an earlier run with the same settings is kept; a truncated or altered one is computed anew. Unless
    the engine has a fixed energy grid, all take that of the first snapshot. A structure that fails does not stop
    the others; interrupted, the same call goes on with the structures that are left.

    Args:
        engine: with its settings.
        structures: by name, which names the files.
        electron_temperature: tau_ref, K.
        folder: for the files; made if need be.
        begin: is told each structure that a computation begins for.
        step: is told each SCF iteration.
        end: is told what became of each structure.

    Raises:
        InputError: before anything is written, if a pseudopotential or the electronic temperature cannot be used, or
            the folder cannot be written to.
    """
    thermal_energy(electron_temperature)
    digests = _digests(engine, structures)
    folder = check_writable_folder(folder)
    begin, end = begin or (lambda _: None), end or (lambda _: None)
    outcomes: dict[str, Outcome] = {}
    for name, atoms in structures.items():
        path = folder / f"{name}.nc"
        if (kept := _kept(path, name, engine, digests, atoms, electron_temperature)) is not None:
            outcomes[name] = kept
            engine = _with_grid_of(engine, kept.snapshot)
            end(kept)
    for name, atoms in structures.items():
        if name in outcomes:
            continue
        begin(name)
        path, started = folder / f"{name}.nc", time.perf_counter()
        try:
            replace(engine, report=step).run(atoms, electron_temperature).save(path)
            outcome = Outcome(name, path, "computed", Snapshot.load(path), seconds=time.perf_counter() - started)
        except FermiseaError as error:
            outcome = Outcome(name, path, "failed", error=str(error), seconds=time.perf_counter() - started)
        outcomes[name] = outcome
        engine = _with_grid_of(engine, outcome.snapshot)
        end(outcome)
    return [outcomes[name] for name in structures]


def _with_grid_of(engine: PlaneWave, snapshot: Snapshot | None) -> PlaneWave:
    if snapshot is None or engine.ldos.energy_grid is not None:
        return engine
    return replace(engine, ldos=replace(engine.ldos, energy_grid=snapshot.energy_grid))


def _digests(engine: PlaneWave, structures: Mapping[str, Atoms]) -> dict[str, str]:
    symbols = [symbol for atoms in structures.values() for symbol in dict.fromkeys(atoms.symbols)]
    potentials = psp.load(engine.pseudopotentials, symbols, functional(engine.xc).name, allow_other_functional=True)
    return {symbol: potential.digest for symbol, potential in potentials.items()}


def _kept(
    path: Path, name: str, engine: PlaneWave, digests: Mapping[str, str], atoms: Atoms, electron_temperature: float
) -> Outcome | None:
    """Returns the outcome for a file that is there: kept, or failed if other settings made it; None to compute it."""
    if not path.exists():
        return None
    try:
        snapshot = Snapshot.load(path)
    except FileFormatError:
        return None
    made = snapshot.provenance
    compared = {
        "electron temperature": (snapshot.electron_temperature, electron_temperature),
        "functional": (snapshot.functional, functional(engine.xc).name),
        "cutoff": (made.get("cutoff_eV"), engine.cutoff),
        "k-mesh": (made.get("kpts"), list(engine.kpts)),
        "k-mesh shift": (made.get("shift"), list(engine.shift)),
        "energy spacing": (snapshot.energy_grid.spacing, engine.ldos.spacing),
        "broadening": (snapshot.broadening.standard_deviation, engine.ldos.broadening),
        "grid": (list(snapshot.grid.shape), list(engine.ldos.grid or snapshot.grid.shape)),
    }
    for symbol, digest in made.get("pseudopotentials", {}).items():
        compared[f"pseudopotential of {symbol}"] = (digest["sha256"][:12], digests.get(symbol, "none")[:12])
    for what, (got, wanted) in compared.items():
        if got != wanted:
            error = f"{path}: made with {what} {got}, now {wanted} is wanted; choose another folder or remove the file"
            return Outcome(name, path, "failed", error=error)
    if not _same_structure(snapshot.atoms, atoms):
        error = f"{path}: holds another structure than {name}; choose another folder or remove the file"
        return Outcome(name, path, "failed", error=error)
    return Outcome(name, path, "kept", snapshot)


def _same_structure(one: Atoms, other: Atoms) -> bool:
    return (
        len(one) == len(other)
        and bool((one.numbers == other.numbers).all())
        and np.allclose(one.positions, other.positions, rtol=0, atol=1e-6)
        and np.allclose(one.cell.array, other.cell.array, rtol=0, atol=1e-6)
    )


def _check_number(name: str, value: Any) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise InputError(f"{name}: got {value!r}, expected a number")


def _numbers(name: str, values: Any, length: int) -> tuple[Any, ...]:
    kind: type | Any = float | int if name == "energy_window" else int
    good = isinstance(values, list | tuple) and len(values) == length
    if not good or any(isinstance(x, bool) or not isinstance(x, kind) for x in values):
        raise InputError(f"{name}: got {values!r}, expected {length} {'numbers' if length == 2 else 'integers'}")
    return tuple(values)
