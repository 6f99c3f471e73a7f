"""Prediction of observables from atoms, at any electronic temperature.

Fermi levels need the DOS, which needs all points, and densities need the Fermi levels. Small grids keep the last hidden
layer of the network at every point. For large ones a coarse grid guesses the Fermi levels first, so that one pass over
the grid is enough; see :mod:`fermisea.prediction.passes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from ase import Atoms

from fermisea.descriptors import Descriptor
from fermisea.errors import InputError
from fermisea.grid import Broadening, EnergyGrid, RealSpaceGrid
from fermisea.networks.ensemble import Ensemble, Network
from fermisea.physics.density_of_states import DensityOfStates, IntegrationName
from fermisea.physics.ions import Ion, electrons
from fermisea.physics.observables import (
    ThermalObservables,
    observables_of,
    smooth_functional,
    thermal_observables,
    thermal_states,
)
from fermisea.physics.window import check_temperature, highest_electron_temperature
from fermisea.prediction.forces import LdosForces, Mechanics
from fermisea.prediction.hidden import HiddenLayers, Progress, Sweep
from fermisea.prediction.passes import Guess, KeptPass, LdosPass, Readout, StreamedPass, guessing_grid
from fermisea.prediction.result import Prediction
from fermisea.prediction.uncertainty import Uncertainty
from fermisea.utilities.arrays import FloatArray

CHUNK = 16384
"""Default number of grid points in one go."""

MEMORY = 2**28
"""Default largest size of a stored last hidden layer, bytes."""

FINER = 7 / 8
"""Spacing over that of the training data for forces of F(tau_e): a grid harms them more than those of a change of F."""

_CHECKED = 4096
"""Points at which a lower precision is compared with the network's own."""

Shape = tuple[int, int, int]


