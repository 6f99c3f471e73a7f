"""Check that the tensors of a model file can be the numbers of a model, before a network is created from them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from fermisea.networks.mlp import DTYPES

_LARGEST = {"network": 1e10, "anchor": 1e15, "core": 1e6}
"""Largest sound absolute value of the numbers of networks, of the anchor (eV) and of core densities (electrons)."""


def check_tensors(tensors: Mapping[str, Tensor]) -> None:
    """Checks that numbers are finite and not absurdly large, and that scales are positive.

    Args:
        tensors: tensors of a model file by name.

    Raises:
        ValueError: for other numbers.
    """
    for name, tensor in tensors.items():
        if not tensor.dtype.is_floating_point:
            raise ValueError(f"{name} has the type {tensor.dtype}, expected a floating-point type")
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} has numbers that are not finite")
        limit = _LARGEST.get(name.partition(".")[0], max(_LARGEST.values()))
        largest = float(tensor.abs().max()) if tensor.numel() else 0.0
        if largest > limit:
            raise ValueError(f"{name} has the number {largest:.3g}, expected at most {limit:.0e}")
        if name.endswith("_scale") and not bool((tensor > 0).all()):
            raise ValueError(f"{name} has the scale {float(tensor.min()):.3g}, expected positive scales")


def check_network(architecture: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Checks that the tensors of a network have the sizes and the type of its architecture.

    Args:
        architecture: architecture from :func:`fermisea.networks.ensemble.architecture`.
        tensors: tensors of the network by their names in its state.

    Raises:
        KeyError, TypeError, ValueError: for a missing tensor, or one of another size or type.
    """
    if "members" in architecture:
        for index, member in enumerate(architecture["members"]):
            start = f"_members.{index}."
            own = {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
            check_network(member, own)
        return
    inputs, outputs = int(architecture["inputs"]), int(architecture["outputs"])
    sizes = (inputs, *(int(width) for width in architecture["hidden"]), outputs)
    shapes: dict[str, tuple[int, ...]] = {}
    for side, size in (("input", inputs), ("output", outputs)):
        shapes |= {f"{side}_mean": (size,), f"{side}_scale": (size,)}
    for index, (before, after) in enumerate(itertools.pairwise(sizes)):
        shapes |= {f"layers.{index}.weight": (after, before), f"layers.{index}.bias": (after,)}
    for name, shape in shapes.items():
        check_tensor(name, tensors[name], shape, DTYPES[architecture["dtype"]])


def check_tensor(name: str, tensor: Tensor, shape: tuple[int, ...] | None, dtype: torch.dtype) -> None:
    """Checks shape and type of a tensor.

    Args:
        name: name for the message.
        tensor: the tensor.
        shape: expected shape; None for any one-dimensional shape.
        dtype: expected type.

    Raises:
        ValueError: for another shape or type.
    """
    good = tensor.ndim == 1 if shape is None else tuple(tensor.shape) == shape
    if not good or tensor.dtype != dtype:
        expected = "one dimension" if shape is None else f"shape {shape}"
        raise ValueError(
            f"{name} has shape {tuple(tensor.shape)} and type {tensor.dtype}, expected {expected} and {dtype}"
        )
