"""Checkpoint file of an interrupted training run: tensors in safetensors, numbers as JSON in its header."""

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
    """Writes the file atomically.

    Args:
        path: path of the file.
        tensors: tensors by name.
        numbers: plain data for JSON; numbers that are not finite are allowed.

    Raises:
        StorageError: if the file cannot be written; an earlier file is kept.
    """
    header = json.dumps({"format": FORMAT, "version": VERSION} | dict(numbers))
    with atomic_path(path) as temporary:
        save_file({name: value.cpu().contiguous() for name, value in tensors.items()}, temporary, {_HEADER: header})


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Returns tensors and numbers of a file. Nothing in the file is executed or unpickled.

    Raises:
        FileFormatError: if the file is not a checkpoint, truncated, or of another version.
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
    return f"{path}: not a checkpoint of this version of fermisea, or a truncated one; remove the file and start again"
