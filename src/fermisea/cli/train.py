"""``fermisea train``: a model from snapshot files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import TaskID

import fermisea
from fermisea.cli.common import Json, bytes_of, facts, output_folder, print_json, progress_bar, stderr, stdout

if TYPE_CHECKING:
    from fermisea.training import TrainingState


def train(
    data: Annotated[list[Path], typer.Argument(help="Snapshot files, or folders of them.")],
    out: Annotated[Path, typer.Option(help="The model file to write, *.safetensors.", show_default=False)],
    config: Annotated[
        Path | None, typer.Option(help="TOML file with descriptor, network and optimiser settings.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Instead of the configured number.")] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the configured one.")] = None,
    memory: Annotated[
        str, typer.Option(help="Training data held at once, as in 500MB or 4GB; the rest goes through a scratch file.")
    ] = "4GB",
    scratch: Annotated[
        Path | None, typer.Option(help="Folder for that file.  [dim]\\[default: the system's for temporary files][/]")
    ] = None,
    json: Json = False,
) -> None:
    """Train a model of the LDOS on snapshots.

    Example: [bold]fermisea train data/ --out al.safetensors --config train.toml[/]
    """
    settings = fermisea.TrainingConfig.from_toml(config) if config else fermisea.TrainingConfig()
    changes: dict[str, Any] = {name: value for name, value in (("epochs", epochs), ("seed", seed)) if value is not None}
    settings = replace(settings, **changes)
    if out.is_dir():
        raise fermisea.InputError(
            f"{out}: is a folder, expected the name of a model file such as {out / 'al.safetensors'}"
        )
    allowed = bytes_of(memory)
    dataset = fermisea.Dataset.load(data)
    console = stderr()
    with output_folder(out.parent), progress_bar(console) as bar:
        tasks: dict[str, TaskID] = {}

        def show(state: TrainingState) -> None:
            if state.stage not in tasks:
                tasks[state.stage] = bar.add_task(state.stage, total=state.steps, note="")
            bar.update(tasks[state.stage], completed=state.step, note=_note(state))
            if not console.is_terminal and state.step * 10 // state.steps > (state.step - 1) * 10 // state.steps:
                console.print(f"{state.stage} {state.step}/{state.steps} {_note(state)}".rstrip())

        model = fermisea.train(dataset, settings, memory=allowed, scratch=scratch, progress=show)
        model.save(out)
    values = {
        "snapshots": len(dataset),
        "elements": list(model.elements),
        "reference_electron_temperature": model.reference_electron_temperature,
        "highest_electron_temperature": model.highest_electron_temperature,
        "epochs": model.provenance["epochs"],
        **{name: value for name, value in model.provenance["final"].items() if name != "epoch"},
    }
    if json:
        print_json({"file": out, **values})
    else:
        stdout().print(facts(str(out), values))


def _note(state: TrainingState) -> str:
    if state.stage != "training":
        return ""
    held_out = "" if state.validation_loss is None else f", validation {state.validation_loss:.2e}"
    return f"loss {state.training_loss:.2e}{held_out}"
