"""``fermisea study``: studies with data, models and a report, each from one restartable command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import fermisea
from fermisea.cli.common import Json, print_json
from fermisea.cli.dry_run import DryRun, show_estimates
from fermisea.cli.shell import Command
from fermisea.terminal import stderr, stdout

_Device = Annotated[str, typer.Option(help="Device of training and predictions, cpu or cuda.")]
Out = Annotated[Path | None, typer.Option(help="Folder for all files of the study, required except with --dry-run.")]

study = typer.Typer(
    name="study",
    help="Run a study with its own data, models and report.",
    rich_markup_mode="rich",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@study.callback()
def _group() -> None:
    """Run a study with its own data, models and report."""


@study.command(cls=Command)
def transfer(
    out: Out = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Reduced study of about ten minutes: four atoms, small networks.")
    ] = False,
    settings: Annotated[
        str | None,
        typer.Option(
            help="TOML file with settings, or the name [bold]cluster[/] for 256 atoms with pw.x.  [dim]\\[default: "
            "full study][/]"
        ),
    ] = None,
    workers: Annotated[int, typer.Option(help="Number of structures or models processed in parallel.")] = 1,
    device: _Device = "cpu",
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Train aluminium models at some ionic temperatures; test them at all nine and at other electronic temperatures.

    The study samples structures, runs DFT, trains and evaluates models, and writes figures and report.html. After an
    interruption, the same command resumes the study. The full study takes many hours.

    Example: [bold]fermisea study transfer --quick --out study/[/]

    Example: [bold]fermisea study transfer --settings cluster --dry-run[/]
    """
    from fermisea.studies.transfer import (  # noqa: PLC0415  # not needed for --help
        TransferSettings,
        costs,
        run_transfer,
    )

    if quick and settings is not None:
        raise fermisea.InputError(f"--quick: got --settings {settings} too, expected one of them")
    chosen = TransferSettings.load("quick" if quick else settings or "full")
    if dry_run:
        show_estimates(costs(chosen), workers=workers, json=json)
        return
    path = run_transfer(chosen, _folder(out), stderr(), workers=workers, device=device)
    if json:
        print_json({"file": path})
    else:
        stdout().print(str(path))


@study.command(cls=Command)
def aluminium(
    out: Out = None,
    settings: Annotated[
        str, typer.Option(help="TOML file with settings, or the name of shipped settings.")
    ] = "aluminium",
    rounds: Annotated[
        int | None,
        typer.Option(
            help="Number of rounds of structures, each with a few of every kind.  [dim]\\[default: all][/]",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[int, typer.Option(help="Number of DFT calculations in parallel.")] = 1,
    device: _Device = "cpu",
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Compute data for one model of aluminium from the crystal to the liquid, train it, and compare it with DFT.

    The structures are crystals from 100 to 933 K, strained crystals, liquids up to 5000 K, vacancies, interstitials,
    bcc and hcp, at two electronic temperatures. The DFT calculations take an estimated 23 hours on one core. After an
    interruption, the same command resumes the study. With --rounds the study stops early, and a later call adds
    structures.

    Example: [bold]fermisea study aluminium --workers 2 --out study/[/]
    """
    from fermisea.studies.aluminium import (  # noqa: PLC0415  # not needed for --help
        AluminiumSettings,
        costs,
        run_aluminium,
    )

    chosen = AluminiumSettings.load(settings)
    if dry_run:
        show_estimates(costs(chosen, rounds), workers=workers, json=json)
        return
    path = run_aluminium(chosen, _folder(out), stderr(), workers=workers, rounds=rounds, device=device)
    if json:
        print_json({"file": path})
    else:
        stdout().print(str(path))


def _folder(out: Path | None) -> Path:
    if out is None:
        raise fermisea.InputError("--out: missing; give a folder for the files of the study")
    return out
