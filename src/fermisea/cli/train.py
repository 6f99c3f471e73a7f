"""``fermisea train``: a model from snapshot files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import TaskID

import fermisea
from fermisea.cli.common import Json, output_folder, print_json, progress_bar, stdout, table

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
    json: Json = False,
) -> None:
    """Train a model of the LDOS on snapshots.

    Example: [bold]fermisea train data/ --out al.safetensors --config train.toml[/]
    """
    settings = fermisea.TrainingConfig.from_toml(config) if config else fermisea.TrainingConfig()
    changes: dict[str, Any] = {name: value for name, value in (("epochs", epochs), ("seed", seed)) if value is not None}
    settings = replace(settings, **changes)
    dataset = fermisea.Dataset.load(data)
    with output_folder(out.parent), progress_bar() as bar:
        tasks: dict[str, TaskID] = {}

        def show(state: TrainingState) -> None:
            if state.stage not in tasks:
                tasks[state.stage] = bar.add_task(state.stage, total=state.steps, note="")
            bar.update(tasks[state.stage], completed=state.step, note=_note(state))

        model = fermisea.train(dataset, settings, progress=show)
        model.save(out)
    final = model.provenance["final"]
    facts = {
        "file": out,
        "snapshots": len(dataset),
        "elements": model.elements,
        "reference_electron_temperature": model.reference_electron_temperature,
        "highest_electron_temperature": model.highest_electron_temperature,
        "epochs": model.provenance["epochs"],
        **{name: value for name, value in final.items() if name != "epoch"},
    }
    if json:
        print_json(facts)
        return
    cells = [
        ("snapshots", str(len(dataset))),
        ("elements", " ".join(model.elements)),
        ("tau_ref", f"{model.reference_electron_temperature:g} K"),
        ("highest tau_e", f"{model.highest_electron_temperature:.0f} K"),
        ("epochs", str(model.provenance["epochs"])),
        *((name.replace("_", " "), f"{value:.3e}") for name, value in final.items() if name != "epoch"),
    ]
    stdout().print(table(str(out), ["", ""], cells))


def _note(state: TrainingState) -> str:
    if state.stage != "training":
        return ""
    held_out = "" if state.validation_loss is None else f", validation {state.validation_loss:.2e}"
    return f"loss {state.training_loss:.2e}{held_out}"
