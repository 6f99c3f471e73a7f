"""The run of a campaign: what is there is kept, what is missing is computed, failures are remembered."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms

from fermisea.campaign.cluster import on_cluster
from fermisea.campaign.job import Job, Watch, closure_error, compute, snapshot_path, stamp
from fermisea.campaign.processes import in_processes
from fermisea.campaign.records import Record, Records
from fermisea.data.snapshot import Snapshot
from fermisea.engines import Engine
from fermisea.errors import FileFormatError, InputError
from fermisea.grid import EnergyGrid
from fermisea.units import thermal_energy
from fermisea.utilities.files import check_writable_folder

Scheduler = Literal["local", "dask"]


@dataclass(frozen=True)
class Outcome:
    """What became of one structure.

    Attributes:
        name: of the structure.
        path: of its snapshot file.
        status: "computed", "kept" (a valid file was there) or "failed".
        record: SCF iterations, time, closure error.
        snapshot: the result, unless it failed; its LDOS lies in the file.
        error: why it failed.
    """

    name: str
    path: Path
    status: Literal["computed", "kept", "failed"]
    record: Record
    snapshot: Snapshot | None = None
    error: str | None = None

    @property
    def seconds(self) -> float:
        """Time that the computation took, in this run or an earlier one."""
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
    watch: Watch | None = None,
    end: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Computes the snapshots that ``folder`` lacks and returns what became of each structure, in order.

    A valid file of an earlier run with the same settings is kept; a truncated or altered one is computed anew. Unless
    the engine has a fixed energy grid, all take that of the first snapshot, which is therefore computed alone. A
    structure that fails does not stop the others. However the run ends, by Ctrl-C, a killed process or a lost machine,
    the same call goes on with the structures that are left.

    Args:
        engine: with its settings.
        structures: by name, which names the files.
        electron_temperature: tau_ref, K.
        folder: for the files; made if need be.
        workers: structures computed at once; with one and no Dask, in this process.
        scheduler: "local" for processes of this machine, "dask" for a Dask cluster.
        address: of the Dask scheduler or its scheduler file; without, a cluster is started on this machine.
        retry: compute again what failed for a reason of its own, such as a cycle that did not converge; what failed
            because a code crashed or was killed is always computed again.
        watch: is told where running structures are.
        end: is told what became of each structure.

    Raises:
        InputError: before anything is written, if a pseudopotential or the electronic temperature cannot be used, the
            folder cannot be written to, or another campaign is at work there.
        StorageError: if the disk is full; finished files stay.
    """
    thermal_energy(electron_temperature)
    if workers < 1:
        raise InputError(f"workers: got {workers}, expected at least 1")
    settings = engine.provenance([symbol for atoms in structures.values() for symbol in dict.fromkeys(atoms.symbols)])
    folder = check_writable_folder(folder)
    records = Records(folder)
    with records.only_one():
        records.clean()
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
            return in_processes(work, workers, watch)

        def follow(work: list[Job]) -> None:
            with closing(execute(work)) as finished:  # an interruption anywhere ends what runs
                for record in finished:
                    ended(_outcome(records, record))

        while left and grid is None:  # the first snapshot decides
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
    return Outcome(record.name, path, "computed", record, Snapshot.load(path, verify=False))


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
    """Returns the outcome of a structure that need not be computed; None for one that must be."""
    path, record = snapshot_path(records.folder, name), records.read(name)
    if not path.exists():
        if record is not None and record.status == "failed" and record.kind == "structure" and not retry:
            return Outcome(name, path, "failed", record, error=record.error)
        return None
    trusted = record is not None and record.stamp == stamp(path)
    try:
        snapshot = Snapshot.load(path, verify=not trusted)
    except FileFormatError:
        return None
    problem = _difference(path, snapshot, engine, settings, electron_temperature)
    if problem is None and not _same_structure(snapshot.atoms, atoms):
        problem = f"{path}: holds another structure than {name}; choose another folder or remove the file"
    if problem is not None:
        return Outcome(name, path, "failed", record or Record(name, "failed", atoms=len(atoms)), error=problem)
    if record is None or record.status != "done" or not trusted:
        energy = snapshot.reference.free_energy
        record = replace(record or Record(name, "done", atoms=len(atoms)), status="done", error=None, kind="")
        record = replace(record, free_energy=energy, closure_error=closure_error(snapshot), stamp=stamp(path))
        records.write(record)
    return Outcome(name, path, "kept", record, snapshot)


_WORDS = {"cutoff_eV": "cutoff", "kpts": "k-mesh", "shift": "k-mesh shift", "xc": "functional"}


def _difference(
    path: Path, snapshot: Snapshot, engine: Engine, settings: Mapping[str, Any], electron_temperature: float
) -> str | None:
    """Returns in what a snapshot differs from the settings of this campaign, if it does."""
    ldos, made = engine.ldos, snapshot.provenance
    compared = {
        "electron temperature": (snapshot.electron_temperature, electron_temperature),
        "energy spacing": (snapshot.energy_grid.spacing, (ldos.energy_grid or ldos).spacing),
        "broadening": (snapshot.broadening.standard_deviation, ldos.broadening),
        "grid": (list(snapshot.grid.shape), list(ldos.grid or snapshot.grid.shape)),
    }
    for key, wanted in settings.items():
        if key == "pseudopotentials":
            for symbol, used in made.get(key, {}).items():
                digest = wanted.get(symbol, {}).get("sha256", "none")
                compared[f"pseudopotential of {symbol}"] = (used["sha256"][:12], digest[:12])
        else:
            compared[_WORDS.get(key, key.replace("_", " "))] = (made.get(key), wanted)
    for what, (got, wanted) in compared.items():
        if got != wanted:
            return f"{path}: made with {what} {got}, now {wanted} is wanted; choose another folder or remove the file"
    return None


def _same_structure(one: Atoms, other: Atoms) -> bool:
    return (
        len(one) == len(other)
        and bool((one.numbers == other.numbers).all())
        and np.allclose(one.positions, other.positions, rtol=0, atol=1e-6)
        and np.allclose(one.cell.array, other.cell.array, rtol=0, atol=1e-6)
    )
