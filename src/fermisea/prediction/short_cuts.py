"""Estimated errors of short cuts: a separate grid for the DOS, hidden layers in a lower precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fermisea.grid import RealSpaceGrid
from fermisea.physics.density_of_states import DensityOfStates
from fermisea.prediction.forward_pass import ForwardPass
from fermisea.prediction.passes import Guess, HiddenSums
from fermisea.prediction.readout import Readout
from fermisea.prediction.request import Request

_CHECKED = 4096
"""Number of points at which a lower precision is compared with the precision of the network."""


def short_cut_errors(
    request: Request, readout: Readout, hidden: HiddenSums, dos: DensityOfStates
) -> dict[str, tuple[float, ...]]:
    """Returns the estimated errors of the short cuts of a prediction, by name, for each tau_e, eV.

    Args:
        request: structure, network and temperatures.
        readout: last layer of the network.
        hidden: hidden layer, with the sums over the compared grids.
        dos: DOS of the structure.
    """
    errors: dict[str, tuple[float, ...]] = {}
    number, temperatures = request.electrons, request.electron_temperatures
    if hidden.compared is not None:
        one, two = (readout.density_of_states(part, hidden.volume) for part in hidden.compared)
        errors["dos_grid_error"] = _changes(one, two, number, temperatures)[1]
    if hidden.forward.precision == "bfloat16":
        own = _in_own_precision(request, readout, dos)
        band, free = _changes(dos, own, number, temperatures)
        errors |= {"precision_error_band_energy": band, "precision_error_band_free_energy": free}
    return errors


def _changes(
    one: DensityOfStates, two: DensityOfStates, number: float, electron_temperatures: Sequence[float]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns E_b and E_b - TS of one DOS minus the values of another, at each tau_e (K), eV."""
    band, free = [], []
    for temperature in electron_temperatures:
        energies = []
        for dos in (one, two):
            weights = dos.weights(dos.fermi_level(number, temperature), temperature)
            energy = dos.integral(weights.band_energy)
            energies.append((energy, energy - temperature * dos.integral(weights.entropy)))
        band.append(energies[0][0] - energies[1][0])
        free.append(energies[0][1] - energies[1][1])
    return tuple(band), tuple(free)


def _in_own_precision(request: Request, readout: Readout, dos: DensityOfStates) -> DensityOfStates:
    """Returns a DOS corrected to the precision of the network, by the difference on a sample of points."""
    atoms = request.atoms
    share = (_CHECKED / atoms.cell.volume) ** (1 / 3)
    n, m, k = (max(1, round(share * length)) for length in atoms.cell.lengths())
    sample = RealSpaceGrid(atoms.cell.array, (n, m, k))
    found = []
    for precision in ("float32", "bfloat16"):
        forward = ForwardPass(
            request.network,
            request.descriptor,
            atoms,
            chunk=request.chunk,
            route=request.route,
            precision=precision,
        )
        found.append(readout.density_of_states(Guess.on(forward, sample).sum, sample.volume).dos)
    return replace(dos, dos=dos.dos + found[0] - found[1])
