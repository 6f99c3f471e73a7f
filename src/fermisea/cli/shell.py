"""Common behaviour of the commands in a shell: lists of values, and errors."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Sequence
from itertools import takewhile
from typing import Any

import typer
from typer.core import TyperCommand

from fermisea.errors import ConvergenceError, FermiseaError
from fermisea.terminal import fail

FILES = "FILE..."
"""Placeholder in the help of an option that takes all words up to the next option."""

_COUNTS = {2: "two", 3: "three"}


class Command(TyperCommand):
    """A command with list options such as ``--ion-temperature 100 298`` and one-line errors."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Creates a command; each paragraph of its help is one line, which the terminal wraps."""
        text = inspect.cleandoc(options.get("help") or "")
        options["help"] = "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n")) or None
        super().__init__(*arguments, **options)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeats the name of a list option before each of its values, as required by the parser.

        Raises:
            BadParameter: for an option with too few values.
        """
        for option in self.params:
            if option.nargs in _COUNTS:
                _check_count(args, option.opts[0], option.nargs)
        several = [option for option in self.params if getattr(option, "multiple", False)]
        lists = {name for option in several for name in option.opts}
        files = {name for option in several if option.metavar == FILES for name in option.opts}
        return list(super().parse_args(ctx, spread(args, lists, files)))

    def invoke(self, ctx: Any) -> Any:
        """Runs the command; an error raised by fermisea ends it with one line and status 2 (or 1)."""
        try:
            return super().invoke(ctx)
        except ConvergenceError as error:
            raise typer.Exit(fail(str(error), 1)) from error
        except FermiseaError as error:
            raise typer.Exit(fail(str(error), 2)) from error


def _check_count(arguments: Sequence[str], option: str, count: int) -> None:
    """Raises an error for an option such as ``--grid 24 24 24`` with too few values.

    Raises:
        BadParameter: for too few values.
    """
    if option not in arguments:
        return
    values = arguments[arguments.index(option) + 1 :][:count]
    got = list(takewhile(_is_number, values))
    if len(got) < count:
        example = " ".join([option, *["N"] * count])
        given = " ".join(got) or next((word for word in values[:1] if not word.startswith("--")), "")
        found = repr(given) if given else "nothing"
        raise typer.BadParameter(f"got {found}, expected {_COUNTS[count]} numbers: {example}", param_hint=repr(option))


def spread(arguments: Sequence[str], lists: set[str], files: Collection[str] = ()) -> list[str]:
    """Returns ``--name 1 2`` as ``--name 1 --name 2`` for the options in ``lists``.

    Values after the first one must be numbers or assignments such as Al=Al.upf; anything else is an argument or another
    option. Options in ``files`` take all words up to the next option.
    """
    result: list[str] = []
    option, values = None, 0
    for word in arguments:
        name = word.split("=", 1)[0]
        if name in lists:
            option, values = name, int("=" in word)
        elif option is not None and (values == 0 or _is_value(word) or (option in files and not word.startswith("-"))):
            if values > 0:
                result.append(option)
            values += 1
        else:
            option = None
        result.append(word)
    return result


def _is_value(word: str) -> bool:
    return _is_number(word) or ("=" in word and not word.startswith("-"))


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
