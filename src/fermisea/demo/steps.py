"""Expensive steps of the demonstration; each one resumes an earlier, interrupted run."""

from __future__ import annotations

import hashlib
import math
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from fermisea.campaign import Outcome, Record, run_campaign
from fermisea.data.dataset import Dataset
from fermisea.data.sampling import sample
from fermisea.data.snapshot import Snapshot
from fermisea.data.structures import read_structures, write_structure
from fermisea.demo.settings import DemoSettings
from fermisea.engines import PlaneWave, ScfStep
from fermisea.errors import InputError
from fermisea.model.loading import load_model
from fermisea.model.model import Model
from fermisea.training import TrainingState, train
from fermisea.utilities.arrays import FloatArray
from fermisea.utilities.files import atomic_path


@dataclass(frozen=True, eq=False)
class DftPoint:
    """A self-consistent run of the test structure.

    Attributes:
        electron_temperature: tau_e, K.
        free_energy: free energy of the cell, eV.
        fermi_level: mu, eV.
        density: (nx, ny, nz), 1/Angstrom^3.
    """

    electron_temperature: float
    free_energy: float
    fermi_level: float
    density: FloatArray


def make_structures(settings: DemoSettings, folder: Path, console: Console) -> tuple[dict[str, Atoms], Atoms]:
    """Returns the training structures by name, and the test structure."""
    crystal = bulk("Al", "fcc", a=settings.lattice_constant, cubic=True)
    numbers = dict(zip(settings.ion_temperatures, settings.snapshots, strict=True))
    numbers[settings.test_ion_temperature] = 1
    names = {t: [f"al-{t:g}K-{number}" for number in range(count)] for t, count in numbers.items()}
    for temperature, count in numbers.items():
        paths = [folder / f"{name}.extxyz" for name in names[temperature]]
        if all(path.exists() for path in paths):
            continue
        with _progress(console) as (bar, task):
            bar.update(task, description=f"tau_i = {temperature:g} K")
            trajectory = sample(
                crystal,
                temperature,
                count,
                seed=settings.seed,
                progress=lambda done, total, bar=bar, task=task: bar.update(task, completed=done, total=total),  # type: ignore[misc]
            )
        for path, frame in zip(paths, trajectory.frames, strict=True):
            write_structure(path, frame)
        console.print(
            f"  tau_i = {temperature:4g} K: mean temperature {trajectory.mean_temperature:4.0f} K, "
            f"mean square displacement {trajectory.mean_square_displacement:.4f} Å²"
        )
    found = read_structures(folder)
    training = {name: found[name] for t in settings.ion_temperatures for name in names[t]}
    console.print(f"  {len(training)} structures of {len(crystal)} atoms for training, one for the test, in {folder}")
    return training, found[names[settings.test_ion_temperature][0]]


def training_data(settings: DemoSettings, structures: dict[str, Atoms], folder: Path, console: Console) -> list[Path]:
    """Returns the snapshot file of each structure."""
    with _progress(console) as (bar, task):
        bar.update(task, total=len(structures))

        def end(outcome: Outcome) -> None:
            bar.advance(task)
            if outcome.snapshot is None:
                raise InputError(outcome.error or f"{outcome.name}: failed")
            energy = outcome.snapshot.reference.free_energy / len(outcome.snapshot.atoms)
            took = f"{outcome.seconds:.0f} s" if outcome.status == "computed" else "from an earlier run"
            console.print(f"  {outcome.name:10s} F = {energy:.5f} eV/atom ({took})")

        outcomes = run_campaign(
            settings.dft.make_engine(),
            structures,
            settings.reference_electron_temperature,
            folder,
            watch=lambda record: bar.update(task, description=record.name, note=_scf_note(record)),
            end=end,
        )
    return [outcome.path for outcome in outcomes]


