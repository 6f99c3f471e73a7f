"""Settings of a study: files, tables in them, and checks of their numbers."""

from __future__ import annotations

import importlib.resources
import math
import os
from collections.abc import Collection, Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, TypeVar

from fermisea.errors import InputError
from fermisea.utilities.toml import check_keys, read_toml


class Settings(Protocol):
    """Settings of a study, a data class."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Returns the settings from the result of ``to_dict`` or the content of a TOML file."""


_Settings = TypeVar("_Settings", bound=Settings)
_Table = TypeVar("_Table")


def load_settings(
    kind: type[_Settings], name: str | os.PathLike[str], presets: Collection[str], package: str
) -> _Settings:
    """Returns shipped settings by name, or the settings of a TOML file.

    Args:
        kind: class of the settings.
        name: name of shipped settings, or a file.
        presets: names of the shipped settings.
        package: package with their files, NAME.toml.

    Raises:
        InputError: for an unknown or missing key, or an invalid value.
    """
    if str(name) in presets:
        with importlib.resources.as_file(importlib.resources.files(package) / f"{name}.toml") as path:
            return _read(kind, path)
    return _read(kind, Path(name))


def _read(kind: type[_Settings], path: Path) -> _Settings:
    values = read_toml(path, [item.name for item in fields(kind)])
    if lacking := _lacking(kind, values):
        raise InputError(f"{path}: the keys {', '.join(lacking)} are missing")
    try:
        return kind.from_dict(values)
    except (InputError, TypeError, ValueError) as error:
        raise InputError(f"{path}: {error}") from error


def tables(kind: type[_Table], name: str, entries: Any) -> tuple[_Table, ...]:
    """Returns an object for each entry of an array of tables; lists become tuples.

    Args:
        kind: data class of an entry.
        name: name of the array.
        entries: its content.

    Raises:
        InputError: for anything else than tables, an unknown or missing key, or an invalid value.
    """
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise InputError(f"{name}: got {entries!r}, expected tables [[{name}]]")
    known = [item.name for item in fields(kind)]  # type: ignore[arg-type]  # a data class
    found = []
    for entry in entries:
        check_keys(entry, known, name)
        if lacking := _lacking(kind, entry):
            raise InputError(f"{name}: the keys {', '.join(lacking)} are missing")
        found.append(kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}))
    return tuple(found)


def _lacking(kind: type, values: Mapping[str, Any]) -> list[str]:
    """Returns the names of missing fields without a default value."""
    required = {item.name for item in fields(kind) if item.default is MISSING and item.default_factory is MISSING}
    return sorted(required - set(values))


def check_numbers(name: str, values: Any, length: int, *, lowest: float, whole: bool = False) -> None:
    """Raises InputError unless values are a tuple of finite numbers that are not too low.

    Args:
        name: name for the message.
        values: the values.
        length: expected number of values.
        lowest: smallest allowed value.
        whole: whether only integers are allowed.
    """
    kind: Any = int if whole else int | float
    good = isinstance(values, tuple) and len(values) == length
    if not good or not all(isinstance(x, kind) and not isinstance(x, bool) and lowest <= x < math.inf for x in values):
        word = "integer" if whole else "number"
        expected = f"{length} {word}s" if length != 1 else f"an {word}" if whole else f"a {word}"
        shown: Any = list(values) if isinstance(values, tuple) else values
        if length == 1 and isinstance(values, tuple) and len(values) == 1:
            (shown,) = values
        limit = "" if lowest == -math.inf else f" of at least {lowest:g}"
        raise InputError(f"{name}: got {shown!r}, expected {expected}{limit}")
