"""Common behaviour of the commands in a shell: lists of values, errors, interruption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperCommand

from fermisea.errors import ConvergenceError, FermiseaError
from fermisea.terminal import fail

_RESUMED = ("dft", "transfer", "tune")
"""Commands that resume after an interruption; train prints its own message."""


class Command(TyperCommand):
    """A command with list options such as ``--ion-temperature 100 298`` and one-line errors."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeats the name of a list option before each of its values, as required by the parser."""
        lists = {name for option in self.params if getattr(option, "multiple", False) for name in option.opts}
        return list(super().parse_args(ctx, spread(args, lists)))

    def invoke(self, ctx: Any) -> Any:
        """Runs the command; an error raised by fermisea ends it with one line and status 2 (or 1)."""
        try:
            return super().invoke(ctx)
        except ConvergenceError as error:
            raise typer.Exit(fail(str(error), 1)) from error
        except FermiseaError as error:
            raise typer.Exit(fail(str(error), 2)) from error
        except KeyboardInterrupt as error:
            resumes = ", the same command resumes" if self.name in _RESUMED else ""
            text = str(error) or f"interrupted; finished files are kept{resumes}"
            raise typer.Exit(fail(text, 130)) from error


def spread(arguments: Sequence[str], lists: set[str]) -> list[str]:
    """Returns ``--name 1 2`` as ``--name 1 --name 2`` for the options in ``lists``.

    Values after the first one must be numbers or assignments such as Al=Al.upf; anything else is an argument or another
    option.
    """
    result: list[str] = []
    option, values = None, 0
    for word in arguments:
        name = word.split("=", 1)[0]
        if name in lists:
            option, values = name, int("=" in word)
        elif option is not None and (values == 0 or _is_value(word)):
            if values > 0:
                result.append(option)
            values += 1
        else:
            option = None
        result.append(word)
    return result


def _is_value(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return "=" in word and not word.startswith("-")
    return True
