"""Whether a checkpoint belongs to a training, and how it goes on from there."""

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
    "anchor_cutoff",
    "anchor_hidden",
)
"""Fields of a configuration that may change while a training is interrupted."""


def identity_of(dataset: Dataset, config: TrainingConfig) -> dict[str, Any]:
    """Returns what a checkpoint must agree in: the data, and the settings that its state depends on."""
    digest = hashlib.sha256()
    for snapshot in dataset:
        for part in (snapshot.atoms.numbers, snapshot.atoms.positions, snapshot.atoms.cell.array, snapshot.dos):
            digest.update(np.ascontiguousarray(part).tobytes())
    settings = {name: value for name, value in config.to_dict().items() if name not in _FREE}
    return {"data": f"{len(dataset)} snapshots ({digest.hexdigest()[:12]})"} | settings


def begun(
    file: Path | None, identity: dict[str, Any], *, resume: bool
) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Returns the state to go on from, or None to begin.

    Args:
        file: of the checkpoint, None for a training without one.
        identity: of the training, from ``identity_of``.
        resume: whether to go on from a file that is there.

    Raises:
        InputError: if a file is there that is not to be resumed, or was made with other data or settings.
        FileFormatError: for a damaged file.
    """
    if file is None:
        if resume:
            raise InputError("resume: got no checkpoint, expected the file of the training to go on with")
        return None
    if not file.exists():
        return None
    if not resume:
        raise InputError(
            f"{file}: an unfinished training is there; go on from it (resume) or remove the file to begin anew"
        )
    tensors, numbers = read_checkpoint(file)
    before = numbers.get("identity", {})
    for name, value in identity.items():
        if before.get(name) != value:
            raise InputError(
                f"{file}: was made with {name} {before.get(name)}, this training has {value}; go on with what it was "
                "made with, or remove the file to begin anew"
            )
    return tensors, numbers


def load(loop: Loop, state: tuple[dict[str, Tensor], dict[str, Any]], file: str | os.PathLike[str] | None) -> None:
    """Puts a loop into the state of a checkpoint.

    Raises:
        FileFormatError: if the state is not one of this loop.
    """
    tensors, numbers = state
    try:
        loop.load(tensors, numbers["loop"])
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        detail = " ".join(str(error).split())[:120]
        raise FileFormatError(
            f"{file}: a checkpoint with a wrong or missing entry ({detail}); remove it and train from the beginning"
        ) from error
