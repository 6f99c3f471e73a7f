"""Derivatives of sums over a grid by the atoms and the cell, box by box: nothing of a box is kept.

What is summed is linear in the last hidden layer h of a network; what multiplies it at a point is the uniform vector
plus a few vectors times fields. Descriptors of a box are made again, and products with the derivatives of network and
descriptors (never these themselves) give those of the sum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from fermisea.descriptors import Descriptor
from fermisea.errors import InputError
from fermisea.grid import RealSpaceGrid
from fermisea.networks.ensemble import Network
from fermisea.prediction.hidden import ROWS
from fermisea.prediction.tiling import Box, boxes
from fermisea.utilities.arrays import FloatArray
from fermisea.utilities.threads import in_order


@dataclass(frozen=True)
class Cotangent:
    """What multiplies h: uniform + sum_k fields[k](r) vectors[k].

    Attributes:
        uniform: (width,).
        vectors: (fields, width).
        fields: (fields, nx, ny, nz).
    """

    uniform: Tensor
    vectors: Tensor
    fields: FloatArray


def swept_gradient(
    network: Network,
    descriptor: Descriptor,
    atoms: Atoms,
    grid: RealSpaceGrid,
    cotangent: Cotangent,
    *,
    chunk: int,
    count: Callable[[int], None],
) -> tuple[FloatArray, FloatArray]:
    """Returns the derivatives of the sum over the points of cotangent times h.

    Args:
        network: from descriptors to h, on the CPU.
        descriptor: of the network.
        atoms: the structure.
        grid: spans its cell.
        cotangent: at each point of the grid.
        chunk: most points of a box.
        count: is told how many points each box had.

    Returns:
        By the positions of the atoms, (atoms, 3), and by the strain of the cell, with which atoms and points move,
        (3, 3), symmetric.

    Raises:
        InputError: for a network on another device, or a structure that cannot be used.
    """
    if network.device.type != "cpu":
        raise InputError(f"forces: got a model on {network.device}, expected one on the CPU")
    evaluator = descriptor.evaluator(atoms, "float64" if network.dtype == torch.float64 else "float32", threads=1)
    uniform, vectors = cotangent.uniform.to(network.dtype), cotangent.vectors.to(network.dtype)
    fields = torch.from_numpy(cotangent.fields)

    def part(box: Box) -> tuple[int, FloatArray, FloatArray]:
        i, j, k = box
        corners = (i.start, j.start, k.start), (i.stop, j.stop, k.stop)
        values = torch.from_numpy(evaluator.box(grid, *corners))
        rows = fields[:, i, j, k].reshape(len(fields), -1).T.to(network.dtype)
        found = torch.empty_like(values)
        for first in range(0, len(values), ROWS):
            batch = slice(first, first + ROWS)
            with torch.enable_grad():
                inputs = values[batch].requires_grad_()
                hidden = network.hidden(inputs)
            (found[batch],) = torch.autograd.grad(hidden, inputs, rows[batch] @ vectors + uniform)
        return len(values), *evaluator.box_vjp(grid, *corners, found.numpy())

    positions, cell = np.zeros((len(atoms), 3)), np.zeros((3, 3))
    for points, by_positions, by_cell in in_order(part, boxes(grid.shape, chunk), torch.get_num_threads()):
        positions += by_positions
        cell += by_cell
        count(points)
    strain = atoms.positions.T @ positions + grid.lattice.T @ cell
    return positions, (strain + strain.T) / 2
