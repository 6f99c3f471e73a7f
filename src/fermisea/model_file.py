"""The file of a model: safetensors for the numbers, JSON in its header for the rest, and a checksum over both."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fermisea.errors import FileFormatError
from fermisea.files import atomic_path

FORMAT = "fermisea-model"
VERSION = 1
_HEADER = "fermisea"
_UNITS = {"energy": "eV", "length": "Angstrom", "temperature": "K", "ldos": "1/(eV Angstrom^3)"}


def write_model_file(path: str | os.PathLike[str], entries: Mapping[str, Any], tensors: dict[str, Tensor]) -> None:
    """Writes entries, plain data, and tensors, whole or not at all.

    Raises:
        StorageError: if the file cannot be written.
    """
    header = {"format": FORMAT, "version": VERSION, "units": _UNITS, **entries}
    header["checksum"] = _checksum(header, tensors)
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={_HEADER: json.dumps(header)})


def read_model_file(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Returns entries and tensors. Nothing in the file is ever executed or unpickled.

    Raises:
        FileFormatError: if it is not a fermisea model, or is truncated or altered.
    """
    header = read_header(path)
    with safe_open(path, framework="pt") as stream:
        tensors = {name: stream.get_tensor(name).clone() for name in stream.keys()}  # noqa: SIM118
    if "checksum" not in header:
        raise damaged(path, KeyError("checksum"))
    if header["checksum"] != _checksum(header, tensors):
        raise FileFormatError(f"{path}: its content does not match its checksum; the file was altered, copy it anew")
    return header, tensors


def damaged(path: str | os.PathLike[str], error: Exception) -> FileFormatError:
    """Returns the error for a file whose entries do not make a model."""
    detail = " ".join(str(error).split())[:120]
    return FileFormatError(
        f"{path}: a fermisea model file with a wrong or missing entry ({detail}); train and save it anew"
    )


def read_header(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns the JSON header of a model file, the tensors left aside.

    Raises:
        FileFormatError: if it is not a fermisea model, or is truncated.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
        header = json.loads(metadata[_HEADER])
        version = int(header["version"]) if header["format"] == FORMAT else None
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise FileFormatError(_not_a_model(path)) from error
    if version is None:
        raise FileFormatError(_not_a_model(path))
    if version != VERSION:
        raise FileFormatError(
            f"{path}: model format {version}, this fermisea reads format {VERSION}; train it anew or change the version"
        )
    return dict(header)


def _not_a_model(path: str | os.PathLike[str]) -> str:
    return f"{path}: not a fermisea model file, or a truncated one; expected a file that 'fermisea train' wrote"


def _checksum(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the header, without the checksum itself, and all tensors in the order of their names."""
    digest = hashlib.sha256()
    plain = {key: value for key, value in header.items() if key != "checksum"}
    digest.update(json.dumps(plain, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensors[name].numpy()).tobytes())
    return digest.hexdigest()
