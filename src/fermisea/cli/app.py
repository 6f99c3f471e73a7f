"""All commands, and their exit status: 0, 1 if a part failed, 2 for an error of the user, 130 after an interruption."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import fermisea
from fermisea.cli.convert import convert
from fermisea.cli.dft import dft
from fermisea.cli.evaluate import evaluate
from fermisea.cli.info import info
from fermisea.cli.predict import predict
from fermisea.cli.report import report
from fermisea.cli.sample import sample
from fermisea.cli.shell import Command
from fermisea.cli.study import study
from fermisea.cli.thermo import thermo
from fermisea.cli.train import train
from fermisea.cli.tune import tune
from fermisea.terminal import fail, warnings_as_lines

app = typer.Typer(
    name="fermisea",
    help="Density, entropy and free energy of electrons at any electronic temperature, learned from DFT at a single "
    "one.",
    epilog="Typical order: [bold]sample[/] structures, run DFT on the structures with [bold]dft[/], [bold]train[/] a "
    "model, [bold]evaluate[/] the model, [bold]predict[/] observables.",
    rich_markup_mode="rich",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_COMMANDS = (sample, dft, train, tune, predict, evaluate, thermo, report, info)
_GROUPS = (convert, study)
for function in _COMMANDS:
    app.command(cls=Command)(function)
for group in _GROUPS:
    app.add_typer(group)

# The location of typer's usage error differs between versions; its base class is always the same.
_UsageError: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def _version(value: bool) -> None:
    if value:
        typer.echo(f"fermisea {fermisea.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Version of fermisea.")
    ] = False,
) -> None:
    """Density, entropy and free energy of electrons at any electronic temperature, learned from DFT at a single one."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit status; an error of the user is one line without traceback."""
    if arguments is not None:
        return _run(arguments)
    # In a separate process imported modules stay in memory, so frequent garbage collection is useless; the final
    # collection, which takes a second, is skipped.
    gc.set_threshold(100_000, 20, 20)
    try:
        return _run(sys.argv[1:])
    finally:
        gc.freeze()


def _run(arguments: Sequence[str]) -> int:
    try:
        with warnings_as_lines():
            status = app(args=list(arguments), prog_name="fermisea", standalone_mode=False)
    except _UsageError as error:
        text = (error.format_message() if hasattr(error, "format_message") else str(error)).rstrip(".")
        if not text:
            return 2  # a call without arguments, which has printed the help
        known = {function.__name__ for function in _COMMANDS}
        named = next((word for word in arguments if word in known), "")
        for group in _GROUPS:
            if group.info.name in arguments[:1]:
                inner = {command.callback.__name__ for command in group.registered_commands if command.callback}
                named = " ".join([str(group.info.name), *(word for word in arguments[1:2] if word in inner)])
        stop = "" if text.endswith("?") else "."
        return fail(f"{text}{stop} See fermisea {named + ' ' if named else ''}--help", 2)
    except (KeyboardInterrupt, typer.Abort):
        return fail("interrupted", 130)
    return status if isinstance(status, int) else 0