def trained_model(settings: DemoSettings, files: Sequence[Path], path: Path, key: str, console: Console) -> Model:
    """Returns the model trained on ``files``, from ``path`` if it was made from the same files and settings."""
    digest = hashlib.sha256(key.encode())
    for file in files:
        digest.update(file.read_bytes())
    made_from = {"demo": digest.hexdigest()}
    try:
        model = load_model(path)
        if model.provenance.get("demo") == made_from["demo"]:
            console.print(f"  {path}: from an earlier run")
            return model
    except InputError:
        pass
    with _progress(console) as (bar, task):

        def show(state: TrainingState) -> None:
            note = "" if math.isnan(state.training_loss) else f"loss {state.training_loss:.2e}"
            bar.update(task, description=state.stage, completed=state.step, total=state.steps, note=note)
            if state.stage == "training" and not console.is_terminal and state.step % (state.steps // 10 or 1) == 0:
                console.print(f"  epoch {state.step} of {state.steps}, {note}")

        model = train(Dataset.load(list(files)), settings.training, progress=show)
    model = replace(model, provenance=model.provenance | made_from)
    model.save(path)
    console.print(
        f"  {model.descriptor.features} descriptors, {sum(p.numel() for p in model.network.parameters())} weights, "
        f"tau_e up to {model.highest_electron_temperature:.0f} K, in {path}"
    )
    return model


def dft_points(
    settings: DemoSettings, unseen: Snapshot, folder: Path, key: str, console: Console
) -> dict[float, DftPoint]:
    """Returns self-consistent DFT of the test structure at each tau_e; the result at tau_ref is the snapshot."""
    where = hashlib.sha256(key.encode() + unseen.atoms.positions.tobytes()).hexdigest()
    points = {}
    for temperature in sorted(settings.electron_temperatures):
        path = folder / f"{temperature:g}K.npz"
        if temperature == unseen.electron_temperature:
            reference = unseen.reference
            point = DftPoint(temperature, reference.free_energy, reference.fermi_level, unseen.density)
        elif (kept := _read_point(path, where)) is not None:
            point = kept
        else:
            with _progress(console) as (bar, task):
                bar.update(task, description=f"tau_e = {temperature:g} K")
                engine = settings.dft.make_engine()
                assert isinstance(engine, PlaneWave)  # noqa: S101  # so are the settings
                report = lambda scf, bar=bar, task=task: bar.update(task, note=_scf_note(scf))  # noqa: E731
                state = replace(engine, report=report).solve(unseen.atoms, temperature)
            point = DftPoint(temperature, state.reference.free_energy, state.reference.fermi_level, state.density)
            with atomic_path(path) as temporary, temporary.open("wb") as stream:
                np.savez(stream, key=where, **asdict(point))
        energy = point.free_energy / len(unseen.atoms)
        console.print(f"  tau_e = {temperature:5g} K: F = {energy:.5f} eV/atom, Fermi level {point.fermi_level:.4f} eV")
        points[temperature] = point
    return points


def _read_point(path: Path, key: str) -> DftPoint | None:
    """Returns the run in a file, or None if the file is missing, damaged, or has other settings."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as data:
            if str(data["key"]) != key:
                return None
            temperature, energy, level = (
                float(data[name]) for name in ("electron_temperature", "free_energy", "fermi_level")
            )
            return DftPoint(temperature, energy, level, data["density"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


@contextmanager
def _progress(console: Console) -> Iterator[tuple[Progress, TaskID]]:
    """Yields a progress bar with one task, which disappears at the end."""
    columns = (
        TextColumn("  {task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    note = TextColumn("{task.fields[note]}", style="dim", markup=False)
    with Progress(*columns, note, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield bar, bar.add_task("", total=None, note="")


def _scf_note(scf: ScfStep | Record) -> str:
    if scf.free_energy is None or scf.residual is None:
        return "starts"
    return f"iteration {scf.iteration}, F = {scf.free_energy:.4f} eV, residual {scf.residual:.0e} eV/atom"
