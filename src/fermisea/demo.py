"""The main job on real input: aluminium from sampling to free energies at temperatures that the training never saw.

``python -m fermisea.demo --out demo-output`` samples fcc aluminium at several ion temperatures, runs DFT at one
electronic temperature, trains a model, and compares its predictions for an unseen structure with self-consistent DFT
at each electronic temperature. What is finished is kept, so an interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.build import bulk
from rich.console import Console

import fermisea
from fermisea import plots
from fermisea.campaign import Campaign, Outcome, run_campaign
from fermisea.cli.common import fail, plain, progress_bar, table
from fermisea.engines import PlaneWave, ScfStep
from fermisea.errors import ConvergenceError, FermiseaError, InputError
from fermisea.files import atomic_path, check_writable_folder, write_text
from fermisea.model import Model, load_model
from fermisea.sampling import sample
from fermisea.snapshot import Snapshot
from fermisea.structures import read_structure, write_structure
from fermisea.training import train
from fermisea.training_config import TrainingConfig

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class DemoSettings:
    """Everything that decides what the demonstration computes and how long it takes.

    Attributes:
        lattice_constant: of the 4-atom cell, Angstrom.
        ion_temperatures: tau_i of the training structures, K.
        snapshots: training structures for each of them.
        test_ion_temperature: tau_i of the structure that is predicted, K.
        reference_electron_temperature: tau_ref of all training data, K.
        electron_temperatures: tau_e of the comparison, K.
        campaign: settings of the DFT.
        training: settings of the model.
    """

    lattice_constant: float = 4.05
    ion_temperatures: tuple[float, ...] = (100.0, 298.0, 500.0, 933.0)
    snapshots: int = 2
    test_ion_temperature: float = 700.0
    reference_electron_temperature: float = 1000.0
    electron_temperatures: tuple[float, ...] = (300.0, 1000.0, 3000.0, 10_000.0)
    campaign: Campaign = field(default_factory=lambda: Campaign(xc="pbe", cutoff=272.1, kpts=(8, 8, 8)))
    training: TrainingConfig = field(default_factory=TrainingConfig)


@dataclass(frozen=True)
class DftPoint:
    """Self-consistent DFT of the test structure at one tau_e.

    Attributes:
        electron_temperature: tau_e, K.
        free_energy: of the cell, eV.
        entropy_term: -TS, eV.
        fermi_level: eV.
        density: on the engine's grid, (nx, ny, nz), 1/Angstrom^3.
    """

    electron_temperature: float
    free_energy: float
    entropy_term: float
    fermi_level: float
    density: FloatArray


def run_demo(settings: DemoSettings, out: Path, console: Console | None = None) -> dict[str, Any]:
    """Runs what is missing in ``out``, prints the comparison, and returns the content of ``summary.json``.

    Raises:
        InputError: if the folder cannot be written to or holds a run with other settings.
        ConvergenceError: if a DFT run or the training fails.
    """
    console = console or Console(highlight=False)
    started = time.perf_counter()
    check_writable_folder(out)
    _check_settings(settings, out / "settings.json")
    engine = settings.campaign.engine()

    console.rule("[bold]1 of 5   Structures: molecular dynamics of fcc aluminium")
    training, test = sample_structures(settings, out / "structures", console)
    console.rule(f"[bold]2 of 5   DFT at tau_ref = {settings.reference_electron_temperature:g} K")
    _compute(engine, training, settings, out / "data", console)
    reference = _compute(engine, test, settings, out / "test", console)[0]
    console.rule("[bold]3 of 5   Training on the local density of states")
    model = _train(settings, out, console)
    console.rule("[bold]4 of 5   Self-consistent DFT of the unseen structure at every tau_e")
    points = compute_points(engine, reference, settings, out / "test", console)
    console.rule("[bold]5 of 5   Prediction and comparison")
    summary = compare(model, reference, points, settings, out)
    summary["seconds"] = time.perf_counter() - started
    write_text(out / "summary.json", json.dumps(plain(summary), indent=2) + "\n")
    print_comparison(summary, console)
    figures = ", ".join(f"{name}.png" for name in ("free_energy", "dos"))
    console.print(
        f"[bold]{summary['seconds']:.0f} s[/]; all numbers in {out / 'summary.json'}, figures {figures} (and .svg) beside it"
    )
    return summary


def sample_structures(
    settings: DemoSettings, folder: Path, console: Console
) -> tuple[dict[str, Atoms], dict[str, Atoms]]:
    """Returns training structures and the test structure by name, from their files where those are there."""
    crystal = bulk("Al", "fcc", a=settings.lattice_constant, cubic=True)
    groups = [*((t, settings.snapshots, 0) for t in settings.ion_temperatures), (settings.test_ion_temperature, 1, 1)]
    result: list[dict[str, Atoms]] = []
    check_writable_folder(folder)
    with progress_bar(console) as bar:
        for ion_temperature, count, seed in groups:
            names = [f"al-{ion_temperature:g}K-{number:02d}" for number in range(count)]
            paths = {name: folder / f"{name}.extxyz" for name in names}
            if not all(path.exists() for path in paths.values()):
                task = bar.add_task(f"tau_i = {ion_temperature:g} K", total=None, note="")
                trajectory = sample(
                    crystal,
                    ion_temperature,
                    count,
                    seed=seed,
                    progress=lambda done, total, task=task: bar.update(task, completed=done, total=total),  # type: ignore[misc]
                )
                for path, frame in zip(paths.values(), trajectory.frames, strict=True):
                    write_structure(path, frame)
                console.print(
                    f"tau_i = {ion_temperature:g} K: reached {trajectory.mean_temperature:.0f} K, mean square "
                    f"displacement {trajectory.mean_square_displacement:.4f} Å²"
                )
            result.append({name: read_structure(path) for name, path in paths.items()})
    training = {name: atoms for group in result[:-1] for name, atoms in group.items()}
    console.print(f"{len(training)} structures to train on, 1 at {settings.test_ion_temperature:g} K to predict")
    return training, result[-1]


def compute_points(
    engine: PlaneWave, reference: Snapshot, settings: DemoSettings, folder: Path, console: Console
) -> list[DftPoint]:
    """Returns the self-consistent results for the test structure, from their files where those are there."""
    points = []
    with progress_bar(console) as bar:
        task = bar.add_task("DFT", total=len(settings.electron_temperatures), note="")
        for t in settings.electron_temperatures:
            path = folder / f"tau-{t:g}K.npz"
            if not path.exists():
                bar.update(task, description=f"tau_e = {t:g} K")
                begun = time.perf_counter()
                state = replace(engine, report=_show(bar, task)).solve(reference.atoms, t)
                with atomic_path(path) as temporary, temporary.open("wb") as stream:
                    np.savez(
                        stream,
                        density=state.density,
                        free_energy=state.reference.free_energy,
                        entropy_term=state.reference.entropy_term,
                        fermi_level=state.reference.fermi_level,
                    )
                console.print(f"tau_e = {t:g} K: {time.perf_counter() - begun:.0f} s")
            with np.load(path) as stored:
                numbers = {name: float(stored[name]) for name in ("free_energy", "entropy_term", "fermi_level")}
                points.append(DftPoint(t, density=stored["density"], **numbers))
            bar.update(task, advance=1, note="")
    return points


def compare(
    model: Model, reference: Snapshot, points: Sequence[DftPoint], settings: DemoSettings, out: Path
) -> dict[str, Any]:
    """Returns the comparison as plain data and draws its figures."""
    atoms, n = reference.atoms, len(reference.atoms)
    temperatures = [point.electron_temperature for point in points]
    curve = np.linspace(min(temperatures), max(temperatures), 50).tolist()
    prediction = model.predict(atoms, [*temperatures, *curve], points[0].density.shape)
    free_energies, transfer = np.asarray(prediction.free_energy), np.asarray(prediction.transfer_error)
    rows = []
    for k, point in enumerate(points):
        difference = np.abs(prediction.density[k] - point.density)
        rows.append(
            {
                "electron_temperature": point.electron_temperature,
                "free_energy_dft": point.free_energy,
                "free_energy_predicted": float(free_energies[k]),
                "transfer_error": float(transfer[k]),
                "entropy_term_dft": point.entropy_term,
                "entropy_term_predicted": -point.electron_temperature * float(prediction.entropy[k]),
                "fermi_level_dft": point.fermi_level,
                "fermi_level_predicted": float(prediction.fermi_level[k]),
                "density_error_percent": 100 * float(difference.mean() / point.density.mean()),
            }
        )
    title = f"fcc Al, {n} atoms at {settings.test_ion_temperature:g} K, not seen in training"
    figure = plots.free_energy_figure(
        [*temperatures, *curve],
        free_energies / n,
        dft={point.electron_temperature: point.free_energy / n for point in points},
        transfer_error=transfer / n,
        reference_electron_temperature=settings.reference_electron_temperature,
        title=title,
    )
    plots.save_figure(figure, out / "free_energy")
    levels = list(prediction.fermi_level[: len(points)])
    figure = plots.dos_figure(
        prediction.energies, prediction.dos / n, temperatures, levels, dft=reference.dos / n, title=title
    )
    plots.save_figure(figure, out / "dos")
    return {
        "atoms": n,
        "formula": atoms.get_chemical_formula(),
        "fermisea": fermisea.__version__,
        "highest_electron_temperature": model.highest_electron_temperature,
        "dos_error_percent": 100 * float(np.abs(prediction.dos - reference.dos).mean() / reference.dos.mean()),
        "settings": _plain_settings(settings),
        "rows": rows,
    }


def print_comparison(summary: dict[str, Any], console: Console) -> None:
    """Prints the table of the comparison; energies in meV per atom, changes relative to the lowest tau_e."""
    rows, scale = summary["rows"], 1000 / summary["atoms"]
    zero = rows[0]
    start = f"{zero['electron_temperature']:g} K"
    cells = []
    for row in rows:
        dft = scale * (row["free_energy_dft"] - zero["free_energy_dft"])
        predicted = scale * (row["free_energy_predicted"] - zero["free_energy_predicted"])
        absolute = scale * (row["free_energy_predicted"] - row["free_energy_dft"])
        cells.append(
            (
                f"{row['electron_temperature']:g}",
                f"{dft:.2f}",
                f"{predicted:.2f}",
                f"[bold]{predicted - dft:+.3f}[/]",
                f"{scale * row['transfer_error']:.3f}",
                f"{absolute:+.2f}",
                f"{row['density_error_percent']:.2f}",
            )
        )
    columns = [
        "tau_e (K)",
        f"F - F({start})\nDFT",
        f"F - F({start})\npredicted",
        "difference",
        "estimated\ntransfer error",
        "error of F\nitself",
        "density\nerror (%)",
    ]
    title = f"{summary['formula']} at {summary['settings']['test_ion_temperature']:g} K, not seen in training; meV/atom"
    console.print(table(title, columns, cells))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demonstration from the command line and returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m fermisea.demo", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("demo-output"), help="folder for everything that it makes")
    out = parser.parse_args(arguments).out
    try:
        run_demo(DemoSettings(), out)
    except ConvergenceError as error:
        return fail(str(error), 1)
    except FermiseaError as error:
        return fail(str(error), 2)
    except KeyboardInterrupt:
        return fail("interrupted; finished files stay, the same command goes on", 130)
    return 0


def _compute(
    engine: PlaneWave, structures: dict[str, Atoms], settings: DemoSettings, folder: Path, console: Console
) -> list[Snapshot]:
    if folder.name == "test":
        # The test structure takes the energies that the training data have.
        first = Snapshot.load(min((folder.parent / "data").glob("*.nc")))
        engine = replace(engine, ldos=replace(engine.ldos, energy_grid=first.energy_grid))
    with progress_bar(console) as bar:
        task = bar.add_task("DFT", total=len(structures), note="")

        def end(outcome: Outcome) -> None:
            bar.update(task, advance=1, note="")
            if outcome.snapshot is not None:
                energy = outcome.snapshot.reference.free_energy / len(outcome.snapshot.atoms)
                took = "kept" if outcome.status == "kept" else f"{outcome.seconds:.0f} s"
                console.print(f"{outcome.name}: F = {energy:.5f} eV/atom, {took}")

        outcomes = run_campaign(
            engine,
            structures,
            settings.reference_electron_temperature,
            folder,
            begin=lambda name: bar.update(task, description=name),
            step=_show(bar, task),
            end=end,
        )
    for outcome in outcomes:
        if outcome.snapshot is None:
            raise InputError(f"{outcome.name}: {outcome.error}")
    return [outcome.snapshot for outcome in outcomes if outcome.snapshot is not None]


def _train(settings: DemoSettings, out: Path, console: Console) -> Model:
    path = out / "al.safetensors"
    if path.exists():
        console.print(f"kept {path}")
        return load_model(path)
    with progress_bar(console) as bar:
        tasks: dict[str, Any] = {}

        def show(state: Any) -> None:
            if state.stage not in tasks:
                tasks[state.stage] = bar.add_task(state.stage, total=state.steps, note="")
            bar.update(tasks[state.stage], completed=state.step, note=f"loss {state.training_loss:.2e}")

        model = train(out / "data", settings.training, progress=show)
    model.save(path)
    return model


def _show(bar: Any, task: Any) -> Any:
    def show(step: ScfStep) -> None:
        bar.update(task, note=f"SCF iteration {step.iteration}, residual {step.residual:.0e} eV/atom")

    return show


def _plain_settings(settings: DemoSettings) -> dict[str, Any]:
    return dict(plain(asdict(settings)))


def _check_settings(settings: DemoSettings, path: Path) -> None:
    now = json.dumps(_plain_settings(settings), indent=2) + "\n"
    if path.exists() and path.read_text(encoding="utf-8") != now:
        raise InputError(
            f"{path.parent}: holds a demonstration with other settings; remove it or choose another folder"
        )
    write_text(path, now)


if __name__ == "__main__":
    sys.exit(main())
