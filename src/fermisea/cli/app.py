"""All commands, and their exit status.

The status is 0, 1 if a part failed, 2 for an error of the user, 130 after Ctrl-C, 143 after SIGTERM, and 141 after
standard output was closed.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import fermisea
from fermisea.cli.convert import convert
from fermisea.cli.dft import dft
from fermisea.cli.evaluate import evaluate
from fermisea.cli.export import export
from fermisea.cli.info import info
from fermisea.cli.predict import predict
from fermisea.cli.processes import (
    command_problem,
    in_the_background,
    is_lost,
    number_of_this_process,
    wait_for_the_launcher,
)
from fermisea.cli.remedies import remedy
from fermisea.cli.report import report
from fermisea.cli.sample import sample
from fermisea.cli.shell import Command
from fermisea.cli.socket import socket
from fermisea.cli.structure import structure
from fermisea.cli.study import study
from fermisea.cli.thermo import thermo
from fermisea.cli.train import train
from fermisea.cli.tune import tune
from fermisea.terminal import (
    CLOSED_PIPE,
    discard,
    fail,
    flushed,
    is_closed,
    spell_on_standard_streams,
    unwritten,
    warnings_as_lines,
)
from fermisea.utilities.signals import interruption, signal_of

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
_COMMANDS = (sample, dft, train, tune, predict, evaluate, thermo, structure, socket, report, info)
_GROUPS = (convert, export, study)
for function in _COMMANDS:
    app.command(cls=Command)(function)
for group in _GROUPS:
    app.add_typer(group)

_STORAGE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
"""Errors of a file system that is full, limited, defective or read-only."""

# The location of typer's usage error differs between versions; its base class is always the same.
_UsageError: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def _version(value: bool) -> None:
    if value:
        typer.echo(f"fermisea {fermisea.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001  # its callback uses it
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Version of fermisea.")
    ] = False,
) -> None:
    """Density, entropy and free energy of electrons at any electronic temperature, learned from DFT at a single one."""
    if problem := command_problem(context.invoked_subcommand or ""):
        raise typer.Exit(fail(problem, 2))


def main(arguments: Sequence[str]) -> int:
    """Runs a command line and returns its exit status; an error of the user is one line without traceback."""
    return in_the_background(_main, arguments) if number_of_this_process() else _main(arguments)


def _main(arguments: Sequence[str]) -> int:
    spell_on_standard_streams()
    try:
        with warnings_as_lines():
            command = typer.main.get_command(app)
            with command.make_context("fermisea", list(arguments), obj=tuple(arguments)) as context:
                command.invoke(context)
        status = 0
    except typer.Exit as end:
        status = end.exit_code
    except SystemExit as end:
        closed = isinstance(end.__context__, BrokenPipeError)  # raised by rich in place of the error
        status = CLOSED_PIPE if closed else end.code if isinstance(end.code, int) else 1
    except _UsageError as error:
        status = _misuse(error, arguments)
    except (KeyboardInterrupt, typer.Abort) as error:
        number = signal_of(error)
        status = fail(str(error) or interruption(number) + remedy(arguments), 128 + number)
    except OSError as error:
        status = _storage_failure(error)
    except RuntimeError as error:
        if not is_lost(error):
            raise
        wait_for_the_launcher()
        status = fail("processes: the connection to another process was lost", 1)
    return flushed(status)


def _misuse(error: Exception, arguments: Sequence[str]) -> int:
    """Prints a usage error with the command whose help explains it."""
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
    return fail(f"{' '.join(text.split())}{stop} See fermisea {named + ' ' if named else ''}--help", 2)


def _storage_failure(error: OSError) -> int:
    """Prints an error of a file system, such as a full disk; any other error is a mistake in the program.

    Raises:
        OSError: for any other error.
    """
    if error.errno == errno.EPIPE and is_closed(sys.stdout):
        return CLOSED_PIPE
    if error.errno not in _STORAGE:
        raise error
    discard(sys.stdout)
    return unwritten(error)
