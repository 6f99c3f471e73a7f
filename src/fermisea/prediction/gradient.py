"""Backward pass over one tile: derivatives of a sum over its points with respect to atoms and cell.

The sum is linear in the last hidden layer h of a network; the factor of h at a point is a uniform vector plus a few
vectors times fields. The descriptors of the tile are recomputed, and vector-Jacobian products of network and
descriptors give the derivatives of the sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fermisea.descriptors import Evaluator
from fermisea.grid import RealSpaceGrid, Tile
from fermisea.networks.ensemble import Network
from fermisea.utilities.arrays import FloatArray

if TYPE_CHECKING:
    from fermisea.descriptors.torch_route import TorchEvaluator


@dataclass(frozen=True)
class Cotangent:
    """The factor of h at each point, uniform + sum_k fields[k](r) vectors[k].

    Attributes:
        uniform: (width,).
        vectors: (fields, width).
        fields: (fields, planes, ny, nz).
        first: first plane of the fields in the whole grid.
    """

    uniform: Tensor
    vectors: Tensor
    fields: FloatArray
    first: int = 0

    def on(self, tile: Tile) -> FloatArray:
        """Returns the fields on a tile of the whole grid, (fields, points)."""
        i, j, k = tile
        values = self.fields[:, i.start - self.first : i.stop - self.first, j, k]
        return values.reshape(len(self.fields), -1)


def tile_gradient(
    network: Network,
    evaluator: Evaluator | TorchEvaluator,
    grid: RealSpaceGrid,
    tile: Tile,
    cotangent: Cotangent,
    *,
    rows: int,
) -> tuple[FloatArray, FloatArray]:
    """Returns derivatives of the sum over the points of a tile of cotangent times h.

    Args:
        network: network from descriptors to h.
        evaluator: descriptors of the structure, in the type of the network and on its device.
        grid: grid on the cell of the structure.
        tile: points of the grid.
        cotangent: factor of h at each point, on the CPU.
        rows: number of points in one batch of the network.

    Returns:
        Derivatives with respect to the positions of the atoms, (atoms, 3), and to the lattice vectors at fixed
        fractional coordinates of the points, (3, 3).
    """
    i, j, k = tile
    corners = (i.start, j.start, k.start), (i.stop, j.stop, k.stop)
    uniform, vectors, fields = (
        values.to(network.device, network.dtype)
        for values in (cotangent.uniform, cotangent.vectors, torch.from_numpy(cotangent.on(tile)).T)
    )
    values = torch.as_tensor(evaluator.box(grid, *corners))
    found = torch.empty_like(values)
    for first in range(0, len(values), rows):
        batch = slice(first, first + rows)
        with torch.enable_grad():
            inputs = values[batch].requires_grad_()
            hidden = network.hidden(inputs)
        (found[batch],) = torch.autograd.grad(hidden, inputs, fields[batch] @ vectors + uniform)
    if isinstance(evaluator, Evaluator):
        return evaluator.box_vjp(grid, *corners, found.numpy())
    positions, cell = evaluator.box_vjp(grid, *corners, found)
    return positions.cpu().numpy(), cell.cpu().numpy()
