"""Errors of a network on held-out structures, in physical units, while it is trained."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from fermisea.data.snapshot import Snapshot
from fermisea.networks.ensemble import Network
from fermisea.physics.error_measures import VALIDATED, energy_errors, percent_error, percent_of_spread
from fermisea.physics.integration import EnergyIntegral
from fermisea.physics.observables import thermal_observables
from fermisea.prediction.readout import GridSum, Head, Readout
from fermisea.training.points import Points
from fermisea.utilities.arrays import FloatArray
from fermisea.utilities.torchrun import Processes

ERRORS = VALIDATED
"""Errors by name; see :meth:`Validation.errors`."""


class Validation:
    """Held-out snapshots with the results of their own LDOS at tau_ref."""

    def __init__(self, snapshots: Sequence[Snapshot], points: Points) -> None:
        """Integrates the LDOS of each snapshot.

        Args:
            snapshots: held-out snapshots.
            points: points of the held-out snapshots, in the order of their grids.
        """
        self.points = points
        self._snapshots = list(snapshots)
        self._names = [name for name in ERRORS if name != "free_energy_error" or not snapshots[0].total_energy_obstacle]
        self._true = [snapshot.observables(snapshot.electron_temperature)[0] for snapshot in snapshots]

    @torch.no_grad()
    def errors(self, network: Network, processes: Processes) -> dict[str, float]:
        """Returns root mean square errors over the snapshots at tau_ref.

        Named as in :func:`fermisea.evaluate`: ldos_error_percent, over the standard deviation about each energy's mean;
        density_error_percent and dos_error_percent, mean absolute error over the mean; fermi_level_error, eV;
        band_energy_error, entropy_term_error and, where there is one, free_energy_error, eV per atom.
        """
        own = [self._errors(network, index) for index in range(len(self._snapshots)) if processes.mine(index)]
        squares = [math.fsum(row[name] ** 2 for row in own if name in row) for name in ERRORS]
        means = [total / len(self._snapshots) for total in processes.total(squares)]
        return {name: math.sqrt(mean) for name, mean in zip(ERRORS, means, strict=True) if name in self._names}

    def _errors(self, network: Network, index: int) -> dict[str, float]:
        snapshot, true = self._snapshots[index], self._true[index]
        tau_ref = snapshot.electron_temperature
        readout = Readout.of(network, Head(snapshot.energy_grid, snapshot.broadening, tau_ref, math.inf))
        device = self.points.device
        total = torch.zeros(network.widths[-1], dtype=torch.float64, device=device)
        mean = torch.from_numpy(snapshot.dos / snapshot.grid.volume).to(device)
        matrix, bias = readout.matrix.to(device), readout.bias.to(device)
        wrong = spread = 0.0
        for hidden, ldos in self._hidden(network, index):
            total += hidden.sum(0)
            wrong += float((hidden @ matrix.T + bias - ldos).square().sum())
            spread += float((ldos - mean).square().sum())
        dos = readout.density_of_states(GridSum(total, snapshot.grid.size), snapshot.grid.volume)

        def densities(integrals: Sequence[EnergyIntegral]) -> list[FloatArray]:
            vectors = readout.vectors(integrals).to(device)
            fields = torch.cat([h @ vectors[:-1] + vectors[-1] for h, _ in self._hidden(network, index)]).cpu()
            return [column.reshape(snapshot.grid.shape).numpy() for column in fields.T]

        reference = None if snapshot.total_energy_obstacle else tau_ref
        predicted = thermal_observables(
            dos,
            densities,
            atoms=snapshot.atoms,
            grid=snapshot.grid,
            ions=snapshot.ions,
            functional_name=snapshot.functional,
            electron_temperatures=[tau_ref],
            reference_electron_temperature=reference,
        )[0]
        fields = {
            "ldos_error_percent": percent_of_spread(wrong, spread),
            "density_error_percent": percent_error(predicted.density, true.density),
            "dos_error_percent": percent_error(dos.dos, snapshot.dos),
        }
        return fields | energy_errors(predicted, true, len(snapshot.atoms))

    def _hidden(self, network: Network, index: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields the last hidden layer and the LDOS of the points of one snapshot, block by block, float64."""
        for _, descriptors, ldos in self.points.blocks(index):
            yield network.hidden(descriptors).double(), ldos.double()
