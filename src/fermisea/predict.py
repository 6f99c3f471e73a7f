"""Prediction in chunks of grid points, without ever storing the LDOS.

The network is linear in its last hidden layer h, d(r) = W h(r) + b. So the DOS is W sum_r h(r) + b N_r times the
volume of a point, exactly, and for integration weights w of one tau_e the density is (W^T w) . h(r) + b . w.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from ase import Atoms
from torch import Tensor

from fermisea.descriptors import Descriptor
from fermisea.energies import Ion, electrons
from fermisea.errors import InputError
from fermisea.grid import EnergyGrid, RealSpaceGrid
from fermisea.ldos_energy import thermal_observables
from fermisea.network import Mlp
from fermisea.observables import DensityOfStates, check_temperature, highest_electron_temperature
from fermisea.prediction import Prediction
from fermisea.snapshot import Broadening

CHUNK = 16384
"""Default number of grid points in one go."""

MEMORY = 2**30
"""Default largest size of the stored last hidden layer, bytes; beyond it that layer is computed twice."""

FloatArray = npt.NDArray[np.float64]
Progress = Callable[[int, int], None]


class LdosModel(Protocol):
    """What a prediction needs of a model; see :class:`fermisea.model.Model`."""

    @property
    def network(self) -> Mlp: ...  # noqa: D102
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


def predict(
    model: LdosModel,
    atoms: Atoms,
    electron_temperature: float | Sequence[float],
    grid: RealSpaceGrid | tuple[int, int, int] | None = None,
    *,
    allow_beyond_window: bool = False,
    chunk: int = CHUNK,
    memory: int = MEMORY,
    progress: Progress | None = None,
) -> Prediction:
    """Returns the observables of ``atoms`` at one or several electronic temperatures.

    One pass over the grid accumulates the DOS; the densities of all temperatures follow from the stored last hidden
    layer, or from a second pass if it does not fit ``memory``.

    Args:
        model: what to predict with.
        atoms: a periodic structure of elements that the model knows, Angstrom.
        electron_temperature: tau_e, K.
        grid: of the density, or its shape; without it, points at most as far apart as in training.
        allow_beyond_window: turns the refusal of a tau_e above the highest one into a warning.
        chunk: points in one go.
        memory: largest size of the stored hidden layer, bytes.
        progress: is told points done and points in all.

    Raises:
        InputError: for an unknown element, positions or a cell that cannot be used, or tau_e <= 0.
        WindowError: if a tau_e is above the highest one that the energy window serves.
    """
    temperatures = [float(t) for t in np.atleast_1d(np.asarray(electron_temperature, dtype=float))]
    if not temperatures:
        raise InputError("electron temperature: got an empty list, expected at least one value in kelvin")
    window = model.energy_grid
    for t in temperatures:
        check_temperature(window, model.highest_electron_temperature, t, allow_beyond_window=allow_beyond_window)
    grid = make_grid(model, atoms, grid)
    layer = HiddenLayer(model, atoms, grid, chunk, memory, progress)
    dos = _density_of_states(model, layer, grid)
    if not allow_beyond_window:
        highest = highest_electron_temperature(dos, electrons(model.ions, list(atoms.symbols)), len(atoms))
        check_temperature(window, highest, max(temperatures))

    def densities(weights: Sequence[FloatArray]) -> list[FloatArray]:
        return _densities(model, layer, grid, np.stack(weights))

    results = thermal_observables(
        dos,
        densities,
        atoms=atoms,
        grid=grid,
        ions=model.ions,
        functional_name=model.functional,
        electron_temperatures=temperatures,
        reference_electron_temperature=model.reference_electron_temperature,
    )
    scalar = np.ndim(electron_temperature) == 0
    return Prediction.of(atoms, grid, dos, results, model.reference_electron_temperature, scalar=scalar)


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
    matrix, bias = model.network.readout()
    for part, hidden in HiddenLayer(model, atoms, grid, chunk, 0, None):
        yield part, (hidden.double() @ matrix.T + bias).numpy()


def make_grid(model: LdosModel, atoms: Atoms, grid: RealSpaceGrid | tuple[int, int, int] | None) -> RealSpaceGrid:
    """Returns the grid of a prediction after checking the structure.

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
    return RealSpaceGrid.from_spacing(atoms.cell.array, model.grid_spacing)


class HiddenLayer:
    """The last hidden layer on a grid, in chunks: kept if it fits the memory, computed anew at each pass otherwise."""

    def __init__(
        self, model: LdosModel, atoms: Atoms, grid: RealSpaceGrid, chunk: int, memory: int, progress: Progress | None
    ) -> None:
        """Computes nothing yet; ``progress`` is told points done and points in all, over both passes."""
        if chunk < 1:
            raise InputError(f"chunk: got {chunk}, expected a positive number of grid points")
        self._model, self._atoms, self._grid, self._chunk = model, atoms, grid, chunk
        network = model.network
        self._keep = grid.size * network.widths[-1] * network.dtype.itemsize <= memory
        self._kept: list[Tensor] = []
        self._progress, self._done = progress, 0
        self._total = grid.size if self._keep else 2 * grid.size

    def __iter__(self) -> Iterator[tuple[slice, Tensor]]:
        """Yields slices of the flattened grid and their hidden layer, (points, width)."""
        starts = range(0, self._grid.size, self._chunk)
        if len(self._kept) == len(starts):
            for start, hidden in zip(starts, self._kept, strict=True):
                yield slice(start, start + len(hidden)), hidden
            return
        self._kept.clear()
        for start in starts:
            part = slice(start, min(start + self._chunk, self._grid.size))
            hidden = self._compute(part)
            if self._keep:
                self._kept.append(hidden)
            self._done += len(hidden)
            if self._progress is not None:
                self._progress(min(self._done, self._total), self._total)
            yield part, hidden

    @torch.no_grad()
    def _compute(self, part: slice) -> Tensor:
        network = self._model.network
        index = np.unravel_index(np.arange(part.start, part.stop), self._grid.shape)
        points = np.stack(index, axis=-1) / np.array(self._grid.shape) @ self._grid.lattice
        dtype: Literal["float32", "float64"] = "float64" if network.dtype == torch.float64 else "float32"
        values = self._model.descriptor.compute_points(self._atoms, points, dtype=dtype)
        return network.hidden(torch.as_tensor(np.asarray(values), dtype=network.dtype))


def _density_of_states(model: LdosModel, layer: HiddenLayer, grid: RealSpaceGrid) -> DensityOfStates:
    """D = (W sum_r h(r) + b N_r) times the volume of a point."""
    matrix, bias = model.network.readout()
    total = torch.zeros(matrix.shape[1], dtype=torch.float64)
    for _, hidden in layer:
        total += hidden.sum(0, dtype=torch.float64)
    values = (matrix @ total + bias * grid.size) * grid.voxel
    return DensityOfStates(model.energy_grid.energies, values.numpy(), model.broadening.standard_deviation)


def _densities(model: LdosModel, layer: HiddenLayer, grid: RealSpaceGrid, weights: FloatArray) -> list[FloatArray]:
    """n(r) = (W^T w) . h(r) + b . w for each row w of ``weights``, (densities, energies)."""
    matrix, bias = model.network.readout()
    columns = torch.from_numpy(weights).T
    fields = np.empty((len(weights), grid.size))
    for part, hidden in layer:
        fields[:, part] = (hidden.double() @ (matrix.T @ columns) + bias @ columns).T.numpy()
    return list(fields.reshape(-1, *grid.shape))
