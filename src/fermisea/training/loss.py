"""What training makes small."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from fermisea.network import Mlp
from fermisea.parallel import Processes
from fermisea.points import Points
from fermisea.snapshot import Snapshot
from fermisea.training.normalisation import Moments, Normalisation


class Loss:
    """The mean square error of the normalised LDOS plus a weight times that of the normalised density at tau_ref."""

    def __init__(
        self,
        density_weights: Tensor,
        points: Points,
        normalisation: Normalisation,
        *,
        density_weight: float,
        precision: str = "float32",
    ) -> None:
        """Finds the scale of the density.

        Args:
            density_weights: integration weights of the density, (energies,), eV.
            points: to train on.
            normalisation: of the networks.
            density_weight: of the density, against 1 for the LDOS.
            precision: of the network's arithmetic, ``"float32"`` (that of its weights) or ``"bfloat16"``.
        """
        weights = density_weights.to(points.dtype)
        densities = Moments(1)
        for _, _, ldos in points.blocks():
            densities.add((ldos @ weights)[:, None])
        scale = normalisation.output_scale.to(points.dtype)
        self._minus, self._shift = -1 / scale, normalisation.output_mean.to(points.dtype) / scale
        self._density = scale * weights / densities.deviation.clamp(min=1e-12).to(points.dtype)
        self._density_weight, self._lower = density_weight, precision == "bfloat16"

    def __call__(self, network: Mlp, descriptors: Tensor, ldos: Tensor) -> Tensor:
        """Returns the mean over the points of a batch."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self._lower):
            predicted = network.normalised(descriptors)
        error = torch.addcmul(predicted.to(ldos.dtype) + self._shift, ldos, self._minus)
        return error.square().mean() + self._density_weight * (error @ self._density).square().mean()

    @torch.no_grad()
    def mean(self, network: Mlp, points: Points, processes: Processes) -> float:
        """Returns the mean over all points, each block in one of the processes."""
        blocks = (block for number, block in enumerate(points.blocks()) if processes.mine(number))
        total = math.fsum(self(network, x, y).item() * len(x) for _, x, y in blocks)
        return processes.total([total])[0] / len(points)


def mean_density_weights(snapshots: Iterable[Snapshot]) -> Tensor:
    """Returns the integration weights of the density at tau_ref, averaged over snapshots, (energies,), eV."""
    found = []
    for snapshot in snapshots:
        dos, temperature = snapshot.density_of_states, snapshot.electron_temperature
        level = dos.fermi_level(snapshot.electrons, temperature)
        found.append(torch.as_tensor(dos.weights(level, temperature).electrons))
    return torch.stack(found).mean(0)
