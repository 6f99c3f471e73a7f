"""Structures and snapshots of the study; results of an earlier, interrupted run are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar, get_args

from ase import Atoms

from fermisea.campaign import Outcome, Record, run_campaign
from fermisea.data.structures import read_structure, write_structure
from fermisea.errors import InputError
from fermisea.studies.ahead import compute_ahead
from fermisea.studies.aluminium.kinds import Kind, Part, Sampler
from fermisea.studies.aluminium.meshes import Mesh
from fermisea.studies.aluminium.settings import AluminiumSettings

ROUND = 16
"""Number of structures in one round, after which all its snapshots are complete."""

PARTS: tuple[Part, ...] = ("training", "test")


_Named = TypeVar("_Named", Record, Outcome)


@dataclass(frozen=True)
class Member:
    """One structure of the study.

    Attributes:
        kind: its kind.
        part: training or test.
        number: number within kind and part.
    """

    kind: Kind
    part: Part
    number: int

    @property
    def name(self) -> str:
        """Name of the structure and of its files."""
        return self.kind.name_of(self.part, self.number)

    @property
    def position(self) -> float:
        """Position in the order of the calculations, from 0 to 1."""
        return (self.number + 0.5) / self.kind.count(self.part)


def members(settings: AluminiumSettings, rounds: int | None = None, sampler: Sampler | None = None) -> list[Member]:
    """Returns the structures in the order of the calculations.

    After any number of rounds, about the same fraction of every kind and part is complete.

    Args:
        settings: settings of the study.
        rounds: number of rounds of each sampler; None for all.
        sampler: sampler of the structures; None for all.
    """
    if sampler is None:
        return [member for each in get_args(Sampler) for member in members(settings, rounds, each)]
    kinds = [kind for kind in settings.kinds if kind.sampler == sampler]
    found = [Member(kind, part, n) for kind in kinds for part in PARTS for n in range(kind.count(part))]
    ordered = sorted(found, key=lambda member: member.position)
    return ordered if rounds is None else ordered[: ROUND * rounds]


def make_structures(
    settings: AluminiumSettings,
    chosen: Sequence[Member],
    folder: Path,
    *,
    calculator: Callable[[], Any],
    workers: int = 1,
    done: Callable[[], None],
) -> dict[str, Atoms]:
    """Returns structures by name; structures missing in the folder are sampled.

    Args:
        settings: settings of the study.
        chosen: the structures.
        folder: folder of the files.
        calculator: function that returns the ASE calculator of the molecular dynamics, or its name; called only if
            structures are missing.
        workers: number of structures sampled at once.
        done: callback after each structure.
    """
    missing = {member.name for member in chosen if not _file(folder, member.name).exists()}
    used = calculator() if missing else None
    jobs = {member.name: partial(_structure, settings, member, folder, used) for member in chosen}
    compute_ahead([job for name, job in jobs.items() if name in missing], workers, lambda: None)
    found = {}
    for name, job in jobs.items():
        found[name] = job()
        done()
    return found


def _structure(settings: AluminiumSettings, member: Member, folder: Path, calculator: Any) -> Atoms:
    path = _file(folder, member.name)
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        constant, seed = settings.lattice_constant, settings.seed
        write_structure(path, member.kind.structure(member.part, member.number, constant, seed, calculator))
    return read_structure(path)


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.extxyz"


def run_dft(
    settings: AluminiumSettings,
    chosen: Sequence[Member],
    structures: Mapping[str, Atoms],
    folder: Path,
    *,
    workers: int = 1,
    watch: Callable[[Record], None],
    end: Callable[[Outcome], None],
) -> None:
    """Computes the missing snapshots at every tau_ref, in rounds of a few structures of every kind.

    Args:
        settings: settings of the study.
        chosen: the structures, in order.
        structures: their atoms by name.
        folder: folder of the snapshots; see :func:`snapshot_folder`.
        workers: number of structures computed at once.
        watch: callback after every SCF iteration; the name of the structure is followed by tau_ref.
        end: callback with the result of each structure, named in the same way.

    Raises:
        InputError: if structures fail, after all others are done, or if a folder has snapshots with other settings.
    """
    failed: list[str] = []
    number = 0
    for tau_ref, part, kpts, names in _calculations(settings, chosen):
        outcomes = run_campaign(
            settings.campaign(tau_ref, kpts).make_engine(),
            {name: structures[name] for name in names},
            tau_ref,
            snapshot_folder(folder, part, tau_ref, kpts),
            workers=workers,
            retry=True,
            watch=_with_temperature(watch, tau_ref),
            end=_with_temperature(end, tau_ref),
        )
        number += len(outcomes)
        failed += [
            f"{outcome.name} at {tau_ref:g} K: {outcome.error}" for outcome in outcomes if outcome.status == "failed"
        ]
    if failed:
        raise InputError(f"DFT: {len(failed)} of {number} runs failed, the first is {failed[0]}")


def _with_temperature(callback: Callable[[_Named], None], tau_ref: float) -> Callable[[_Named], None]:
    """Returns a callback that adds tau_ref (K) to the name of the structure."""
    return lambda item: callback(replace(item, name=f"{item.name} at {tau_ref:g} K"))


def snapshot_folder(folder: Path, part: Part, tau_ref: float, kpts: Mesh) -> Path:
    """Returns the folder of the snapshots of a part with one tau_ref and k-mesh, such as ``training/1000K/4x4x4``."""
    return folder / part / f"{tau_ref:g}K" / "x".join(map(str, kpts))


def snapshot_files(settings: AluminiumSettings, folder: Path, part: Part, tau_ref: float) -> dict[str, Path]:
    """Returns the existing snapshot files of a part at one tau_ref by name of the structure."""
    named = {
        member.name: snapshot_folder(folder, part, tau_ref, member.kind.mesh(tau_ref)) / f"{member.name}.nc"
        for member in members(settings)
        if member.part == part
    }
    return {name: path for name, path in named.items() if path.exists()}


def _calculations(
    settings: AluminiumSettings, order: Sequence[Member]
) -> Iterator[tuple[float, Part, Mesh, list[str]]]:
    """Yields tau_ref, part, k-mesh and names of structures for each campaign, in order."""
    temperatures = [item.electron_temperature for item in settings.reference_temperatures]
    for start in range(0, len(order), ROUND):
        for tau_ref in temperatures:
            for part, kpts, names in _groups(order[start : start + ROUND], tau_ref):
                yield tau_ref, part, kpts, names


def _groups(chosen: Iterable[Member], tau_ref: float) -> Iterator[tuple[Part, Mesh, list[str]]]:
    def group(member: Member) -> tuple[int, Mesh]:
        return PARTS.index(member.part), member.kind.mesh(tau_ref)

    for (part, kpts), found in groupby(sorted(chosen, key=group), key=group):
        yield PARTS[part], kpts, [member.name for member in found]
