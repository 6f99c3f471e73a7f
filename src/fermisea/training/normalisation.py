"""Means and scales of descriptors and LDOS, which are stored in the network."""

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
    """Normalisation of inputs and outputs to mean 0 and a variance of at most 1.

    The scale of the LDOS at each energy is at least 5 % of the largest scale. The scales of the descriptors have a
    lower bound, so that components with hardly any variation in the data are not amplified to the size of the others. A
    structure in which such components do vary then remains close to the training data.

    Attributes:
        input_mean: mean of each descriptor component, (features,).
        input_scale: scale of each descriptor component, (features,).
        output_mean: mean of the LDOS, (energies,), 1/(eV Angstrom^3).
        output_scale: scale of the LDOS, (energies,), 1/(eV Angstrom^3).
    """

    input_mean: Tensor
    input_scale: Tensor
    output_mean: Tensor
    output_scale: Tensor

    @classmethod
    def of(cls, points: Points, floor: float) -> Self:
        """Returns the normalisation of a set of points.

        Args:
            points: training points.
            floor: scale whose square is added to the variance of each descriptor component, relative to the root mean
                square over all components.
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
        """Stores the normalisation in a network."""
        network.set_normalisation(self.input_mean, self.input_scale, self.output_mean, self.output_scale)


class Moments:
    """Means and deviations of columns by blocks (Chan, Golub and LeVeque, The American Statistician 37, 242)."""

    def __init__(self, columns: int) -> None:
        self.count = 0
        self.mean, self.largest, self._squares = torch.zeros((3, columns), dtype=torch.float64)

    def add(self, values: Tensor) -> None:
        """Adds rows, (n, columns)."""
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
        """Standard deviations, (columns,)."""
        return (self._squares / self.count).sqrt()
