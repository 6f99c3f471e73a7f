"""Check that a checkpoint belongs to a training run, and resumption from it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from fermisea.data.dataset import Dataset
from fermisea.errors import FileFormatError, InputError
from fermisea.training.checkpoint import read_checkpoint
from fermisea.training.config import TrainingConfig
from fermisea.training.loop import Loop

_FREE = (
    "epochs",
    "learning_rate",
    "weight_decay",
    "schedule",
    "warm_up",
    "plateau_factor",
    "plateau_patience",
    "gradient_clip",
    "patience",
    "readout",
    "dos_weight",
    "ridge",
    "anchor",
    "anchor_order",
    "anchor_smoothness",
    "anchor_products",
    "anchor_cutoff",
    "anchor_force_scale",
    "anchor_hidden",
    "potential",
    "potential_order",
    "potential_cutoff",
    "potential_volume",
    "potential_forces",
    "allow_closure_error",
)
"""Fields of a configuration that may be changed on resuming."""


def identity_of(dataset: Dataset, config: TrainingConfig) -> dict[str, Any]:
    """Returns the data and settings that must be the same in a checkpoint and the training."""
    digest = hashlib.sha256()
    for snapshot in dataset:
        for part in (snapshot.atoms.numbers, snapshot.atoms.positions, snapshot.atoms.cell.array, snapshot.dos):
            digest.update(np.ascontiguousarray(part).tobytes())
    settings = {name: value for name, value in config.to_dict().items() if name not in _FREE}
    return {"data": f"{len(dataset)} snapshots ({digest.hexdigest()[:12]})"} | settings


def begun(
    file: Path | None, identity: dict[str, Any], *, resume: bool
) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Returns the state from which to resume, or None to start from the beginning.

    Args:
        file: checkpoint file, None for a training run without one.
        identity: identity of the training, from ``identity_of``.
        resume: whether to resume from an existing file.

    Raises:
        InputError: if a file exists without ``resume``, or has other data or settings.
        FileFormatError: for a damaged file.
    """
    if file is None:
        if resume:
            raise InputError("resume: got no checkpoint, expected the checkpoint file of the training")
        return None
    if not file.exists():
        return None
    if not resume:
        raise InputError(f"{file}: holds an unfinished training; resume it (resume), or remove the file to start again")
    tensors, numbers = read_checkpoint(file)
    before = numbers.get("identity")
    if not isinstance(before, dict):
        raise FileFormatError(f"{file}: a checkpoint without its data and settings; remove the file and start again")
    for name, value in identity.items():
        if before.get(name) != value:
            raise InputError(
                f"{file}: made with {name} {before.get(name)}, but this training has {value}; use the settings of the "
                "file, or remove the file to start again"
            )
    return tensors, numbers


def load(loop: Loop, state: tuple[dict[str, Tensor], dict[str, Any]], file: str | os.PathLike[str] | None) -> None:
    """Restores the state of a loop from a checkpoint.

    Raises:
        FileFormatError: if the state does not belong to this loop.
    """
    tensors, numbers = state
    try:
        loop.load(tensors, numbers["loop"])
    except (LookupError, RuntimeError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        detail = " ".join(str(error).split())[:120]
        raise FileFormatError(
            f"{file}: a checkpoint with a wrong or missing entry ({detail}); remove the file and train from the "
            "beginning"
        ) from error
