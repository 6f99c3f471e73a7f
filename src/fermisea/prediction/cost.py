"""Estimates of the time and memory of a prediction, before it starts."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fermisea.prediction.forward_pass import ForwardPass
from fermisea.prediction.request import Request

_BACKWARD = 3.5
"""Time of a pass for forces, relative to a pass for the densities."""

_FUNCTIONAL = 1.2e-6
"""Time of one thread for the total free energy at one tau_e, s for each point."""

_LIBRARIES = 6e8
"""Memory of a process before a prediction, bytes."""


@dataclass(frozen=True)
class Cost:
    """Time and memory of a prediction.

    Attributes:
        points: number of grid points of all passes of this process.
        seconds: estimated time, s.
        memory: estimated memory of this process, bytes.
    """

    points: float
    seconds: float
    memory: float

    def __add__(self, other: Cost) -> Cost:
        """Returns the cost of one prediction after another."""
        return Cost(self.points + other.points, self.seconds + other.seconds, max(self.memory, other.memory))


def cost_of(request: Request) -> Cost:
    """Returns the estimated cost of a request, from the measured time of a few points.

    The time of the interatomic potential and of electrostatics is not included.

    Raises:
        InputError: for an unknown precision.
    """
    forward = ForwardPass(
        request.network,
        request.descriptor,
        request.atoms,
        chunk=request.chunk,
        route=request.route,
        precision=request.precision,
    )
    count = request.processes.count
    rate = forward.rate(request.grid)
    size, temperatures = request.grid.size / count, len(request.electron_temperatures)
    backward = request.forces * size * temperatures
    forward_points = request.points / count - backward
    if request.spread and not request.keeps:
        forward_points += size  # one pass for each network
    seconds = (forward_points + _BACKWARD * backward) / rate / forward.threads
    if request.density and not request.total_energy_obstacle:
        networks = 1 + request.spread * len(request.network.members)
        seconds += _FUNCTIONAL * size * temperatures * networks / torch.get_num_threads()
    memory = _LIBRARIES + size * request.bytes_per_point
    return Cost(forward_points + backward, seconds, memory)
