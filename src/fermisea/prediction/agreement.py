"""Processes that share a prediction must have been given the same one."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import torch

from fermisea.errors import InputError
from fermisea.utilities.torchrun import Processes

if TYPE_CHECKING:
    from ase import Atoms

    from fermisea.networks.ensemble import Network

_DIFFERENCE = 1e-8
"""Largest difference between coordinates of two processes, Angstrom."""


def check_same_inputs(processes: Processes, network: Network, atoms: Atoms, *inputs: object) -> None:
    """Raises InputError in all processes if their networks, structures or other inputs differ.

    Args:
        processes: processes that share the prediction; each of them calls this function.
        network: network of the model.
        atoms: structure.
        inputs: numbers and text, in the same order in every process.
    """
    if processes.count == 1:
        return
    processes.wait()
    found = hashlib.sha256(repr((atoms.numbers.tolist(), inputs)).encode())
    for values in network.state_dict().values():
        found.update(values.cpu().contiguous().numpy().tobytes())
    digest = np.frombuffer(found.digest(), dtype=np.uint8)
    for rank, other in enumerate(processes.gathered(torch.from_numpy(digest.copy()))):
        if not np.array_equal(other.numpy(), digest):
            _refuse(processes.rank, rank, "elements, numbers of atoms, models, tau_e or options")
    own = torch.from_numpy(np.concatenate([atoms.cell.array, atoms.positions]))
    for rank, other in enumerate(processes.gathered(own)):
        if float((other - own).abs().max()) > _DIFFERENCE:
            _refuse(processes.rank, rank, "cells or positions")


def _refuse(one: int, other: int, what: str) -> None:
    raise InputError(
        f"processes: processes {min(one, other)} and {max(one, other)} got different {what}, but they share one "
        "prediction; give all of them the same model, structure and options, or predict within "
        "fermisea.utilities.torchrun.alone()"
    )
