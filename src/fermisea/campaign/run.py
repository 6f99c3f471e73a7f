"""Run of a campaign: existing snapshots are kept, missing ones are computed, failures are recorded."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms

from fermisea.campaign.cluster import on_cluster
from fermisea.campaign.job import Job, Watch, compute, known_closure_error, reason, snapshot_path, stamp
from fermisea.campaign.processes import on_this_machine
from fermisea.campaign.records import Record, Records
from fermisea.data.snapshot import Snapshot
from fermisea.engines import Engine
from fermisea.errors import DamagedFileError, FermiseaError, FileFormatError, InputError
from fermisea.grid import EnergyGrid
from fermisea.physics.window import warn_of_unit
from fermisea.pseudopotentials.frozen import warn_of_ionised_cores
from fermisea.utilities.files import check_writable_folder, readable

Scheduler = Literal["local", "dask"]

_BAD = (FermiseaError, OSError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""Errors from the content of an existing file."""


@dataclass(frozen=True)
class Outcome:
    """Result of one structure.

    Attributes:
        name: name of the structure.
        path: path of its snapshot file.
        status: "computed", "kept" (a valid file existed) or "failed".
        record: SCF iterations, time, closure error.
        snapshot: the snapshot, unless the computation failed; its LDOS is in the file.
        error: reason of a failure.
    """

    name: str
    path: Path
    status: Literal["computed", "kept", "failed"]
    record: Record
    snapshot: Snapshot | None = None
    error: str | None = None

    @property
    def seconds(self) -> float:
        """Time of the computation, in this run or an earlier one, s."""
        return self.record.seconds


