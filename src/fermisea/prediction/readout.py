"""Last layer of a network in a prediction: from sums of h to a DOS, from integrals to vectors that act on h.

The network is linear in its last hidden layer h, d(r) = W h(r) + b. The DOS is therefore W sum_r h(r) + b N_r times the
volume of a point, exactly, and an integral of the LDOS over energies with weights w and a constant c is (W^T w) . h(r)
+ b . w + c.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fermisea.grid import EnergyGrid
from fermisea.networks.ensemble import Ensemble, Network
from fermisea.physics.broadening import Broadening
from fermisea.physics.density_of_states import DensityOfStates, IntegrationName
from fermisea.physics.energy_axis import EnergyAxis
from fermisea.physics.integration import EnergyIntegral
from fermisea.physics.tail import Tail


@dataclass(frozen=True)
class Head:
    """One LDOS of a network, with the parameters of the DFT runs in its training data.

    Attributes:
        energy_grid: energies of the LDOS.
        broadening: kernel and standard deviation of the training LDOS.
        reference_electron_temperature: tau_ref of the training LDOS, K.
        highest_electron_temperature: highest tau_e for which the energy window is valid, K.
        first_output: index of the network's output for the first energy.
        axis: zero of ``energy_grid`` as a function of the structure; None for absolute energies.
    """

    energy_grid: EnergyGrid
    broadening: Broadening
    reference_electron_temperature: float
    highest_electron_temperature: float
    first_output: int = 0
    axis: EnergyAxis | None = None

    def absolute(self, electrons: float, volume: float) -> Head:
        """Returns the head with the absolute energies of a cell.

        Args:
            electrons: number of valence electrons.
            volume: volume of the cell, Angstrom^3.
        """
        if self.axis is None:
            return self
        return replace(self, energy_grid=self.axis.absolute(self.energy_grid, electrons, volume))


@dataclass(frozen=True)
class GridSum:
    """The sum of h over the points of a grid.

    Attributes:
        total: sum, (width,), float64.
        points: number of points.
    """

    total: Tensor
    points: int


@dataclass(frozen=True, eq=False)
class Readout:
    """The last layer of a network, in float64.

    Attributes:
        head: energies, broadening and tau_ref of the LDOS.
        matrix: W, (energies, width).
        bias: b, (energies,).
        integration: integration rule of :class:`fermisea.DensityOfStates`.
        members: readouts of the members of an ensemble, from the joint hidden layer; empty for a single network.
    """

    head: Head
    matrix: Tensor
    bias: Tensor
    integration: IntegrationName = "sharpened"
    tail: Tail | None = None
    members: tuple[Readout, ...] = ()

    @classmethod
    def of(
        cls, network: Network, head: Head, integration: IntegrationName = "sharpened", *, tail: bool = True
    ) -> Readout:
        """Returns the readout of one head of a network.

        Args:
            network: network or ensemble.
            head: energies of the LDOS.
            integration: integration rule; only ``"sharpened"`` has a tail.
            tail: whether free electrons continue the LDOS above its energies. Their bottom is the one of the mean LDOS
                of the training data, so that it does not depend on the structure.
        """
        outputs = slice(head.first_output, head.first_output + head.energy_grid.size)
        above = None
        if tail and integration == "sharpened":
            means = [member.output_mean[outputs].double().cpu().numpy() for member in network.members]
            above = Tail.of(head.energy_grid, np.mean(means, axis=0))

        def part(matrix: Tensor, bias: Tensor, members: tuple[Readout, ...] = ()) -> Readout:
            return cls(head, matrix[outputs].cpu(), bias[outputs].cpu(), integration, above, members)

        members = network.member_readouts() if isinstance(network, Ensemble) else []
        return part(*network.readout(), tuple(part(*member) for member in members))

    def density_of_states(self, hidden: GridSum, volume: float) -> DensityOfStates:
        """Returns the DOS of a cell of ``volume`` (Angstrom^3) from the sum of h over the points of a grid."""
        values = (self.matrix @ hidden.total.cpu() + self.bias * hidden.points) * (volume / hidden.points)
        deviation = self.head.broadening.standard_deviation
        energies = self.head.energy_grid.energies
        return DensityOfStates(energies, values.numpy(), deviation, self.integration, volume, self.tail)

    def vectors(self, integrals: Sequence[EnergyIntegral]) -> Tensor:
        """Returns v = (W^T w, b . w + c), (width + 1, n), for n integrals; each is v . (h(r), 1) at a point."""
        columns = torch.from_numpy(np.stack([integral.weights for integral in integrals], axis=1))
        constants = torch.tensor([integral.per_volume for integral in integrals], dtype=torch.float64)
        return torch.cat([self.matrix.T @ columns, (self.bias @ columns + constants)[None]])
