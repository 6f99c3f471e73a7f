"""Loss function of the training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fermisea.data.snapshot import Snapshot
from fermisea.networks.mlp import Mlp
from fermisea.training.normalisation import Moments, Normalisation
from fermisea.training.points import Points
from fermisea.utilities.torchrun import Processes


class Loss:
    """Mean square error of the normalised LDOS plus weighted mean square errors of some integrals over energies."""

    def __init__(
        self,
        integrals: Tensor,
        points: Points,
        normalisation: Normalisation,
        *,
        weights: Sequence[float],
        precision: str = "float32",
    ) -> None:
        """Computes the scales of the integrals, which are their standard deviations.

        Args:
            integrals: integration weights of each integral, (integrals, energies), in eV times its unit.
            points: training points.
            normalisation: normalisation of the networks.
            weights: weight of each integral, relative to 1 for the LDOS.
            precision: precision of the network, ``"float32"`` (the precision of its weights) or ``"bfloat16"``.
        """
        place: Any = {"device": points.device, "dtype": points.dtype}
        integrals = integrals.to(**place)
        found = Moments(len(integrals))
        for _, _, ldos in points.blocks():
            found.add(ldos @ integrals.T)
        scale = normalisation.output_scale.to(**place)
        self._minus, self._shift = -1 / scale, normalisation.output_mean.to(**place) / scale
        share = torch.tensor(weights, dtype=torch.float64).sqrt() / found.deviation.clamp(min=1e-12)
        self._integrals = integrals * scale * share.to(**place)[:, None]
        self._lower, self._device = precision == "bfloat16", points.device.type

    def __call__(self, network: Mlp, descriptors: Tensor, ldos: Tensor) -> Tensor:
        """Returns the mean over the points of a batch."""
        with torch.autocast(self._device, torch.bfloat16, enabled=self._lower):
            predicted = network.normalised(descriptors)
        error = torch.addcmul(predicted.to(ldos.dtype) + self._shift, ldos, self._minus)
        value: Tensor = _SquaresFunction.apply(error, self._integrals)  # type: ignore[no-untyped-call]
        return value

    @torch.no_grad()
    def mean(self, network: Mlp, points: Points, processes: Processes) -> float:
        """Returns the mean over all points; the blocks are distributed over the processes."""
        blocks = (block for number, block in enumerate(points.blocks()) if processes.mine(number))
        total = math.fsum(self(network, x, y).item() * len(x) for _, x, y in blocks)
        return processes.total([total])[0] / len(points)


class _SquaresFunction(torch.autograd.Function):
    """Mean square of errors, (points, energies), plus the sum of the mean squares of their integrals.

    Without this function torch would read the errors from memory three more times.
    """

    @staticmethod
    def forward(ctx: Any, error: Tensor, integrals: Tensor) -> Tensor:
        """Returns the value; ``integrals`` has a row of weights for each, (integrals, energies)."""
        integrated = torch.nn.functional.linear(error, integrals)
        ctx.save_for_backward(error, integrated, integrals)
        return (_square(error) / error.shape[1] + _square(integrated)) / len(error)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Returns the gradient with respect to the errors."""
        error, integrated, integrals = ctx.saved_tensors
        factor = 2 * float(gradients[0]) / len(error)
        return torch.addmm(error, integrated, integrals, beta=factor / error.shape[1], alpha=factor), None


def _square(values: Tensor) -> Tensor:
    flat = values.flatten()
    return torch.dot(flat, flat)


def local_integrals(snapshots: Iterable[Snapshot]) -> Tensor:
    """Returns integration weights at tau_ref, averaged over snapshots, (2, energies): density, grand potential density.

    The grand potential of the electrons is E_b - TS - mu N. To first order its error equals the error of the free
    energy, because F is stationary with respect to the density (second-order form).
    """
    found = []
    for snapshot in snapshots:
        dos, temperature = snapshot.density_of_states, snapshot.electron_temperature
        level = dos.fermi_level(snapshot.electrons, temperature)
        weights = dos.weights(level, temperature)
        grand_potential = weights.band_energy - temperature * weights.entropy - level * weights.electrons
        found.append(torch.from_numpy(np.stack([weights.electrons.weights, grand_potential.weights])))
    return torch.stack(found).mean(0)
