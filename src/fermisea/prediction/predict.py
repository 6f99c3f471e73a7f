"""From atoms to observables at any electronic temperature, stage by stage."""

from __future__ import annotations

from fermisea.errors import CapacityError
from fermisea.physics.observables import observables_of
from fermisea.physics.thermal_states import thermal_levels
from fermisea.physics.window import check_spectrum
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
        request: structure, network, temperatures and grids.
        progress: callback with the number of finished points and the total number, for all passes.

    Raises:
        InputError: for a chunk below 1, an unknown precision, or forces on a device other than the CPU.
        CapacityError: for a predicted DOS with too few electrons.
        WindowError: if the DOS of the structure needs a wider window for the highest tau_e.
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
    readout = Readout.of(request.network, request.head, request.integration)
    hidden = hidden_sums(request, readout, progress)
    dos = readout.density_of_states(hidden.dos, hidden.volume)
    if not request.allow_beyond_window:
        highest, tau_ref = max(request.electron_temperatures), request.head.reference_electron_temperature
        check_spectrum(dos, request.electrons, len(request.atoms), highest, tau_ref)
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
        functional=request.functional,
        thermal_xc=request.thermal_xc,
    )
