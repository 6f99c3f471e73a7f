"""Final fit of the last layer, in which the LDOS is linear, as an exact least-squares problem."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fermisea.networks.mlp import Mlp
from fermisea.training.points import Points
from fermisea.utilities.torchrun import Processes


def fit_readout(
    network: Mlp, points: Points, dos_weight: float, ridge: float, processes: Processes | None = None
) -> None:
    """Sets the last layer, d = W h + b, to the minimum of a least-squares problem at fixed hidden layers.

    With the normalised LDOS z, means over all points, snapshots s and bars for means over a snapshot (the DOS), the
    minimised function is
        mean |W h + b - z|^2 + dos_weight mean_s |W hbar_s + b - zbar_s|^2 + ridge tr(A)/dim |(W, b) - (W, b)_before|^2,
    where A is the matrix of its normal equations. Each energy is a separate problem with the same matrix, so the
    result is optimal for every linear functional of the LDOS at once.
    """
    width = network.widths[-1] + 1
    place: Any = {"dtype": torch.float64, "device": network.device}
    normal = torch.zeros(width, width, **place)
    right = torch.zeros(width, network.outputs, **place)
    mean_input = torch.zeros(len(points.sizes), width, **place)
    mean_error = torch.zeros(len(points.sizes), network.outputs, **place)
    processes = processes or Processes()
    for number, (index, descriptors, ldos) in enumerate(points.blocks()):
        if not processes.mine(number):
            continue
        hidden, error = _hidden_and_error(network, descriptors, ldos)
        normal += hidden.T @ hidden / len(points)
        right += hidden.T @ error / len(points)
        mean_input[index] += hidden.sum(0) / points.sizes[index]
        mean_error[index] += error.sum(0) / points.sizes[index]
    processes.add(normal, right, mean_input, mean_error)
    weight = dos_weight / len(points.sizes)
    normal += weight * mean_input.T @ mean_input
    right += weight * mean_input.T @ mean_error
    normal += ridge * normal.trace() / width * torch.eye(width, **place)
    change = torch.linalg.solve(normal, right).T
    matrix, bias = network.readout()
    scale, mean = network.output_scale.double(), network.output_mean.double()
    network.set_readout(matrix / scale[:, None] + change[:, :-1], (bias - mean) / scale + change[:, -1])


@torch.no_grad()
def _hidden_and_error(network: Mlp, descriptors: Tensor, ldos: Tensor) -> tuple[Tensor, Tensor]:
    hidden = network.hidden(descriptors)
    predicted = torch.as_tensor(network.layers[-1](hidden)).double()
    error = (ldos.double() - network.output_mean.double()) / network.output_scale.double() - predicted
    ones = torch.ones(len(hidden), 1, dtype=torch.float64, device=hidden.device)
    return torch.cat([hidden.double(), ones], dim=1), error
