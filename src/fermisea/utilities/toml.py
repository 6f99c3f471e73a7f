"""TOML files of settings: reading with a check of the keys, and writing."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from fermisea.errors import InputError
from fermisea.utilities.files import readable

_LARGEST = 2**20
"""Largest size of a file of settings, bytes."""


def read_toml(path: str | os.PathLike[str], known: Collection[str]) -> dict[str, Any]:
    """Returns the top-level keys and values of a TOML file.

    Args:
        path: path of the file.
        known: allowed keys.

    Raises:
        InputError: if the file is missing or not TOML, or has an unknown key.
        StorageError: if the file cannot be read now.
    """
    path = Path(path)
    try:
        with readable(path), path.open("rb") as stream:
            content = stream.read(_LARGEST + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give a TOML file") from error
    if len(content) > _LARGEST:
        raise InputError(f"{path}: larger than {_LARGEST} bytes, expected a TOML file of settings; give another file")
    try:
        values = tomllib.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a TOML file ({error}); expected lines such as key = value") from error
    check_keys(values, known, str(path))
    return values


def check_keys(values: Mapping[str, Any], known: Collection[str], name: str) -> None:
    """Raises InputError for a key that is not known, with a list of the known keys.

    Args:
        values: settings by key.
        known: allowed keys.
        name: name of the settings in the message, for example their file.
    """
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise InputError(f"{name}: unknown key {', '.join(unknown)}; the known keys are {', '.join(known)}")


def toml_text(values: Mapping[str, Any]) -> str:
    """Returns flat settings as lines of TOML: strings, numbers, booleans and lists of these; None is omitted.

    A mapping of such values becomes an inline table.
    """
    return "".join(f"{name} = {_toml(value)}\n" for name, value in values.items() if value is not None)


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{name} = {_toml(item)}" for name, item in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)
