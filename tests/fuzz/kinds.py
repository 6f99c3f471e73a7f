"""What a format is to the fuzz tests, and the flat form of everything that a reader returns."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms


@dataclass(frozen=True)
class Format:
    """A format that the package reads.

    Attributes:
        name: name of the format.
        make: writes a valid seed into an empty folder.
        damage: changes the seed in a folder, and returns a description of the change.
        read: reads the files of the folder, and returns everything that was read.
        command: arguments of a command line that reads the files; None if there is no quick one.
        checked: whether a checksum, or a computation from other data, must keep the result as it was.
    """

    name: str
    make: Callable[[Path], None]
    damage: Callable[[random.Random, Path], str]
    read: Callable[[Path], Any]
    command: Callable[[Path], list[str]] | None = None
    checked: bool = False


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """All numbers and words in a value, each with its path; arrays in one piece."""
    if isinstance(value, Atoms):
        value = {"numbers": value.numbers, "positions": value.positions, "cell": value.cell.array}
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif isinstance(value, torch.nn.Module):
        value = value.state_dict()
    if isinstance(value, torch.Tensor):
        value = value.detach().to(torch.float64).numpy()
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from flat(item, f"{path}.{key}")
    elif isinstance(value, np.ndarray):
        yield path, value
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from flat(item, f"{path}.{index}")
    else:
        yield path, value


def not_finite(content: Any) -> str | None:
    """The path of a number in a result that is not finite; None if there is none."""
    for path, value in flat(content):
        if isinstance(value, int) or not isinstance(value, float | complex | np.number | np.ndarray):
            continue
        if np.asarray(value).dtype.kind in "fc" and not np.isfinite(value).all():
            return path
    return None


def same(one: Any, other: Any) -> bool:
    """Whether two results are equal, number by number and word by word."""
    first, second = dict(flat(one)), dict(flat(other))
    return first.keys() == second.keys() and all(_equal(first[path], second[path]) for path in first)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        one, other = np.asarray(one), np.asarray(other)
        numbers = one.dtype.kind in "fc" and other.dtype.kind in "fc"
        return one.shape == other.shape and bool(np.array_equal(one, other, equal_nan=numbers))
    return bool(one == other)
