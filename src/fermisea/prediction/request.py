"""Request for a prediction, checked before any computation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from ase import Atoms

from fermisea.descriptors import Descriptor
from fermisea.errors import InputError
from fermisea.grid import RealSpaceGrid, check_grid, check_structure
from fermisea.networks.ensemble import Network
from fermisea.physics.density_of_states import IntegrationName
from fermisea.physics.ions import Ion, electrons
from fermisea.physics.tau_dependence import needs_neighbours, other_ground_state, thermal_functional
from fermisea.physics.thermal_states import neighbours
from fermisea.physics.window import HIGHEST_TEMPERATURE, check_temperature, temperature_list
from fermisea.prediction.agreement import check_same_inputs
from fermisea.prediction.readout import Head
from fermisea.prediction.route import Route, placed
from fermisea.prediction.size import bytes_per_point, check_chunk, check_memory, check_size
from fermisea.utilities.devices import DeviceName
from fermisea.utilities.torchrun import ALONE, Processes

CHUNK = 16384
"""Default number of grid points of a tile."""

MEMORY = 2**28
"""Default largest size of a stored last hidden layer, bytes."""

FINER = 7 / 8
"""Default grid spacing for forces of F(tau_e), relative to the training data; they need a finer grid than forces of
F(tau_e) - F(tau_ref)."""

_COARSER = 4
"""Ratio of the spacings, along each axis, of the grid for estimates of Fermi levels and the grid of the densities."""

_FEWEST = 8
"""Smallest number of points along an axis of the grid for estimates, if the full grid has as many."""

Shape = tuple[int, int, int]


class LdosModel(Protocol):
    """Interface of a model for a prediction; see :class:`fermisea.Model`."""

    @property
    def network(self) -> Network: ...  # noqa: D102
    @property
    def descriptor(self) -> Descriptor: ...  # noqa: D102
    @property
    def heads(self) -> tuple[Head, ...]: ...  # noqa: D102
    @property
    def ions(self) -> Mapping[str, Ion]: ...  # noqa: D102
    @property
    def functional(self) -> str: ...  # noqa: D102
    @property
    def grid_spacing(self) -> float: ...  # noqa: D102
    @property
    def total_energy_obstacle(self) -> str | None: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class Request:
    """A checked request for a prediction.

    Attributes:
        atoms: structure.
        network: network from descriptors to the LDOS, on the device of the prediction.
        descriptor: descriptor of the network.
        head: LDOS of the model, with absolute energies.
        ions: ion of each element of the model.
        functional: name of the exchange-correlation functional; only total free energies need a known one.
        electrons: number of valence electrons in the cell.
        grid: grid of the densities, and of the DOS unless it has a separate grid.
        dos_grid: separate grid of the DOS; None without one.
        guessing_grid: coarser grid for estimates of Fermi levels in a streamed prediction; None if it is not needed.
        keeps: whether the hidden layer is stored at every point.
        electron_temperatures: tau_e, K.
        reference_electron_temperature: tau_ref of total free energies, K; None if there are none.
        scalar: whether a single temperature was given instead of a sequence.
        density: whether densities are requested.
        forces: whether forces and stress are requested.
        forces_of_change: whether these are derivatives of F(tau_e) - F(tau_ref) instead of F(tau_e).
        total_energy_obstacle: reason why there is no total free energy; None if there is one.
        tail: whether free electrons continue the LDOS above its energies.
        allow_beyond_window: whether a tau_e that the window does not serve is a warning instead of an error.
        precision: precision of the hidden layers.
        integration: integration rule of :class:`fermisea.DensityOfStates`.
        uncertainty: whether the spread of the members of an ensemble is requested.
        chunk: largest number of points of a tile.
        points: number of points of all passes over grids.
        thermal_xc: name of the exchange-correlation functional of F at tau_e; None for ``functional``.
        warnings: a sentence for each doubt about tau_e and ``thermal_xc`` that the check found.
        processes: processes that share the grid of the densities.
        route: route of the descriptors.
    """

    atoms: Atoms
    network: Network
    descriptor: Descriptor
    head: Head
    ions: Mapping[str, Ion]
    functional: str
    electrons: float
    grid: RealSpaceGrid
    dos_grid: RealSpaceGrid | None
    guessing_grid: RealSpaceGrid | None
    keeps: bool
    electron_temperatures: tuple[float, ...]
    reference_electron_temperature: float | None
    scalar: bool
    density: bool
    forces: bool
    forces_of_change: bool
    total_energy_obstacle: str | None
    tail: bool
    allow_beyond_window: bool
    precision: str
    integration: IntegrationName
    uncertainty: bool
    chunk: int
    points: int
    thermal_xc: str | None = None
    warnings: tuple[str, ...] = ()
    processes: Processes = ALONE
    route: Route = "compiled"

    @property
    def around(self) -> bool:
        """Whether states need neighbours in tau_e, because exchange and correlation depend on it."""
        whole = self.density and self.reference_electron_temperature is not None
        return needs_neighbours(self.thermal_xc or self.functional) if whole else False

    def check_same_inputs(self) -> None:
        """Raises InputError if processes that share the prediction were given different ones."""
        others = None if self.dos_grid is None else self.dos_grid.shape
        choices = (self.density, self.forces, self.forces_of_change, self.tail, self.uncertainty, self.keeps)
        names = (self.precision, self.integration, self.thermal_xc, self.functional, self.network.widths)
        inputs = (self.grid.shape, others, self.electron_temperatures, choices, names)
        check_same_inputs(self.processes, self.network, self.atoms, *inputs)

    @property
    def spread(self) -> bool:
        """Whether there is a spread over the networks of an ensemble."""
        return self.uncertainty and len(self.network.members) > 1

    @property
    def bytes_per_point(self) -> int:
        """Memory of the densities and of what is computed from them, bytes for each grid point."""
        if not self.density:
            return 0
        densities, itemsize = len(set(self.density_temperatures)), self.network.dtype.itemsize
        return bytes_per_point(densities, itemsize, forces=self.forces, spread=self.spread)

    @property
    def density_temperatures(self) -> tuple[float, ...]:
        """Each tau_e of a density, K: the requested ones, their neighbours where needed, and tau_ref."""
        own = (*self.electron_temperatures, self.head.reference_electron_temperature)
        return own + tuple(other for t in own for other in neighbours(t)) if self.around else own

    @property
    def all_temperatures(self) -> tuple[float, ...]:
        """Each tau_e and, if there are total free energies, tau_ref at the end, K."""
        last = () if self.reference_electron_temperature is None else (self.reference_electron_temperature,)
        return self.electron_temperatures + last

    @classmethod
    def of(
        cls,
        model: LdosModel,
        atoms: Atoms,
        electron_temperature: float | Sequence[float],
        grid: RealSpaceGrid | Shape | None = None,
        *,
        dos_grid: Shape | None = None,
        density: bool = True,
        forces: bool = False,
        forces_of_change: bool = False,
        tail: bool = True,
        allow_beyond_window: bool = False,
        precision: str = "float32",
        integration: IntegrationName = "sharpened",
        uncertainty: bool = True,
        chunk: int = CHUNK,
        memory: int = MEMORY,
        thermal_xc: str | None = None,
        processes: Processes = ALONE,
        device: DeviceName | None = None,
        route: Route | None = None,
    ) -> Request:
        """Returns the request after checking it against the model.

        Args:
            model: model of the LDOS.
            atoms: periodic structure of elements that the model knows, Angstrom.
            electron_temperature: tau_e, K.
            grid: grid of the density, or its shape; by default, points at most as far apart as in training, or 7/8 of
                that distance for forces of F(tau_e).
            dos_grid: shape of another grid, for the DOS and all that follows from it.
            density: whether to compute densities and, with them, total free energies.
            forces: whether to compute forces and stress.
            forces_of_change: whether forces and stress are derivatives of F(tau_e) - F(tau_ref) instead of F(tau_e).
            tail: whether free electrons continue the LDOS above its energies; only with ``"sharpened"``.
            allow_beyond_window: whether a tau_e that the window does not serve is a warning instead of an error.
            precision: precision of the hidden layers, ``"float32"`` or ``"bfloat16"``.
            integration: integration rule of :class:`fermisea.DensityOfStates`.
            uncertainty: whether to compute the spread of the members of an ensemble.
            chunk: largest number of points of a tile.
            memory: largest size of a stored hidden layer, bytes.
            thermal_xc: exchange-correlation functional of F at tau_e; by default the one of the model.
            processes: processes that share the grid of the densities.
            device: device of the network; by default the one on which it is.
            route: route of the descriptors; by default compiled loops on the CPU, tensor operations on other devices.

        Raises:
            InputError: for an unknown element, invalid positions or cell, or tau_e <= 0; for forces without a total
                free energy, or with ``dos_grid``; for an unknown functional, or one without a total free energy; for
                more processes than planes of the grid; for an unknown device or route, or one that is not available.
            WindowError: if a tau_e is above the limit of the energy window without a tail.
        """
        whole = None if density else "there are no densities (--no-density, density=False); omit one of them"
        thermal_xc = thermal_functional(thermal_xc, model.functional, model.total_energy_obstacle or whole)
        doubts = other_ground_state(model.functional, thermal_xc)
        if forces:
            _check_forces(model, density=density, dos_grid=dos_grid)
        temperatures = temperature_list(electron_temperature)
        network, taken = placed(model.network, device, route)
        grid = prediction_grid(model, atoms, grid, FINER if forces and not forces_of_change else 1.0)
        number = electrons(model.ions, list(atoms.symbols))
        head = model.heads[0].absolute(number, grid.volume)
        if not isinstance(tail, bool):
            raise InputError(f"tail: got {tail!r}, expected True or False")
        tail = tail and integration != "mala"
        for t in temperatures:
            highest = HIGHEST_TEMPERATURE if tail else head.highest_electron_temperature
            doubts += check_temperature(head.energy_grid, highest, t, allow_beyond_window=allow_beyond_window)
        own = None if dos_grid is None else prediction_grid(model, atoms, dos_grid)
        check_memory(memory)
        check_chunk(chunk)
        if processes.count > min(grid.shape[:2]):
            raise InputError(
                f"processes: got {processes.count}, expected at most {min(grid.shape[:2])}, the number of planes of "
                "the grid; start fewer processes"
            )
        width = sum(member.widths[-1] for member in model.network.members)
        keeps = density and grid.size * width * model.network.dtype.itemsize <= memory
        guessing = _coarse(grid) if density and own is None and not keeps else None
        passes = [grid if density or own is None else None, own, guessing]
        found = cls(
            atoms=atoms.copy(),
            network=network,
            descriptor=model.descriptor,
            head=head,
            ions=model.ions,
            functional=model.functional,
            electrons=number,
            grid=grid,
            dos_grid=own,
            guessing_grid=guessing,
            keeps=keeps,
            electron_temperatures=temperatures,
            reference_electron_temperature=None if model.total_energy_obstacle else head.reference_electron_temperature,
            scalar=np.ndim(electron_temperature) == 0,
            density=density,
            forces=forces,
            forces_of_change=forces_of_change,
            total_energy_obstacle=model.total_energy_obstacle,
            tail=tail,
            allow_beyond_window=allow_beyond_window,
            precision=precision,
            integration=integration,
            uncertainty=uncertainty,
            chunk=chunk,
            points=sum(part.size for part in passes if part is not None) + forces * grid.size * len(temperatures),
            thermal_xc=thermal_xc,
            warnings=tuple(doubts),
            processes=processes,
            route=taken,
        )
        check_size(grid, found.bytes_per_point, processes)
        if own is not None:
            check_size(own)
        return found


def _coarse(grid: RealSpaceGrid) -> RealSpaceGrid:
    """Returns a grid coarser than ``grid``, with even numbers of points; not coarser than a few points."""
    n, m, k = (min(size, max(_FEWEST, 2 * -(-size // (2 * _COARSER)))) for size in grid.shape)
    return RealSpaceGrid(grid.cell, (n, m, k))


def _check_forces(model: LdosModel, *, density: bool, dos_grid: Shape | None) -> None:
    if model.total_energy_obstacle is not None:
        raise InputError(f"forces: the model has no total free energy: {model.total_energy_obstacle}")
    if not density or dos_grid is not None:
        got, option = ("dos_grid", "--dos-grid") if density else ("density=False", "--no-density")
        raise InputError(
            f"forces: {got} ({option}) cannot be combined with forces, which need density and DOS on the same grid; "
            f"omit {option}"
        )


def prediction_grid(
    model: LdosModel, atoms: Atoms, grid: RealSpaceGrid | Shape | None, finer: float = 1.0
) -> RealSpaceGrid:
    """Returns the grid of a prediction after checking the structure.

    Args:
        model: model with its elements and grid spacing.
        atoms: structure.
        grid: grid or its shape; None for the spacing of the model.
        finer: factor of the spacing of the model if no grid is given.

    Raises:
        InputError: for an unknown element, a position that is not finite, or an invalid cell.
    """
    check_structure(atoms)
    unknown = sorted(set(atoms.symbols) - set(model.ions))
    if unknown:
        raise InputError(
            f"structure: got element {', '.join(unknown)}, but the model knows {', '.join(sorted(model.ions))}; train "
            "a model with data that contain all elements of the structure"
        )
    if isinstance(grid, RealSpaceGrid):
        check_grid(grid, atoms)
        return grid
    if grid is not None:
        return RealSpaceGrid(atoms.cell.array, grid)
    return RealSpaceGrid.from_spacing(atoms.cell.array, finer * model.grid_spacing)
