"""The members of an ensemble, each a network of its own in the joint hidden layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fermisea.physics.observables import ThermalObservables, observables_of
from fermisea.physics.thermal_states import thermal_levels
from fermisea.prediction.passes import HiddenSums
from fermisea.prediction.readout import Readout
from fermisea.prediction.request import Request
from fermisea.prediction.uncertainty import Uncertainty
from fermisea.utilities.arrays import FloatArray


def member_spread(request: Request, readout: Readout, hidden: HiddenSums) -> Uncertainty | None:
    """Returns the spread of the members of an ensemble; None for a single network."""
    if not readout.members:
        return None
    return Uncertainty.of(_observables(request, readout.members, hidden), scalar=request.scalar)


def _observables(
    request: Request, members: Sequence[Readout], hidden: HiddenSums
) -> Iterator[tuple[FloatArray, list[ThermalObservables]]]:
    """Yields the DOS of each member, and its observables at each tau_e and, last, at tau_ref."""
    temperatures = (*request.electron_temperatures, request.head.reference_electron_temperature)
    for member in members:
        dos = hidden.density_of_states(member)
        levels = thermal_levels(dos, request.electrons, temperatures)
        states = levels.states(hidden.densities(member, levels.integrals))
        results = observables_of(
            dos,
            states,
            None if request.total_energy_obstacle else states[-1],
            atoms=request.atoms,
            grid=request.grid,
            ions=request.ions,
            functional=request.functional,
        )
        yield dos.dos, results
