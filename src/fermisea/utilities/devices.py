"""Devices of tensors by name, checked before any computation."""

from __future__ import annotations

import torch

from fermisea.errors import InputError
from fermisea.utilities.torchrun import local_rank

DeviceName = str | torch.device
"""Name of a device, such as ``"cpu"``, ``"cuda"`` or ``"cuda:1"``, or the device itself."""

_FAILURES = (RuntimeError, TypeError, AssertionError, ImportError)
"""Errors of torch for a device that is missing or lacks an operation."""


def device_of(name: DeviceName) -> torch.device:
    """Returns the device with a name; under torchrun, ``"cuda"`` is a different device for each process of a machine.

    Raises:
        InputError: for an unknown name, a device that does not exist, or one without double precision.
    """
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"device: got {str(name)!r}, which torch does not know; expected {_expected()}") from error
    if device.type == "cpu" and not device.index:
        return torch.device("cpu")
    if device.type == "cuda":
        device = torch.device("cuda", local_rank() if device.index is None else device.index)
        count = torch.cuda.device_count()
        if count <= device.index:
            raise InputError(
                f"device: got {str(name)!r}, which is CUDA device number {device.index} for this process, but torch "
                f"finds {count} CUDA devices; expected {_expected()}"
            )
    if device.type == "cpu" or not _has_double_precision(device):
        raise InputError(
            f"device: got {str(name)!r}, which does not exist or has no double precision; expected {_expected()}"
        )
    return device


def _has_double_precision(device: torch.device) -> bool:
    """Returns whether a device exists and returns numbers in double precision."""
    try:
        return float((torch.ones(1, dtype=torch.float64, device=device) + 1).cpu()) == 2
    except _FAILURES:
        return False


def _expected() -> str:
    """Returns the names of the devices of this machine."""
    known = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    return " or ".join(known)
