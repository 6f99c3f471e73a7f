"""The complete study, which resumes after an interruption."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from fermisea.data.dataset import Dataset
from fermisea.data.snapshot import Snapshot
from fermisea.errors import ConvergenceError, InputError
from fermisea.model.loading import load_model
from fermisea.model.model import Model
from fermisea.networks.precision import chosen_precision
from fermisea.report import write_report
from fermisea.studies.ahead import compute_ahead
from fermisea.studies.folder import Rows, claim_folder
from fermisea.studies.training import train_or_load
from fermisea.studies.transfer.data import Structures, make_structures, name_of, run_dft
from fermisea.studies.transfer.errors import evaluated, transferred
from fermisea.studies.transfer.plans import plans
from fermisea.studies.transfer.references import Reference, reference
from fermisea.studies.transfer.results import Results, write_results
from fermisea.studies.transfer.settings import TransferSettings
from fermisea.studies.transfer.size import k_mesh_difference, size_errors
from fermisea.terminal import CampaignView, progress_bar
from fermisea.utilities.devices import device_of

_PARTS = ("training", "scaled", "test", "large")
_FREE = ("training", "combinations", "references")
"""Settings that may change, because the results that depend on them store their origin."""


def run_transfer(
    settings: TransferSettings, out: Path, console: Console, *, workers: int = 1, device: str = "cpu"
) -> Path:
    """Runs the study in the folder ``out`` and returns its report.

    Args:
        settings: settings of the study.
        out: folder; results of an earlier run with the same settings are kept.
        console: console for the progress.
        workers: number of DFT calculations, trainings or evaluations at once, each in its own process.
        device: device of training and predictions.

    Raises:
        InputError: if the device is not available, the folder holds a study with other settings or cannot be written
            to, DFT runs fail, or their energy window is too small for the references.
        ConvergenceError: if self-consistent runs do not converge, after all others are done.
    """
    device_of(device)  # refuses a wrong one before the long computation
    claim_folder(out, settings, _FREE)
    with _step(console, 1, "structures from molecular dynamics"), progress_bar(console) as bar:
        tasks: dict[str, Any] = {}

        def show(title: str, done: int, total: int) -> None:
            if title not in tasks:
                tasks[title] = bar.add_task(title, total=total, note="")
            bar.update(tasks[title], completed=done)

        structures = make_structures(settings, out / "structures", show)
    with _step(console, 2, f"DFT at tau_ref = {settings.reference_electron_temperature:g} K"):
        number = sum(len(found) for found in structures.parts().values())
        with CampaignView(console, number, workers) as view:
            run_dft(settings, structures, out / "data", workers=workers, watch=view.watch, end=view.end)
        data = {part: _loaded(out / "data" / part) for part in _PARTS if structures.parts()[part]}
        _check_window(settings, data["test"])
    with _step(console, 3, "self-consistent DFT at other electronic temperatures"):
        references = _references(settings, structures, out, console)
    with _step(console, 4, "training"):
        models = _models(settings, out, workers, console, device)
    with _step(console, 5, "errors on test structures"):
        evaluations, comparisons = _errors(settings, models, data["test"], references, out, workers, console, device)
        sizes = _sizes(settings, models, data["large"][0], out, console) if "large" in data else []
    with _step(console, 6, "tables, figures, report"):
        write_results(out, settings, Results(data, references, models, evaluations, comparisons, sizes))
        return write_report(out)


def _loaded(folder: Path) -> Dataset:
    return Dataset.load(folder, verify=False)


def _check_window(settings: TransferSettings, tests: Dataset) -> None:
    wanted = max((electron for electron, _ in settings.references), default=0.0)
    served = min(snapshot.highest_electron_temperature for snapshot in tests)
    if wanted > served:
        raise InputError(
            f"references: got {wanted:g} K, but the energy window of the data is valid up to {served:g} K; request a "
            "lower temperature, or start another study with a wider energy_window"
        )


def _references(settings: TransferSettings, structures: Structures, out: Path, console: Console) -> list[Reference]:
    found: list[Reference] = []
    failed: dict[str, ConvergenceError] = {}
    with progress_bar(console) as bar:
        task = bar.add_task("runs", total=len(settings.references), note="")
        for electron, ion in settings.references:
            atoms = next(atoms for atoms in structures.test.values() if atoms.info["ion_temperature"] == ion)
            name = name_of(atoms, ion, 0)
            try:
                run = reference(
                    settings.dft,
                    name,
                    structures.test[name],
                    electron,
                    out / "references",
                    lambda scf, name=name, electron=electron: bar.update(  # type: ignore[misc]
                        task, note=f"{name} at {electron:g} K, iteration {scf.iteration}, residual {scf.residual:.0e}"
                    ),
                )
            except ConvergenceError as error:
                failed[f"{name} at {electron:g} K"] = error
                continue
            found.append(run)
            bar.advance(task)
            energy = run.free_energy / len(atoms)
            console.print(f"  {name} at tau_e = {electron:g} K: F = {energy:.5f} eV/atom", soft_wrap=True)
    if failed:
        (run_name, first), count = next(iter(failed.items())), len(settings.references)
        raise ConvergenceError(
            f"DFT: {len(failed)} of {count} runs did not converge, the first is {run_name}: {first}", first.history
        )
    return found


def _models(settings: TransferSettings, out: Path, workers: int, console: Console, device: str) -> dict[str, Model]:
    found = {}
    chosen = plans(settings)
    files = {plan.name: [out / "data" / f"{name}.nc" for name in plan.structures] for plan in chosen}
    # a warning about the processor is given once here, not by each process
    precision = chosen_precision(settings.training.precision, device_of(device))
    training, folder = replace(settings.training, precision=precision), out / "models"
    jobs = {
        plan.name: partial(train_or_load, plan.name, training, files[plan.name], folder, device=device)
        for plan in chosen
    }
    longest_first = sorted(chosen, key=lambda plan: len(plan.structures), reverse=True)
    with progress_bar(console) as bar:
        task = bar.add_task("models", total=len(chosen), note="")
        compute_ahead([jobs[plan.name] for plan in longest_first], workers, lambda: bar.advance(task))
        bar.update(task, completed=0)
        inner = bar.add_task("", total=None, note="")
        for plan in chosen:
            found[plan.name] = jobs[plan.name](
                lambda state, plan=plan: bar.update(  # type: ignore[misc]
                    inner, description=f"{plan.name}, {state.stage}", completed=state.step, total=state.steps
                )
            )
            bar.advance(task)
            console.print(f"  {plan.name}: {len(files[plan.name])} structures", soft_wrap=True)
    return found


def _errors(
    settings: TransferSettings,
    models: Mapping[str, Model],
    tests: Dataset,
    references: list[Reference],
    out: Path,
    workers: int,
    console: Console,
    device: str,
) -> tuple[dict[str, Rows], dict[str, Rows]]:
    at_reference = settings.reference_electron_temperature
    temperatures = sorted({at_reference, *(run.electron_temperature for run in references)})
    jobs = [partial(_judge, name, temperatures, references, at_reference, out, device) for name in models]
    evaluations, comparisons = {}, {}
    with progress_bar(console) as bar:
        task = bar.add_task("structures", total=len(models) * len(tests), note="")
        compute_ahead(jobs, workers, lambda: bar.advance(task, len(tests)))
        for index, (name, model) in enumerate(models.items()):
            before = index * len(tests)
            evaluations[name] = evaluated(
                name,
                model,
                tests,
                temperatures,
                out / "errors",
                lambda done, _, before=before, name=name: bar.update(task, completed=before + done, note=name),  # type: ignore[misc]
            )
            bar.update(task, completed=before + len(tests))
            comparisons[name] = transferred(name, model, tests, references, at_reference, out / "transfer")
    return evaluations, comparisons


def _judge(
    name: str, temperatures: list[float], references: list[Reference], at_reference: float, out: Path, device: str
) -> None:
    """Writes the errors of a model to the folder, from which they are read later."""
    model, tests = load_model(out / "models" / f"{name}.safetensors").to(device), _loaded(out / "data" / "test")
    evaluated(name, model, tests, temperatures, out / "errors")
    transferred(name, model, tests, references, at_reference, out / "transfer")


def _sizes(
    settings: TransferSettings, models: Mapping[str, Model], large: Snapshot, out: Path, console: Console
) -> Rows:
    found = []
    with progress_bar(console) as bar:
        task = bar.add_task("larger cell", total=len(models) + 1, note="perfect crystal with both k-meshes")
        mesh = k_mesh_difference(settings, out / "references" / "k-mesh.json")
        for name, model in models.items():
            bar.update(task, advance=1, note=name)
            found.append(size_errors(name, model, large, mesh, out / "size"))
        bar.advance(task)
    return found


@contextmanager
def _step(console: Console, number: int, title: str) -> Iterator[None]:
    console.print(f"{number}/6  {title}", style="bold")
    yield
