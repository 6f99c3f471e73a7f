"""The complete predicted LDOS, on request only; other results do not need it in memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from ase import Atoms

from fermisea.grid import RealSpaceGrid
from fermisea.networks.precision import HiddenLayers
from fermisea.prediction.readout import Readout
from fermisea.prediction.request import CHUNK, LdosModel, Shape, prediction_grid
from fermisea.prediction.route import Route, evaluator_of, placed
from fermisea.prediction.size import check_chunk, check_size
from fermisea.utilities.arrays import FloatArray
from fermisea.utilities.devices import DeviceName


def predict_ldos(
    model: LdosModel,
    atoms: Atoms,
    grid: RealSpaceGrid | Shape | None = None,
    *,
    chunk: int = CHUNK,
    device: DeviceName | None = None,
    route: Route | None = None,
) -> npt.NDArray[np.float32]:
    """Returns the whole LDOS, (nx, ny, nz, energies), 1/(eV Angstrom^3).

    Arguments and errors are as in :meth:`fermisea.prediction.request.Request.of`.
    """
    grid = prediction_grid(model, atoms, grid)
    energies, kind = model.heads[0].energy_grid.size, np.dtype(np.float32)
    check_size(grid, energies * kind.itemsize)
    ldos = np.empty((grid.size, energies), dtype=kind)
    for part, values in ldos_chunks(model, atoms, grid, chunk, device=device, route=route):
        ldos[part] = values
    return ldos.reshape(*grid.shape, -1)


def ldos_chunks(
    model: LdosModel,
    atoms: Atoms,
    grid: RealSpaceGrid,
    chunk: int = CHUNK,
    *,
    device: DeviceName | None = None,
    route: Route | None = None,
) -> Iterator[tuple[slice, FloatArray]]:
    """Yields slices of the flattened grid and their LDOS, (points, energies), 1/(eV Angstrom^3)."""
    check_chunk(chunk)
    network, taken = placed(model.network, device, route)
    readout = Readout.of(network, model.heads[0])
    layers = HiddenLayers(network, "float32")
    evaluator = evaluator_of(model.descriptor, atoms, network, taken)
    for start in range(0, grid.size, chunk):
        part = slice(start, min(start + chunk, grid.size))
        index = np.unravel_index(np.arange(part.start, part.stop), grid.shape)
        points = np.stack(index, axis=-1) / np.array(grid.shape) @ grid.lattice
        with torch.inference_mode():
            hidden = layers(torch.as_tensor(evaluator.points(points)))
            yield part, (hidden.double().cpu() @ readout.matrix.T + readout.bias).numpy()
