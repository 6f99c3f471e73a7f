"""The file from which an interrupted training goes on: tensors in safetensors, numbers as JSON in its header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fermisea.errors import FileFormatError
from fermisea.utilities.files import atomic_path

FORMAT = "fermisea-checkpoint"
VERSION = 2
SUFFIX = ".checkpoint"
_HEADER = "fermisea"


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
    """Writes the file, whole or not at all.

    Args:
        path: of the file.
        tensors: by name.
        numbers: plain data that JSON can hold; a number that is not finite too.

    Raises:
        StorageError: if it cannot be written; an earlier file stays.
    """
    header = json.dumps({"format": FORMAT, "version": VERSION} | dict(numbers))
    with atomic_path(path) as temporary:
        save_file({name: value.cpu().contiguous() for name, value in tensors.items()}, temporary, {_HEADER: header})


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Returns tensors and numbers of a file. Nothing in it is ever executed or unpickled.

    Raises:
        FileFormatError: if it is something else, truncated, or of another version.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            numbers = json.loads((stream.metadata() or {})[_HEADER])
            tensors = {name: stream.get_tensor(name).clone() for name in stream.keys()}  # noqa: SIM118
        known = (numbers["format"], numbers["version"]) == (FORMAT, VERSION)
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise FileFormatError(_not_a_checkpoint(path)) from error
    if not known:
        raise FileFormatError(_not_a_checkpoint(path))
    return tensors, numbers


def _not_a_checkpoint(path: Path) -> str:
    return f"{path}: not a checkpoint of this version of fermisea, or a truncated one; remove it and begin anew"
