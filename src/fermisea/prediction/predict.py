"""From atoms to observables at any electronic temperature, stage by stage."""

from __future__ import annotations

from fermisea.errors import CapacityError
from fermisea.physics.density_of_states import DensityOfStates
from fermisea.physics.observables import observables_of
from fermisea.physics.thermal_states import thermal_levels
from fermisea.physics.window import check_spectrum, check_temperature
from fermisea.prediction.forces import thermal_mechanics
from fermisea.prediction.forward_pass import Progress
from fermisea.prediction.passes import hidden_sums
from fermisea.prediction.readout import Readout
from fermisea.prediction.request import Request
from fermisea.prediction.result import Prediction
from fermisea.prediction.short_cuts import short_cut_errors
from fermisea.prediction.uncertainty import member_spread


def predict(request: Request, progress: Progress | None = None) -> Prediction:
    """Returns the observables of a request, from the LDOS alone.

    Args:
        request: structure, network, temperatures and grids; the same in all processes that share it.
        progress: callback with the number of finished points and the total number, for all passes.

    Raises:
        InputError: for a chunk below 1, an unknown precision, or a descriptor without the route.
        CapacityError: for a predicted DOS with too few electrons.
        WindowError: if the DOS of the structure needs a wider window at a tau_e.
    """
    try:
        return _predict(request, progress)
    except CapacityError as error:
        shape = (request.grid if request.dos_grid is None else request.dos_grid).shape
        raise CapacityError(
            f"Fermi level: the DOS predicted on a grid of {shape} points holds {error.held:.3f} of "
            f"{request.electrons:g} electrons up to the top of its energy window; the grid is too coarse, or the "
            "structure is unlike the training data; choose more grid points, or train a model on such structures",
            error.held,
        ) from error


def _predict(request: Request, progress: Progress | None) -> Prediction:
    readout = Readout.of(request.network, request.head, request.integration, tail=request.tail)
    hidden = hidden_sums(request, readout, progress)
    dos = readout.density_of_states(hidden.dos, hidden.volume)
    doubts = _check_window(request, dos)
    levels = thermal_levels(
        dos, request.electrons, request.all_temperatures, slopes=request.forces, around=request.around
    )
    states = levels.states(hidden.fields(readout.vectors(levels.integrals)))
    reference = None if request.reference_electron_temperature is None else states.pop()
    results = observables_of(
        dos,
        states,
        reference,
        atoms=request.atoms,
        grid=request.grid,
        ions=request.ions,
        functional_name=request.functional,
        thermal_xc=request.thermal_xc,
        processes=request.processes,
    )
    return Prediction(
        atoms=request.atoms,
        grid=request.grid,
        density_of_states=dos,
        results=tuple(results),
        reference_electron_temperature=request.head.reference_electron_temperature,
        scalar=request.scalar,
        errors=short_cut_errors(request, readout, hidden, dos),
        uncertainty=member_spread(request, readout, hidden) if request.uncertainty else None,
        total_energy_obstacle=request.total_energy_obstacle,
        mechanics=thermal_mechanics(request, hidden.forward, readout, dos, states, reference)
        if request.forces
        else None,
        warnings=tuple(doubts),
        functional=request.functional,
        thermal_xc=request.thermal_xc,
        processes=request.processes,
    )


def _check_window(request: Request, dos: DensityOfStates) -> list[str]:
    """Refuses a tau_e that the window of the model or of this structure does not serve, or returns warnings of it."""
    head, found = request.head, []
    if dos.tail is None and request.tail:  # the request expected a tail, but the LDOS does not resemble free electrons
        for t in request.electron_temperatures:
            highest = head.highest_electron_temperature
            found += check_temperature(head.energy_grid, highest, t, allow_beyond_window=request.allow_beyond_window)
    if dos.tail is None and request.allow_beyond_window:  # the warnings of the model's window are enough
        return found
    return found + check_spectrum(
        dos,
        request.electrons,
        len(request.atoms),
        request.electron_temperatures,
        head.reference_electron_temperature,
        allow_beyond_window=request.allow_beyond_window,
    )
