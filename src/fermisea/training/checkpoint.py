"""Checkpoint file of an interrupted training run: tensors in safetensors, JSON in its header, and a checksum."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fermisea.errors import DamagedFileError, FileFormatError, StorageError
from fermisea.utilities.tensor_file import checksum, read_tensors, write_tensors

FORMAT = "fermisea-checkpoint"
VERSION = 3
SUFFIX = ".checkpoint"
_REMEDY = "remove the file and start again"


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
    """Writes the file atomically.

    Args:
        path: path of the file.
        tensors: tensors by name.
        numbers: plain data for JSON; numbers that are not finite are allowed.

    Raises:
        StorageError: if the file cannot be written; an earlier file is kept.
    """
    write_tensors(path, tensors, {"format": FORMAT, "version": VERSION} | dict(numbers))


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Returns tensors and numbers of a file. Nothing in the file is executed or unpickled.

    Raises:
        DamagedFileError: if the file is altered.
        FileFormatError: if the file is not a checkpoint, truncated, of another version, or has tensors that are not
            finite.
        StorageError: if the file cannot be read now.
    """
    try:
        tensors, numbers = read_tensors(path)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise FileFormatError(f"{path}: no such file, expected a checkpoint of a training") from error
    except StorageError:
        raise
    except ValueError as error:
        raise FileFormatError(_not_a_checkpoint(path)) from error
    if numbers.get("format") != FORMAT:
        raise FileFormatError(_not_a_checkpoint(path))
    if numbers.get("version") != VERSION:
        raise FileFormatError(
            f"{path}: not a checkpoint of this version of fermisea: got format {numbers.get('version')}, expected "
            f"format {VERSION}; resume with the version that wrote the file, or {_REMEDY}"
        )
    if numbers.pop("checksum", None) != checksum(numbers, tensors):
        raise DamagedFileError(f"{path}: altered, its content does not match the stored checksum; {_REMEDY}")
    spoilt = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if spoilt:
        raise FileFormatError(f"{path}: {spoilt[0]} has numbers that are not finite; {_REMEDY}")
    return tensors, numbers


def _not_a_checkpoint(path: Path) -> str:
    return f"{path}: not a checkpoint of fermisea, or a truncated one; {_REMEDY}"
