"""Test in a cell of another size, outside of all training data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fermisea.campaign import Campaign
from fermisea.data.snapshot import Snapshot
from fermisea.engines.mesh import mesh_of
from fermisea.errors import InputError
from fermisea.model.model import Model
from fermisea.physics.error_measures import percent_error
from fermisea.prediction.plausibility import domain_warnings_ignored
from fermisea.studies.folder import Rows, stored_rows
from fermisea.studies.transfer.data import crystal
from fermisea.studies.transfer.settings import TransferSettings


def size_errors(name: str, model: Model, snapshot: Snapshot, mesh: Mapping[str, float], folder: Path) -> dict[str, Any]:
    """Returns errors of a model at tau_ref in a cell of another size, per atom, from the folder if available.

    Args:
        name: name of the model.
        model: model of the study.
        snapshot: snapshot of the cell; its energies are the first energies of the model.
        mesh: result of :func:`k_mesh_difference`, which no model can predict.
        folder: folder of the results.
    """
    key = [model.provenance["study"], dict(mesh), snapshot.reference.free_energy]
    return stored_rows(folder / f"{name}.json", key, lambda: [_size_errors(name, model, snapshot, mesh)])[0]


def _size_errors(name: str, model: Model, snapshot: Snapshot, mesh: Mapping[str, float]) -> dict[str, Any]:
    atoms, count = snapshot.atoms, len(snapshot.atoms)
    temperature = snapshot.electron_temperature
    with domain_warnings_ignored():
        predicted = model.predict(
            atoms, temperature, snapshot.grid, uncertainty=False, anchor=False, allow_outside=True
        )
    true, own = snapshot.observables([snapshot.electron_temperature])[0], snapshot.reference
    shared = len(snapshot.dos)
    if not np.allclose(predicted.energies[:shared], snapshot.energies):
        raise InputError(
            "large cell: got energies that are not the first energies of the model; choose its window accordingly"
        )
    error = (predicted.free_energy - own.free_energy) / count
    anchored = (predicted.anchored_free_energy - own.free_energy) / count
    return {
        "model": name,
        "atoms": count,
        "ion_temperature": snapshot.ion_temperature,
        "free_energy_error": error,
        "anchored_free_energy_error": anchored,
        "k_mesh_offset": mesh["offset"],
        "k_mesh_dos_percent": mesh["dos_percent"],
        "k_mesh_density_percent": mesh["density_percent"],
        "free_energy_error_without_offset": error + mesh["offset"],
        "anchored_free_energy_error_without_offset": anchored + mesh["offset"],
        "dos_error_percent": percent_error(predicted.dos[:shared], snapshot.dos),
        "density_error_percent": percent_error(predicted.density, true.density),
        "fermi_level_error": predicted.fermi_level - true.fermi_level,
        "closure_error": snapshot.closure_error(true) / count,
    }


def k_mesh_difference(settings: TransferSettings, path: Path) -> dict[str, float]:
    """Returns the differences of the perfect crystal between the k-mesh of the large cell and of the other cells.

    ``offset`` is the difference of F, eV/atom; ``dos_percent`` and ``density_percent`` are mean absolute differences
    of DOS and density divided by their means, as for the errors of models.

    Args:
        settings: settings of the study, with a large cell.
        path: file of the result.

    Raises:
        InputError: for settings without a large cell.
        ConvergenceError: if the SCF cycle of a crystal does not converge.
    """
    if settings.large_repeat is None:
        raise InputError("large_repeat: got none, expected a cell")
    window = settings.large_energy_window or settings.dft.energy_window
    dft = replace(settings.dft, energy_window=window, grid=None)  # one cubic cell, on the grid of the engine
    kpts, shift = mesh_of(settings.dft.kpts, settings.dft.shift, crystal(settings, settings.repeat).cell.array)
    meshes = (
        _cube(dft, settings.large_repeat, settings.large_kpts, settings.large_shift),
        _cube(dft, settings.repeat, kpts, shift),
    )
    key = json.loads(json.dumps([[mesh.kpts, mesh.shift, mesh.cutoff, mesh.energy_window] for mesh in meshes]))

    def compute() -> Rows:
        cube = crystal(settings, (1, 1, 1))
        large, others = (mesh.make_engine().run(cube, settings.reference_electron_temperature) for mesh in meshes)
        return [
            {
                "offset": (large.reference.free_energy - others.reference.free_energy) / len(cube),
                "dos_percent": percent_error(others.dos, large.dos),
                "density_percent": percent_error(others.density, large.density),
            }
        ]

    return {name: float(value) for name, value in stored_rows(path, key, compute)[0].items()}


def _cube(
    dft: Campaign, repeat: tuple[int, int, int], kpts: tuple[int, int, int], shift: tuple[int, int, int]
) -> Campaign:
    """Returns settings for one cubic cell with the unfolded k-points of a supercell."""
    x, y, z = (number * points for number, points in zip(repeat, kpts, strict=True))
    return replace(dft, kpts=(x, y, z), shift=shift)
