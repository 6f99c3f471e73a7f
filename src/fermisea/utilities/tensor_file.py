"""Tensors in the safetensors format, with other data as JSON in the header and a checksum over everything.

The checksum covers the JSON data and the name, type, shape and numbers of each tensor.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from fermisea.utilities.files import atomic_path, readable

_HEADER = "fermisea"
_INVALID = (SafetensorError, LookupError, ValueError, TypeError, AttributeError, RuntimeError, OverflowError)


def write_tensors(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], entries: Mapping[str, Any]) -> None:
    """Writes a file with a checksum, atomically.

    Args:
        path: path of the file.
        tensors: tensors by name.
        entries: plain data for JSON; numbers that are not finite are allowed.

    Raises:
        StorageError: if the file cannot be written; an earlier file is unchanged.
    """
    plain = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    header = json.dumps({**entries, "checksum": checksum(entries, plain)})
    image = save(plain, {_HEADER: header})
    with atomic_path(path) as temporary:
        temporary.write_bytes(image)


def read_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Returns tensors and JSON data of a file, with the stored checksum, which is not verified.

    Nothing in the file is executed or unpickled.

    Raises:
        ValueError: if the file is truncated or of another kind.
        FileNotFoundError, IsADirectoryError: if there is no such file.
        StorageError: if the file cannot be read now.
    """
    with readable(path):
        content = Path(path).read_bytes()
    try:
        tensors = load(content)
        length = int.from_bytes(content[:8], "little")
        entries = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][_HEADER])
        return tensors, dict(entries)
    except _INVALID as error:
        raise ValueError(f"not a file of tensors ({error})") from error


def checksum(entries: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Returns the SHA-256 of the JSON data and of all tensors in the order of their names.

    Args:
        entries: plain data for JSON; an entry ``checksum`` is omitted.
        tensors: tensors by name.
    """
    plain = {key: value for key, value in entries.items() if key != "checksum"}
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(numbers_of(tensor))
    return digest.hexdigest()


def numbers_of(tensor: Tensor) -> bytes:
    """Returns the numbers of a tensor as bytes."""
    row = tensor.cpu().clone(memory_format=torch.contiguous_format).reshape(-1)
    return row.view(torch.uint8).numpy().tobytes()
