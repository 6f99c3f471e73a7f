"""The complete study of aluminium, which resumes after an interruption."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

from ase import Atoms
from rich.console import Console

from fermisea.campaign import Outcome
from fermisea.data.dataset import Dataset
from fermisea.data.snapshot import Snapshot
from fermisea.errors import InputError
from fermisea.model.model import Model
from fermisea.networks.precision import chosen_precision
from fermisea.potential.calculator import PotentialCalculator
from fermisea.report import write_report
from fermisea.studies.ahead import compute_ahead
from fermisea.studies.aluminium.data import PARTS, Member, make_structures, members, run_dft, snapshot_files
from fermisea.studies.aluminium.errors import hot_rows, snapshot_rows
from fermisea.studies.aluminium.kinds import Part, Sampler
from fermisea.studies.aluminium.predicted import model_results, without_pulay
from fermisea.studies.aluminium.probes import Probe, probes
from fermisea.studies.aluminium.properties import Key, Result
from fermisea.studies.aluminium.references import reference
from fermisea.studies.aluminium.results import Results, write_results
from fermisea.studies.aluminium.settings import AluminiumSettings
from fermisea.studies.folder import Rows, claim_folder
from fermisea.studies.training import train_or_load
from fermisea.terminal import CampaignView, progress_bar
from fermisea.training.potential import fit_anchor
from fermisea.utilities.devices import device_of

_FREE = ("training", "references", "hot")
"""Settings that may change, because the results that depend on them store their origin."""

NAME = "aluminium"
"""Name of the model and its file."""

References = Mapping[Key, Result]
"""Self-consistent runs by name of the structure and tau_e."""


def run_aluminium(
    settings: AluminiumSettings,
    out: Path,
    console: Console,
    *,
    workers: int = 1,
    rounds: int | None = None,
    device: str = "cpu",
) -> Path:
    """Runs the study in the folder ``out`` and returns its report.

    Args:
        settings: settings of the study.
        out: folder; results of an earlier run with the same settings are kept.
        console: console for the progress.
        workers: number of DFT calculations at once, each in its own process.
        rounds: number of rounds of structures, each with a few of every kind; None for all. Another call with more
            rounds adds structures and trains again.
        device: device of training and predictions.

    Raises:
        InputError: if the device is not available, the folder holds a study with other settings or cannot be written
            to, or DFT runs fail.
        ConvergenceError: if a self-consistent run does not converge.
    """
    if rounds is not None and rounds < 1:
        raise InputError(f"rounds: got {rounds}, expected at least 1")
    device_of(device)  # refuses a wrong one before the long computation
    claim_folder(out, settings, _FREE)
    structures: dict[str, Atoms] = {}
    times: Rows = []
    for number, sampler in enumerate(get_args(Sampler), start=1):
        chosen = members(settings, rounds, sampler)
        if not chosen:
            continue
        with _step(console, number, f"structures from molecular dynamics ({sampler}), and DFT at every tau_ref"):
            calculator = partial(_calculator, settings, sampler, out / "data")
            structures |= _structures(settings, chosen, calculator, out / "structures", console, workers)
            times += _run_dft(settings, chosen, structures, out / "data", console, workers)
    with _step(console, 3, "self-consistent DFT at other electronic temperatures"):
        perfect, hot = (
            probes(settings.lattice_constant, settings.kpts, settings.references),
            _hot_probes(settings, structures),
        )
        runs = _references(settings, [*perfect, *hot], out / "references", console, workers)
    with _step(console, 4, "training"):
        model = _model(settings, out, console, device)
    with _step(console, 5, "errors on test structures"):
        errors, hot_errors = _errors(settings, model, runs, hot, out, console)
        predicted = model_results(model, perfect)
        dft = {(p.name, t): without_pulay(model, runs[p.name, t], p.atoms, t) for p, t in _pairs(perfect)}
    with _step(console, 6, "tables, figures, report"):
        data = {str(part): _files(settings, out, part) for part in PARTS}
        write_results(out, settings, Results(model, data, errors, hot_errors, perfect, dft, predicted, times))
        return write_report(out)


def _structures(
    settings: AluminiumSettings,
    chosen: Sequence[Member],
    calculator: Callable[[], Any],
    folder: Path,
    console: Console,
    workers: int,
) -> dict[str, Atoms]:
    with progress_bar(console) as bar:
        task = bar.add_task("structures", total=len(chosen), note="")
        return make_structures(
            settings, chosen, folder, calculator=calculator, workers=workers, done=lambda: bar.advance(task)
        )


def _calculator(settings: AluminiumSettings, sampler: Sampler, folder: Path) -> Any:
    """Returns EMT, or the potential at the lowest tau_ref, fitted to the training snapshots so far."""
    if sampler == "emt":
        return "emt"
    tau_ref = settings.reference_temperatures[0].electron_temperature
    files = snapshot_files(settings, folder, "training", tau_ref)
    return PotentialCalculator(fit_anchor(Dataset.load(list(files.values()), verify=False), settings.training))


def _run_dft(
    settings: AluminiumSettings,
    chosen: Sequence[Member],
    structures: Mapping[str, Atoms],
    folder: Path,
    console: Console,
    workers: int,
) -> Rows:
    """Computes the missing snapshots; returns atoms, tau_e (K) and time (s) of each calculation."""
    number, times = len(chosen) * len(settings.reference_temperatures), []
    with CampaignView(console, number, workers) as view:

        def end(outcome: Outcome) -> None:
            if outcome.snapshot is not None:
                times.append(
                    {
                        "atoms": len(outcome.snapshot.atoms),
                        "electron_temperature": outcome.snapshot.electron_temperature,
                        "seconds": outcome.seconds,
                    }
                )
            view.end(outcome)

        run_dft(settings, chosen, structures, folder, workers=workers, watch=view.watch, end=end)
    return times


def _hot_probes(settings: AluminiumSettings, structures: Mapping[str, Atoms]) -> list[Probe]:
    """Returns the test structures of the settings ``hot`` that the rounds so far have."""
    kinds = {kind.name: kind for kind in settings.kinds}
    named = [(kinds[runs.kind].name_of("test", n), runs) for runs in settings.hot for n in range(runs.structures)]
    return [
        Probe("hot", name, structures[name], runs.kpts, runs.electron_temperatures)
        for name, runs in named
        if name in structures
    ]


def _pairs(chosen: Sequence[Probe]) -> Iterator[tuple[Probe, float]]:
    for probe in chosen:
        for tau_e in probe.electron_temperatures:
            yield probe, tau_e


def _references(
    settings: AluminiumSettings, chosen: Sequence[Probe], folder: Path, console: Console, workers: int
) -> References:
    jobs = {
        (probe.name, tau_e): partial(
            reference, replace(settings.dft, kpts=probe.kpts), probe.name, probe.atoms, tau_e, folder
        )
        for probe, tau_e in _pairs(chosen)
    }
    found = {}
    with progress_bar(console) as bar:
        task = bar.add_task("runs", total=len(jobs), note="")
        compute_ahead(list(jobs.values()), workers, lambda: bar.advance(task))
        bar.update(task, completed=0)
        for (name, tau_e), job in jobs.items():
            bar.update(task, note=f"{name} at {tau_e:g} K")
            found[name, tau_e] = job()
            bar.advance(task)
    return found


def _files(settings: AluminiumSettings, out: Path, part: Part) -> dict[Path, Snapshot]:
    """Returns the snapshots of a part at every tau_ref by file."""
    return {
        path: Snapshot.load(path, verify=False)
        for item in settings.reference_temperatures
        for path in snapshot_files(settings, out / "data", part, item.electron_temperature).values()
    }


def _model(settings: AluminiumSettings, out: Path, console: Console, device: str) -> Model:
    """Returns the model, trained or from the folder."""
    precision = chosen_precision(settings.training.precision, device_of(device))
    files = [
        path
        for item in settings.reference_temperatures
        for path in snapshot_files(settings, out / "data", "training", item.electron_temperature).values()
    ]
    with progress_bar(console) as bar:
        task = bar.add_task("training", total=None, note="")
        return train_or_load(
            NAME,
            replace(settings.training, precision=precision),
            files,
            out,
            lambda state: bar.update(task, description=state.stage, completed=state.step, total=state.steps),
            device=device,
        )


def _errors(
    settings: AluminiumSettings, model: Model, runs: References, hot: Sequence[Probe], out: Path, console: Console
) -> tuple[Rows, Rows]:
    """Returns the rows of all test structures, and of their runs at other tau_e."""
    snapshots: dict[str, list[Snapshot]] = {}
    for path, snapshot in _files(settings, out, "test").items():
        snapshots.setdefault(path.stem, []).append(snapshot)
    hotter = {probe.name: probe.electron_temperatures for probe in hot}
    errors: Rows = []
    hot_errors: Rows = []
    with progress_bar(console) as bar:
        task = bar.add_task("structures", total=len(snapshots), note="")
        for name, own in snapshots.items():
            bar.update(task, note=name)
            errors += snapshot_rows(model, name, own, out / "errors")
            if name in hotter:
                known = {tau_e: runs[name, tau_e] for tau_e in hotter[name]}
                hot_errors += hot_rows(model, name, own, known, out / "errors")
            bar.advance(task)
    return errors, hot_errors


@contextmanager
def _step(console: Console, number: int, title: str) -> Iterator[None]:
    console.print(f"{number}/6  {title}", style="bold")
    yield
