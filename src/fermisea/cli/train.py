"""``fermisea train``: a model from snapshot files."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import TaskID

import fermisea
from fermisea.cli.common import AllowClosureError, Json, bytes_of, output_folder, print_json
from fermisea.physics.error_measures import ERROR_MEASURES
from fermisea.physics.registry import milli
from fermisea.terminal import facts, progress_bar, stderr, stdout

if TYPE_CHECKING:
    from fermisea.model.model import Model
    from fermisea.training import TrainingState

_SHOWN = (
    "ldos_error_percent",
    "density_error_percent",
    "dos_error_percent",
    "band_energy_error",
    "free_energy_error",
)
"""Errors of the validation structures shown beside the progress bar."""


def train(
    data: Annotated[list[Path], typer.Argument(help="Snapshot files or folders of snapshot files.")],
    out: Annotated[Path, typer.Option(help="Model file to write, *.safetensors.", show_default=False)],
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file with settings of descriptor, network and optimiser.  [dim]\\[default: none][/]"),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Number of epochs.  [dim]\\[default: from the configuration][/]")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed.  [dim]\\[default: from the configuration][/]")] = None,
    ensemble: Annotated[
        int | None,
        typer.Option(
            help="Number of networks in the ensemble; the spread of their predictions estimates the error.  "
            "[dim]\\[default: from the configuration][/]"
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continuation of an interrupted training run from its checkpoint.")
    ] = False,
    log: Annotated[
        Path | None,
        typer.Option(
            help="Folder for training.csv with losses and errors after each epoch.  [dim]\\[default: none][/]"
        ),
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Event files for TensorBoard, in the folder of --log.")
    ] = False,
    memory: Annotated[
        str,
        typer.Option(
            help="Memory limit for the training data, such as 500MB or 4GB; larger data go to a scratch file."
        ),
    ] = "4GB",
    scratch: Annotated[
        Path | None,
        typer.Option(help="Folder for the scratch file.  [dim]\\[default: temporary folder of the system][/]"),
    ] = None,
    device: Annotated[
        str,
        typer.Option(help="Device for training, cpu or cuda; under torchrun each process uses its own CUDA device."),
    ] = "cpu",
    allow_closure_error: AllowClosureError = False,
    json: Json = False,
) -> None:
    """Train a model of the LDOS on snapshots.

    After every epoch, the state of the training run is written to a checkpoint file beside the model, NAME.checkpoint.
    --resume continues from the checkpoint; the final model is the same as without an interruption.

    Snapshots with several tau_ref give a model with a network and a potential at each; between two tau_ref, their
    results are blended smoothly.

    Under torchrun, processes divide each batch: torchrun --nproc-per-node 4 --no-python fermisea train ...

    Example: [bold]fermisea train data/ --out al.safetensors --config train.toml[/]
    """
    settings = fermisea.TrainingConfig.from_toml(config) if config else fermisea.TrainingConfig()
    given: dict[str, Any] = {"epochs": epochs, "seed": seed, "ensemble": ensemble}
    settings = replace(settings, **{name: value for name, value in given.items() if value is not None})
    if allow_closure_error:
        settings = replace(settings, allow_closure_error=True)
    if out.is_dir():
        raise fermisea.InputError(
            f"{out}: got a folder, expected the name of a model file such as {out / 'al.safetensors'}"
        )
    if out.suffix != ".safetensors":
        raise fermisea.InputError(f"--out: got {out}, expected a name that ends with .safetensors")
    if tensorboard and log is None:
        raise fermisea.InputError("tensorboard: got no folder, expected --log FOLDER too")
    from fermisea.training import TrainingLog, checkpoint_files  # noqa: PLC0415
    from fermisea.utilities.torchrun import rank  # noqa: PLC0415  # torch is not needed for --help

    first = rank() == 0
    allowed = bytes_of(memory)
    datasets = fermisea.Dataset.load_each(data)
    console = stderr()
    checkpoint = out.with_suffix(".checkpoint")
    with (
        output_folder(out.parent),
        progress_bar(console) as bar,
        nullcontext() if log is None or not first else TrainingLog(log, tensorboard=tensorboard) as record,
    ):
        tasks: dict[tuple[str, float | None], TaskID] = {}

        def show(state: TrainingState) -> None:
            tau_ref = state.reference_electron_temperature
            stage = state.stage if tau_ref is None else f"{state.stage} ({tau_ref:g} K)"
            key = (state.stage, tau_ref)
            if key not in tasks:
                tasks[key] = bar.add_task(stage, total=state.steps, note="")
            bar.update(tasks[key], completed=state.step, note=_note(state))
            if not console.is_terminal and state.step * 10 // state.steps > (state.step - 1) * 10 // state.steps:
                console.print(f"{stage} {state.step}/{state.steps} {_note(state)}".rstrip())
            if record is not None:
                record(state)

        model = fermisea.train(
            datasets,
            settings,
            checkpoint=checkpoint,
            resume=resume,
            memory=allowed,
            scratch=scratch,
            device=device,
            progress=show,
        )
        if not first:
            return
        model.save(out)
        for file in checkpoint_files(checkpoint, model.reference_electron_temperatures):
            file.unlink(missing_ok=True)
    found = [_facts(part, len(dataset)) for part, dataset in zip(model.parts, datasets, strict=True)]
    if json:
        print_json({"file": out, **found[0]} if len(found) == 1 else {"file": out, "parts": found})
        return
    for part, values in zip(model.parts, found, strict=True):
        tau_ref = f", tau_ref = {part.reference_electron_temperature:g} K" if model.hotter else ""
        stdout().print(facts(f"{out}{tau_ref}", values))
        if settings.anchor and part.anchor is None:
            why = part.total_energy_obstacle or "the fit needs at least two structures"
            stdout().print(f"the model has no anchor: {why}")


def _facts(model: Model, snapshots: int) -> dict[str, Any]:
    """Returns the most important data and errors of a model at one tau_ref."""
    return {
        "snapshots": snapshots,
        "elements": list(model.elements),
        "reference_electron_temperature": model.reference_electron_temperature,
        "highest_electron_temperature": model.highest_electron_temperature,
        "epochs": model.provenance["epochs"],
        "closure_error": _largest(model.provenance["snapshots"]),
        **{name: value for name, value in model.provenance["final"].items() if name != "epoch"},
    }


def _largest(snapshots: list[dict[str, Any]]) -> float | None:
    """Returns the closure error of the largest magnitude, eV per atom; None if no snapshot has one."""
    errors = [error for snapshot in snapshots if (error := snapshot["closure_error_per_atom"]) is not None]
    return max(errors, key=abs, default=None)


def _note(state: TrainingState) -> str:
    if state.stage != "training":
        return ""
    words = [f"loss {state.training_loss:.2e}"]
    if state.validation_loss is not None:
        words.append(f"validation {state.validation_loss:.2e}")
    for name in _SHOWN:
        if name in state.errors:
            factor, unit = milli(ERROR_MEASURES[name].unit)
            words.append(f"{ERROR_MEASURES[name].symbol} {factor * state.errors[name]:.3g} {unit}")
    return ", ".join(words)