def run_campaign(
    engine: Engine,
    structures: Mapping[str, Atoms],
    electron_temperature: float,
    folder: str | Path,
    *,
    workers: int = 1,
    scheduler: Scheduler = "local",
    address: str | None = None,
    retry: bool = False,
    begin: Callable[[], None] | None = None,
    watch: Watch | None = None,
    end: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Computes the snapshots missing in ``folder`` and returns the result of each structure, in order.

    A valid file of an earlier run with the same settings is kept; a truncated or altered snapshot is computed again. A
    file that cannot be read now, or is no snapshot of this campaign, is never replaced: its structure fails. Unless the
    engine has a fixed energy grid, all structures use the grid of the first snapshot, which is therefore computed
    alone. A structure that fails does not stop the others. After any interruption, by Ctrl-C, a killed process or a
    lost machine, the same call computes the remaining structures.

    Args:
        engine: DFT engine with its settings.
        structures: structures by name; the name of a structure is also its file name.
        electron_temperature: tau_ref, K.
        folder: folder of the snapshot files; created if necessary.
        workers: number of structures computed at once; one structure without Dask is computed in this process.
        scheduler: "local" for processes of this machine, "dask" for a Dask cluster.
        address: address of the Dask scheduler or its scheduler file; by default a cluster is started on this machine.
        retry: whether structures whose calculation failed, for example by lack of convergence, are computed again;
            structures that failed because a code crashed or was killed are always computed again.
        begin: callback once the settings have been checked, before the first structure.
        watch: callback with the progress of running structures.
        end: callback with the result of each structure.

    Raises:
        InputError: before anything is written, if a pseudopotential or the electronic temperature is invalid, the
            folder cannot be written to, or another campaign is running in it.
        StorageError: if the disk is full; finished files are kept.
    """
    warn_of_unit(electron_temperature)
    if workers < 1:
        raise InputError(f"workers: got {workers}, expected at least 1")
    symbols = [symbol for atoms in structures.values() for symbol in dict.fromkeys(atoms.symbols)]
    engine = engine.for_elements(symbols)
    settings = engine.provenance(symbols)
    used = settings.get("pseudopotentials", {})
    warn_of_ionised_cores(
        {symbol: entry["valence"] for symbol, entry in used.items() if "valence" in entry}, electron_temperature
    )
    folder = check_writable_folder(folder)
    records = Records(folder)
    with records.only_one():
        records.clean()
        if begin is not None:
            begin()
        outcomes: dict[str, Outcome] = {}
        grid = engine.ldos.energy_grid

        def ended(outcome: Outcome) -> None:
            nonlocal grid
            outcomes[outcome.name] = outcome
            if grid is None and outcome.snapshot is not None:
                grid = outcome.snapshot.energy_grid
            if end is not None:
                end(outcome)

        left = []
        for name, atoms in structures.items():
            known = _known(records, name, atoms, engine, settings, electron_temperature, retry=retry)
            if known is None:
                left.append(name)
            else:
                ended(known)

        def jobs(names: list[str]) -> list[Job]:
            chosen = _with_grid(engine, grid)
            return [Job(name, structures[name], chosen, electron_temperature, folder) for name in names]

        def execute(work: list[Job]) -> Generator[Record]:
            if scheduler == "dask":
                return on_cluster(work, workers, address, watch)
            if workers == 1:
                return (compute(job, watch) for job in work)
            return on_this_machine(work, workers, watch)

        def follow(work: list[Job]) -> None:
            with closing(execute(work)) as finished:  # an interruption ends all running computations
                for record in finished:
                    ended(_outcome(records, record))

        while left and grid is None:  # the first snapshot sets the energy grid
            follow(jobs([left.pop(0)]))
        if left:
            follow(jobs(left))
    return [outcomes[name] for name in structures]


def _with_grid(engine: Engine, grid: EnergyGrid | None) -> Engine:
    if grid is None or engine.ldos.energy_grid is not None:
        return engine
    return replace(engine, ldos=replace(engine.ldos, energy_grid=grid))  # type: ignore[type-var]


def _outcome(records: Records, record: Record) -> Outcome:
    path = snapshot_path(records.folder, record.name)
    if record.status == "failed":
        return Outcome(record.name, path, "failed", record, error=record.error)
    try:
        return Outcome(record.name, path, "computed", record, Snapshot.load(path, verify=False))
    except FermiseaError as error:
        return Outcome(record.name, path, "failed", record, error=str(error))


def _known(
    records: Records,
    name: str,
    atoms: Atoms,
    engine: Engine,
    settings: Mapping[str, Any],
    electron_temperature: float,
    *,
    retry: bool,
) -> Outcome | None:
    """Returns the result of a structure that is not to be computed; None for a structure to compute."""
    path = snapshot_path(records.folder, name)
    try:
        record = records.read(name)
        with readable(path):
            exists = path.exists()
        if not exists:
            if record is not None and record.status == "failed" and record.kind == "structure" and not retry:
                return Outcome(name, path, "failed", record, error=record.error)
            return None
        trusted = record is not None and record.stamp == stamp(path)
        snapshot = _loaded(path, trusted=trusted)
        problem = _difference(path, snapshot, engine, settings, electron_temperature)
        if problem is None and not _same_structure(snapshot.atoms, atoms):
            problem = f"{path}: holds a different structure, expected {name}; choose another folder or remove the file"
        if problem is not None:
            raise InputError(problem)
        if record is None or record.status != "done" or not trusted:
            energy, closure = snapshot.reference.free_energy, known_closure_error(snapshot)
            changed = replace(record or Record(name, "done", atoms=len(atoms)), status="done", error=None, kind="")
            changed = replace(changed, free_energy=energy, closure_error=closure, stamp=stamp(path))
        else:
            changed = record
    except DamagedFileError:
        return None
    except _BAD as error:  # a bad file stops its own structure only
        text, _ = reason(error)
        named = text if str(path) in text else f"{path}: {text}; choose another folder or remove the file"
        return Outcome(name, path, "failed", Record(name, "failed", atoms=len(atoms), error=named), error=named)
    if changed != record:
        records.write(changed)
    return Outcome(name, path, "kept", changed, snapshot)


def _loaded(path: Path, *, trusted: bool) -> Snapshot:
    """Returns an existing snapshot; the content of a file that was verified before is not verified again."""
    try:
        return Snapshot.load(path, verify=not trusted)
    except FileFormatError:
        if not trusted:
            raise
        return Snapshot.load(path, verify=True)  # tells a damaged file from another kind


_WORDS = {
    "cutoff_eV": "cutoff",
    "kpts": "k-mesh",
    "k_spacing_per_A": "k-spacing",
    "shift": "k-mesh shift",
    "xc": "functional",
}


def _difference(
    path: Path, snapshot: Snapshot, engine: Engine, settings: Mapping[str, Any], electron_temperature: float
) -> str | None:
    """Returns the difference between a snapshot and the settings of this campaign, if any."""
    ldos, made = engine.ldos.chosen(electron_temperature), snapshot.provenance
    compared = {
        "electron temperature": (snapshot.electron_temperature, electron_temperature),
        "energy spacing": (snapshot.energy_grid.spacing, ldos.spacing),
        "broadening": (snapshot.broadening.standard_deviation, ldos.broadening),
        "grid": (list(snapshot.grid.shape), list(ldos.grid or snapshot.grid.shape)),
    }
    for key, wanted in settings.items():
        if key == "pseudopotentials":
            for symbol, used in made.get(key, {}).items():
                digest = wanted.get(symbol, {}).get("sha256", "none")
                compared[f"pseudopotential of {symbol}"] = (used["sha256"][:12], digest[:12])
        else:
            got = made.get(key)
            if got is None and key == "k_spacing_per_A":
                got = f"unknown (k-mesh {made.get('kpts')})"
            compared[_WORDS.get(key, key.replace("_", " "))] = (got, wanted)
    for what, (got, wanted) in compared.items():
        if got != wanted:
            return f"{path}: made with {what} {got}, expected {wanted}; choose another folder or remove the file"
    return None


def _same_structure(one: Atoms, other: Atoms) -> bool:
    return (
        len(one) == len(other)
        and bool((one.numbers == other.numbers).all())
        and np.allclose(one.positions, other.positions, rtol=0, atol=1e-6)
        and np.allclose(one.cell.array, other.cell.array, rtol=0, atol=1e-6)
    )