class LdosModel(Protocol):
    """What a prediction needs of a model; see :class:`fermisea.model.Model`."""

    @property
    def network(self) -> Network: ...  # noqa: D102
    @property
    def descriptor(self) -> Descriptor: ...  # noqa: D102
    @property
    def energy_grid(self) -> EnergyGrid: ...  # noqa: D102
    @property
    def broadening(self) -> Broadening: ...  # noqa: D102
    @property
    def ions(self) -> Mapping[str, Ion]: ...  # noqa: D102
    @property
    def functional(self) -> str: ...  # noqa: D102
    @property
    def reference_electron_temperature(self) -> float: ...  # noqa: D102
    @property
    def highest_electron_temperature(self) -> float: ...  # noqa: D102
    @property
    def grid_spacing(self) -> float: ...  # noqa: D102
    @property
    def total_energy_obstacle(self) -> str | None: ...  # noqa: D102


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
    """Returns the observables of ``atoms`` at one or several electronic temperatures.

    Args:
        model: what to predict with.
        atoms: a periodic structure of elements that the model knows, Angstrom.
        electron_temperature: tau_e, K.
        grid: of the density, or its shape; without it, points at most as far apart as in training, or 7/8 of that for
            forces of F(tau_e).
        dos_grid: shape of another grid, for the DOS and all that follows from it; what that changes in E_b - TS is
            found in ``dos_grid_error`` of the prediction.
        density: whether densities are wanted; without them there is no total free energy, and only the grid of the DOS
            is used.
        forces: whether forces and stress are wanted, of the second-order free energy at each tau_e; each tau_e costs
            another pass over the grid.
        forces_of_change: whether they are those of F(tau_e) - F(tau_ref) instead of F(tau_e).
        precision: of the hidden layers of a network in float32, ``"float32"`` or ``"bfloat16"``; what the latter
            changes in E_b - TS, from a sample of points, is found in ``precision_error`` of the prediction. A processor
            without arithmetic for bfloat16 takes float32, with a warning.
        integration: of :class:`fermisea.DensityOfStates`.
        uncertainty: whether the spread of the members is wanted if the network is an ensemble. Where the hidden layer
            fits into ``memory`` it costs the energies of each member; else each member needs a pass of its own.
        allow_beyond_window: turns the refusal of a tau_e above the highest one into a warning.
        chunk: points in one go.
        memory: largest size of a stored hidden layer, bytes.
        progress: is told points done and points in all, of all passes.

    Raises:
        InputError: for an unknown element, positions or a cell that cannot be used, tau_e <= 0 or an unknown precision;
            for forces where there is no total free energy, or with ``dos_grid``.
        WindowError: if a tau_e is above the highest one that the energy window serves.
    """
    if forces:
        _check_forces(model, density=density, dos_grid=dos_grid)
    temperatures = [float(t) for t in np.atleast_1d(np.asarray(electron_temperature, dtype=float))]
    if not temperatures:
        raise InputError("electron temperature: got an empty list, expected at least one value in kelvin")
    window = model.energy_grid
    for t in temperatures:
        check_temperature(window, model.highest_electron_temperature, t, allow_beyond_window=allow_beyond_window)
    grid = make_grid(model, atoms, grid, FINER if forces and not forces_of_change else 1.0)
    other = None if dos_grid is None else make_grid(model, atoms, dos_grid)
    number = electrons(model.ions, list(atoms.symbols))
    sweep = Sweep(model.network, model.descriptor, atoms, chunk=chunk, precision=precision, progress=progress)
    readout = Readout(model.network, window, model.broadening.standard_deviation, integration)
    errors: dict[str, list[float]] = {}
    ldos: LdosPass | None = None
    if density:
        ldos, dos = _pass(sweep, readout, grid, other, memory, number, [*temperatures, _reference(model)])
        if other is not None:
            errors["dos_grid_error"] = _changes(dos, ldos.dos, number, temperatures)[1]
    else:
        coarse = grid if other is None else other
        sweep.expect(coarse.size)
        guess = Guess.on(sweep, readout, coarse)
        dos = guess.dos
        if other is not None and guess.coarser is not None:
            errors["dos_grid_error"] = _changes(guess.coarser, dos, number, temperatures)[1]
    if not allow_beyond_window:
        highest = highest_electron_temperature(dos, number, len(atoms))
        check_temperature(window, highest, max(temperatures))
    if sweep.precision == "bfloat16":
        lower = _precision_change(model, atoms, readout, dos, chunk)
        band, free = _changes(dos, lower, number, temperatures)
        errors |= {"precision_error_band_energy": band, "precision_error_band_free_energy": free}

    reference = None if model.total_energy_obstacle else _reference(model)

    def observables(
        dos: DensityOfStates, ldos: LdosPass | None, electron_temperatures: Sequence[float]
    ) -> list[ThermalObservables]:
        return thermal_observables(
            dos,
            None if ldos is None else ldos.densities,
            atoms=atoms,
            grid=grid,
            ions=model.ions,
            functional_name=model.functional,
            electron_temperatures=electron_temperatures,
            reference_electron_temperature=reference,
        )

    def members(network: Ensemble) -> Iterator[tuple[FloatArray, list[ThermalObservables]]]:
        asked = [*temperatures, _reference(model)]
        if isinstance(ldos, KeptPass) and other is None:
            for member in readout.of_members():
                view = ldos.read_by(member)
                yield view.dos.dos, observables(view.dos, view, asked)
            return
        for single in network.members:
            own = predict(
                replace(model, network=single),  # type: ignore[type-var]  # a model is a dataclass
                atoms,
                asked,
                grid,
                dos_grid=dos_grid,
                density=density,
                precision=sweep.precision,
                integration=integration,
                allow_beyond_window=True,
                chunk=chunk,
                memory=memory,
            )
            yield own.dos, list(own.results)

    spread = None
    if uncertainty and isinstance(model.network, Ensemble):
        spread = Uncertainty.of(members(model.network), scalar=np.ndim(electron_temperature) == 0)
    mechanics: tuple[Mechanics, ...] | None = None
    if forces and ldos is not None:
        job = _Forces(model, atoms, grid, sweep, readout, chunk)
        results, mechanics = job.observables(ldos, dos, number, temperatures, change=forces_of_change)
    else:
        results = observables(dos, ldos, temperatures)
    return Prediction(
        atoms=atoms.copy(),
        grid=grid,
        density_of_states=dos,
        results=tuple(results),
        reference_electron_temperature=_reference(model),
        scalar=np.ndim(electron_temperature) == 0,
        errors={name: tuple(values) for name, values in errors.items()},
        uncertainty=spread,
        total_energy_obstacle=model.total_energy_obstacle,
        mechanics=mechanics,
    )


