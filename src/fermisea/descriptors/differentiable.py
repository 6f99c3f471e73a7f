"""Descriptors as a differentiable function of torch tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from ase import Atoms
from torch import Tensor
from torch.autograd.function import once_differentiable

from fermisea.descriptors.base import Descriptor
from fermisea.descriptors.bispectrum import Bispectrum
from fermisea.descriptors.neighbors import weights_of
from fermisea.descriptors.power_spectrum import PowerSpectrum
from fermisea.descriptors.torch_route import torch_descriptors


def differentiable_descriptors(
    descriptor: Bispectrum | PowerSpectrum, symbols: Sequence[str], positions: Tensor, cell: Tensor, points: Tensor
) -> Tensor:
    """Returns the descriptors at points, with derivatives with respect to positions, cell and points.

    On the CPU the compiled loops are used, which give first derivatives; on other devices tensor operations are used.
    Periodic images move with the cell: apply a strain to positions, cell and points together.

    Args:
        descriptor: a bispectrum or power spectrum.
        symbols: element of each atom.
        positions: (atoms, 3), Angstrom; float64 or float32, which is also the type of the result.
        cell: lattice vectors as rows, (3, 3), Angstrom.
        points: Cartesian, (points, 3), Angstrom.

    Returns:
        (points, features).

    Raises:
        InputError: for a cell without volume, values that are not finite, an element without a weight.
    """
    if positions.device.type == "cpu":
        return _Compiled.apply(descriptor, list(symbols), positions, cell, points)  # type: ignore[no-untyped-call]
    weights = positions.new_tensor(weights_of(symbols, descriptor.weights))
    return torch_descriptors(descriptor, positions, cell, weights, points)


class _Compiled(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, descriptor: Descriptor, symbols: list[str], positions: Tensor, cell: Tensor, points: Tensor
    ) -> Tensor:
        atoms = Atoms(symbols, positions=positions.numpy(force=True), cell=cell.numpy(force=True), pbc=True)
        ctx.evaluator = descriptor.evaluator(atoms, str(positions.dtype).removeprefix("torch."))
        ctx.save_for_backward(points)
        return torch.from_numpy(ctx.evaluator.points(points.numpy(force=True)))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cotangents: Tensor) -> tuple[Tensor | None, ...]:
        (points,) = ctx.saved_tensors
        gradients = ctx.evaluator.points_vjp(points.numpy(force=True), cotangents.numpy(force=True))
        parts = (gradients.positions, gradients.cell, gradients.points)
        return None, None, *(torch.from_numpy(part).to(cotangents.dtype) for part in parts)
