"""``fermisea study``: a question, its data, models and a report, from one restartable command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import fermisea
from fermisea.cli.common import Json, print_json
from fermisea.cli.shell import Command
from fermisea.terminal import stderr, stdout

study = typer.Typer(
    name="study",
    help="Answer a question with data, models and a report of their own.",
    rich_markup_mode="rich",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@study.callback()
def _group() -> None:
    """Answer a question with data, models and a report of their own."""


@study.command(cls=Command)
def transfer(
    out: Annotated[Path, typer.Option(help="Folder for everything.", show_default=False)],
    quick: Annotated[
        bool, typer.Option("--quick", help="A first look in minutes: four atoms, small networks.")
    ] = False,
    settings: Annotated[
        str | None, typer.Option(help="TOML file with other settings, or [bold]cluster[/]: 256 atoms, by pw.x.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Structures and models that are computed at once.")] = 1,
    json: Json = False,
) -> None:
    """Train models of aluminium at some ionic temperatures; judge them at all of these and at other electronic ones.

    Structures, DFT, training, errors, figures and report.html; interrupted, the same command goes on where it was. In
    full, which is the default, it takes many hours.

    Example: [bold]fermisea study transfer --quick --out study/[/]
    """
    from fermisea.studies.transfer import TransferSettings, run_transfer  # noqa: PLC0415  # --help needs it not

    if quick and settings is not None:
        raise fermisea.InputError(f"--quick: got --settings {settings} too, expected one of them")
    chosen = TransferSettings.load("quick" if quick else settings or "full")
    path = run_transfer(chosen, out, stderr(), workers=workers)
    if json:
        print_json({"file": path})
    else:
        stdout().print(str(path))