@dataclass(frozen=True)
class _Forces:
    """What a prediction with forces needs beside an LDOS."""

    model: LdosModel
    atoms: Atoms
    grid: RealSpaceGrid
    sweep: Sweep
    readout: Readout
    chunk: int

    def observables(
        self, ldos: LdosPass, dos: DensityOfStates, number: float, temperatures: Sequence[float], *, change: bool
    ) -> tuple[list[ThermalObservables], tuple[Mechanics, ...]]:
        """Returns the observables at each tau_e (K), and forces and stress; densities are made once for both."""
        model, atoms, grid = self.model, self.atoms, self.grid
        asked = [*temperatures, _reference(model)]
        *states, reference = thermal_states(dos, ldos.densities, number, asked, levels=True)
        results = observables_of(
            dos, states, reference, atoms=atoms, grid=grid, ions=model.ions, functional_name=model.functional
        )
        self.sweep.expect(grid.size * len(states))
        derivatives = LdosForces(
            descriptor=model.descriptor,
            readout=self.readout,
            dos=dos,
            reference=reference,
            atoms=atoms,
            grid=grid,
            ions=model.ions,
            functional=smooth_functional(model.functional),
            chunk=self.chunk,
            count=self.sweep.count,
        )
        return results, tuple(derivatives.of(state, change=change) for state in states)


def _check_forces(model: LdosModel, *, density: bool, dos_grid: Shape | None) -> None:
    if model.total_energy_obstacle is not None:
        raise InputError(f"forces: the model has no total free energy: {model.total_energy_obstacle}")
    if not density or dos_grid is not None:
        got = "a grid of its own for the DOS" if density else "density=False"
        raise InputError(f"forces: got {got} with them, but they need the density on the grid of the DOS; leave it out")


def _pass(
    sweep: Sweep,
    readout: Readout,
    grid: RealSpaceGrid,
    dos_grid: RealSpaceGrid | None,
    memory: int,
    number: float,
    electron_temperatures: list[float],
) -> tuple[LdosPass, DensityOfStates]:
    """Returns the LDOS on ``grid``, ready for densities, and the DOS, of ``dos_grid`` if there is one."""
    width = readout.matrix.shape[1]
    keeps = grid.size * width * readout.kind.itemsize <= memory
    guessing = guessing_grid(grid) if dos_grid is None and not keeps else dos_grid
    sweep.expect(grid.size + (0 if guessing is None else guessing.size))
    if keeps:
        kept = KeptPass(sweep, readout, grid)
        return kept, kept.dos if dos_grid is None else Guess.on(sweep, readout, dos_grid).dos
    assert guessing is not None  # noqa: S101  # see above
    guess = Guess.on(sweep, readout, guessing)
    basis = guess.basis(readout, number, electron_temperatures)
    streamed = StreamedPass(sweep, readout, grid, basis)
    return streamed, streamed.dos if dos_grid is None else guess.dos


def _changes(
    one: DensityOfStates, two: DensityOfStates, number: float, electron_temperatures: Sequence[float]
) -> tuple[list[float], list[float]]:
    """Returns E_b and E_b - TS of one DOS minus those of another, at each tau_e (K), eV."""
    band, free = [], []
    for temperature in electron_temperatures:
        energies = []
        for dos in (one, two):
            weights = dos.weights(dos.fermi_level(number, temperature), temperature)
            energy = float(weights.band_energy @ dos.dos)
            energies.append((energy, energy - temperature * float(weights.entropy @ dos.dos)))
        band.append(energies[0][0] - energies[1][0])
        free.append(energies[0][1] - energies[1][1])
    return band, free


