"""Means and scales of descriptors and LDOS, which become a part of the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from fermisea.networks.mlp import Mlp
from fermisea.training.points import Points

_SMALLEST_SCALE = 0.05


@dataclass(frozen=True)
class Normalisation:
    """Inputs and outputs to mean 0 and a variance of at most 1.

    No scale of the LDOS is below 5 % of the largest one. Those of the descriptors have a floor: components that hardly
    vary in the data stay small instead of being blown up to the size of the others, so that a structure in which they
    do vary is not far outside of what the network knows.

    Attributes:
        input_mean: of each descriptor, (features,).
        input_scale: of each descriptor, (features,).
        output_mean: of the LDOS, (energies,), 1/(eV Angstrom^3).
        output_scale: of the LDOS, (energies,), 1/(eV Angstrom^3).
    """

    input_mean: Tensor
    input_scale: Tensor
    output_mean: Tensor
    output_scale: Tensor

    @classmethod
    def of(cls, points: Points, floor: float) -> Self:
        """Returns the one of these points.

        Args:
            points: to train on.
            floor: added, in squares, to the standard deviation of each descriptor, over the root mean square of all.
        """
        x, y = Moments(points.features), Moments(points.energies)
        for _, descriptors, ldos in points.blocks():
            x.add(descriptors)
            y.add(ldos)
        deviation = torch.where(x.deviation > 1e-9 * x.largest.clamp(min=1e-300), x.deviation, 0.0)
        spread = (deviation.square() + floor**2 * deviation.square().mean()).sqrt()
        spread = torch.where(spread > 0, spread, 1.0)
        scale = y.deviation.clamp(min=max(_SMALLEST_SCALE * float(y.deviation.max()), 1e-12))
        return cls(x.mean, spread, y.mean, scale)

    def apply(self, network: Mlp) -> None:
        """Makes it that of a network."""
        network.set_normalisation(self.input_mean, self.input_scale, self.output_mean, self.output_scale)


class Moments:
    """Means and deviations of columns, block by block (Chan, Golub and LeVeque, The American Statistician 37, 242)."""

    def __init__(self, columns: int) -> None:
        self.count = 0
        self.mean, self.largest, self._squares = torch.zeros((3, columns), dtype=torch.float64)

    def add(self, values: Tensor) -> None:
        """Takes rows, (n, columns)."""
        values = values.double()
        count = len(values)
        mean, largest = values.mean(0), values.abs().amax(0).cpu()
        squares, mean = (values - mean).square().sum(0).cpu(), mean.cpu()
        change, total = mean - self.mean, self.count + count
        self._squares += squares + change.square() * (self.count * count / total)
        self.mean = self.mean + change * (count / total)
        self.largest = torch.maximum(self.largest, largest)
        self.count = total

    @property
    def deviation(self) -> Tensor:
        """Root of the mean squared distance from the mean, (columns,)."""
        return (self._squares / self.count).sqrt()
