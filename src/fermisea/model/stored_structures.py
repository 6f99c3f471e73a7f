"""Structures in a model file: cells, positions and atomic numbers as single-precision numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from fermisea.model.soundness import check_tensor

_NAMES = ("sizes", "cells", "positions", "numbers")


def tensors_of(structures: Sequence[Atoms]) -> dict[str, Tensor]:
    """Returns the tensors of structures by name; lengths in Angstrom."""
    if not structures:
        return {}
    parts = {
        "sizes": np.array([len(atoms) for atoms in structures]),
        "cells": np.array([atoms.cell.array for atoms in structures]),
        "positions": np.concatenate([atoms.positions for atoms in structures]),
        "numbers": np.concatenate([atoms.numbers for atoms in structures]),
    }
    return {f"structures.{name}": torch.from_numpy(parts[name].astype(np.float32)) for name in _NAMES}


def structures_of(tensors: Mapping[str, Tensor]) -> tuple[Atoms, ...]:
    """Returns the periodic structures from the tensors of a model file; none if the file has none.

    Raises:
        KeyError, ValueError: for missing tensors, or tensors of the wrong type or size.
    """
    if not any(name.startswith("structures.") for name in tensors):
        return ()
    sizes, cells, positions, numbers = (tensors[f"structures.{name}"] for name in _NAMES)
    counts = sizes.long()
    count, total = len(counts), int(counts.sum())
    shapes = ((count,), (count, 3, 3), (total, 3), (total,))
    for name, tensor, shape in zip(_NAMES, (sizes, cells, positions, numbers), shapes, strict=True):
        check_tensor(f"structures.{name}", tensor, shape, torch.float32)
    if not bool((counts > 0).all()) or not bool((counts == sizes).all()):
        raise ValueError("structures.sizes has numbers that are not positive integers")
    split = zip(positions.split(counts.tolist()), numbers.split(counts.tolist()), cells, strict=True)
    return tuple(
        Atoms(own.long().numpy(), positions=places.double().numpy(), cell=cell.double().numpy(), pbc=True)
        for places, own, cell in split
    )