def _precision_change(
    model: LdosModel, atoms: Atoms, readout: Readout, dos: DensityOfStates, chunk: int
) -> DensityOfStates:
    """Returns a DOS as the network's own precision would give it, by the difference on a sample of points."""
    share = (_CHECKED / atoms.cell.volume) ** (1 / 3)
    n, m, k = (max(1, round(share * length)) for length in atoms.cell.lengths())
    sample = RealSpaceGrid(atoms.cell.array, (n, m, k))
    found = []
    for precision in ("float32", "bfloat16"):
        sweep = Sweep(model.network, model.descriptor, atoms, chunk=chunk, precision=precision)
        found.append(Guess.on(sweep, readout, sample).dos.dos)
    return replace(dos, dos=dos.dos + found[0] - found[1])


def _reference(model: LdosModel) -> float:
    return model.reference_electron_temperature


def predict_ldos(
    model: LdosModel, atoms: Atoms, grid: RealSpaceGrid | tuple[int, int, int] | None = None, *, chunk: int = CHUNK
) -> npt.NDArray[np.float32]:
    """Returns the whole LDOS, (nx, ny, nz, energies), 1/(eV Angstrom^3).

    Args and errors are those of :func:`predict`.
    """
    grid = make_grid(model, atoms, grid)
    ldos = np.empty((grid.size, model.energy_grid.size), dtype=np.float32)
    for part, values in ldos_chunks(model, atoms, grid, chunk):
        ldos[part] = values
    return ldos.reshape(*grid.shape, -1)


def ldos_chunks(
    model: LdosModel, atoms: Atoms, grid: RealSpaceGrid, chunk: int = CHUNK
) -> Iterator[tuple[slice, FloatArray]]:
    """Yields slices of the flattened grid and their LDOS, (points, energies), 1/(eV Angstrom^3)."""
    if chunk < 1:
        raise InputError(f"chunk: got {chunk}, expected a positive number of grid points")
    network = model.network
    matrix, bias = network.readout()
    layers = HiddenLayers(network, "float32")
    evaluator = model.descriptor.evaluator(atoms, "float64" if network.dtype == torch.float64 else "float32")
    for start in range(0, grid.size, chunk):
        part = slice(start, min(start + chunk, grid.size))
        index = np.unravel_index(np.arange(part.start, part.stop), grid.shape)
        points = np.stack(index, axis=-1) / np.array(grid.shape) @ grid.lattice
        with torch.inference_mode():
            hidden = layers(torch.from_numpy(evaluator.points(points)))
            yield part, (hidden.double() @ matrix.T + bias).numpy()


def make_grid(
    model: LdosModel, atoms: Atoms, grid: RealSpaceGrid | tuple[int, int, int] | None, finer: float = 1.0
) -> RealSpaceGrid:
    """Returns the grid of a prediction after checking the structure.

    Args:
        model: whose elements and spacing count.
        atoms: the structure.
        grid: a grid or its shape, taken as it is.
        finer: times the spacing of the model is that of a grid that is not given.

    Raises:
        InputError: naming an unknown element, a position that is not finite, or a cell that cannot be used.
    """
    unknown = sorted(set(atoms.symbols) - set(model.ions))
    if unknown or len(atoms) == 0:
        raise InputError(
            f"structure: got {'element ' + ', '.join(unknown) if unknown else 'no atoms'}, but the model knows "
            f"{', '.join(sorted(model.ions))}; train with data that contain every element of the structure"
        )
    bad = np.flatnonzero(~np.isfinite(atoms.positions).all(axis=1))
    if bad.size:
        raise InputError(
            f"structure: the position of atom {bad[0]} ({atoms.symbols[bad[0]]}) is {atoms.positions[bad[0]]}, "
            "expected finite numbers in Angstrom"
        )
    if not atoms.pbc.all():
        raise InputError(f"structure: got pbc {atoms.pbc.tolist()}, expected all True; set atoms.pbc = True")
    if isinstance(grid, RealSpaceGrid):
        if not np.allclose(grid.lattice, atoms.cell.array, rtol=0, atol=1e-6):
            raise InputError("grid: its cell differs from that of the structure; give a shape such as (24, 24, 24)")
        return grid
    if grid is not None:
        return RealSpaceGrid(atoms.cell.array, grid)
    return RealSpaceGrid.from_spacing(atoms.cell.array, finer * model.grid_spacing)
