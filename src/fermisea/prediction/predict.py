"""The way from atoms to observables at any electronic temperature, one stage after the other."""

from __future__ import annotations

from collections.abc import Sequence

from ase import Atoms

from fermisea.grid import RealSpaceGrid
from fermisea.physics.density_of_states import IntegrationName
from fermisea.physics.observables import observables_of
from fermisea.physics.thermal_states import thermal_levels
from fermisea.physics.window import check_spectrum
from fermisea.prediction.forces import thermal_mechanics
from fermisea.prediction.forward_pass import Progress
from fermisea.prediction.passes import hidden_sums
from fermisea.prediction.readout import Readout
from fermisea.prediction.request import CHUNK, MEMORY, LdosModel, Request, Shape
from fermisea.prediction.result import Prediction
from fermisea.prediction.short_cuts import short_cut_errors
from fermisea.prediction.uncertainty import member_spread


def predict(
    model: LdosModel,
    atoms: Atoms,
    electron_temperature: float | Sequence[float],
    grid: RealSpaceGrid | Shape | None = None,
    *,
    dos_grid: Shape | None = None,
    density: bool = True,
    forces: bool = False,
    forces_of_change: bool = False,
    precision: str = "float32",
    integration: IntegrationName = "sharpened",
    uncertainty: bool = True,
    allow_beyond_window: bool = False,
    chunk: int = CHUNK,
    memory: int = MEMORY,
    progress: Progress | None = None,
) -> Prediction:
    """Returns the observables of ``atoms`` at one or several electronic temperatures, from the LDOS alone.

    Args:
        model: model of the LDOS.
        atoms: periodic structure of elements that the model knows, Angstrom.
        electron_temperature: tau_e, K.
        grid: grid of the density, or its shape; by default, points at most as far apart as in training, or 7/8 of that
            distance for forces of F(tau_e).
        dos_grid: shape of another grid, for the DOS and all that follows from it; the change in E_b - TS is
            ``dos_grid_error`` of the prediction.
        density: whether to compute densities; without them there is no total free energy, and only the grid of the DOS
            is used.
        forces: whether to compute forces and stress of the second-order free energy; each tau_e costs another pass over
            the grid.
        forces_of_change: whether forces and stress are derivatives of F(tau_e) - F(tau_ref) instead of F(tau_e).
        precision: precision of the hidden layers of a network in float32, ``"float32"`` or ``"bfloat16"``; the change
            in E_b - TS, from a sample of points, is ``precision_error`` of the prediction. A processor without
            arithmetic for bfloat16 takes float32, with a warning.
        integration: integration rule of :class:`fermisea.DensityOfStates`.
        uncertainty: whether to compute the spread of the members if the network is an ensemble. Where the hidden layer
            fits into ``memory``, or without densities, the spread needs no pass over the grid; else one for each
            member.
        allow_beyond_window: whether a tau_e above the highest one is a warning instead of an error.
        chunk: largest number of points of a tile.
        memory: largest size of a stored hidden layer, bytes.
        progress: callback with points done and points in all, of all passes.

    Raises:
        InputError: for an unknown element, positions or a cell that cannot be used, tau_e <= 0 or an unknown precision;
            for forces where there is no total free energy, or with ``dos_grid``.
        WindowError: if a tau_e is above the highest one that the energy window serves.
    """
    request = Request.of(
        model,
        atoms,
        electron_temperature,
        grid,
        dos_grid=dos_grid,
        density=density,
        forces=forces,
        forces_of_change=forces_of_change,
        allow_beyond_window=allow_beyond_window,
        precision=precision,
        chunk=chunk,
        memory=memory,
    )
    readout = Readout.of(request.network, request.head, integration)
    hidden = hidden_sums(request, readout, progress)
    dos = readout.density_of_states(hidden.dos, hidden.volume)
    if not allow_beyond_window:
        check_spectrum(dos, request.electrons, len(atoms), max(request.electron_temperatures))
    levels = thermal_levels(dos, request.electrons, request.all_temperatures, slopes=forces)
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
    )
    return Prediction(
        atoms=request.atoms,
        grid=request.grid,
        density_of_states=dos,
        results=tuple(results),
        reference_electron_temperature=request.head.reference_electron_temperature,
        scalar=request.scalar,
        errors=short_cut_errors(request, readout, hidden, dos),
        uncertainty=member_spread(request, readout, hidden) if uncertainty else None,
        total_energy_obstacle=request.total_energy_obstacle,
        mechanics=thermal_mechanics(request, hidden.forward, readout, dos, states, reference) if forces else None,
    )
