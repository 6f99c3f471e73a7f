"""Import of models from MALA's archives."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from fermisea.errors import FileFormatError, InputError
from fermisea.grid import RealSpaceGrid
from fermisea.interop.mala.archive import SIZE, read_archive
from fermisea.interop.mala.calculation import Calculation, parse_calculation
from fermisea.interop.mala.ions import PseudopotentialFiles, assumed_broadening, ion_data
from fermisea.interop.mala.networks import assemble, choose_activations, linear_layers
from fermisea.interop.mala.parameters import READINGS, LayerActivations, parse_parameters
from fermisea.interop.mala.scalers import Scaling, read_scaler
from fermisea.interop.mala.torch_file import read_torch
from fermisea.model.model import Model
from fermisea.networks.mlp import check_choice
from fermisea.physics.broadening import Broadening
from fermisea.physics.density_of_states import DensityOfStates
from fermisea.physics.window import highest_electron_temperature
from fermisea.prediction.ldos import predict_ldos

PathLike = str | os.PathLike[str]

_COARSE = 12
"""Largest number of points along an axis of the grid for finding the highest temperature of the window."""


def load_model(
    path: PathLike,
    *,
    info: PathLike | None = None,
    layer_activations: LayerActivations = "auto",
    broadening: Broadening | None = None,
    pseudopotentials: PseudopotentialFiles | None = None,
    functional: str | None = None,
    dtype: str = "float64",
) -> Model:
    """Returns the model from an archive of MALA's ``save_run``; no pickle is executed, and the file is not changed.

    Args:
        path: the ``.zip`` archive.
        info: ``.info.json`` of a DFT run of the model's data, if the archive has none.
        layer_activations: meaning of the entry of this name: "legacy" (MALA before 1.3.1: a list of one entry applies
            to all layers, including the last one), "current" (a list applies layer by layer), or "auto": "current" if
            the file has the entry ``layer_activations_include_output_layer``, otherwise "legacy", unless the network
            contradicts this choice.
        broadening: kernel of the LDOS in the training data; by default one is assumed, with a warning.
        pseudopotentials: UPF file of each element; needed for total free energies, and for the valences in compounds.
        functional: exchange-correlation functional of the data; by default the functional of the pseudopotentials.
        dtype: type of network and descriptors: ``"float64"`` reproduces MALA's numbers to 1e-6, ``"float32"`` to 1e-5
            and is faster.

    Raises:
        InputError: for an unsupported model, or inconsistent arguments.
        FileFormatError: for an archive that is damaged, of another kind, or dangerous.
    """
    check_choice("layer_activations", layer_activations, READINGS)
    path = Path(path)
    files = _files(path)
    parameters = parse_parameters(*_member(files, path, ".params.json"))
    calculation = _calculation(files, path, info)
    descriptor = parameters.descriptor(list(calculation.atoms.symbols))
    inputs, outputs = parameters.layer_sizes[0], parameters.layer_sizes[-1]
    if inputs == descriptor.features + 3:
        raise InputError(
            f"{path}: got a network with the coordinates x, y, z among its inputs, which is not supported; expected "
            "descriptors only"
        )
    if (inputs, outputs) != (descriptor.features, parameters.energies.stored):
        raise FileFormatError(
            f"{path}: got layer_sizes from {inputs} to {outputs}, expected {descriptor.features} components of the "
            f"bispectrum and {parameters.energies.stored} energies"
        )
    content, member = _member(files, path, ".network.pth")
    layers = linear_layers(read_torch(content, member), parameters, member)
    network = assemble(
        layers,
        choose_activations(layers, parameters, layer_activations, member),
        _scaler(files, path, "iscaler", inputs),
        _scaler(files, path, "oscaler", outputs),
        parameters,
        dtype,
    )
    broadening = assumed_broadening(parameters.energies.grid.spacing, broadening, str(path), stacklevel=3)
    ions = ion_data(calculation, pseudopotentials, functional, str(path))
    model = Model(
        network=network,
        descriptor=descriptor,
        energy_grid=parameters.energies.grid,
        broadening=broadening,
        ions=ions.ions,
        functional=ions.functional,
        reference_electron_temperature=calculation.electron_temperature,
        highest_electron_temperature=0.0,
        grid_spacing=max(calculation.grid.spacing),
        provenance={
            "engine": "MALA archive",
            "file": path.name,
            "network": [int(size) for size in parameters.layer_sizes],
            "settings": dict(calculation.settings),
            "pseudopotentials": ions.provenance,
        },
        total_energy_obstacle=ions.obstacle,
    )
    return _with_highest(model, calculation, path)


def _files(path: Path) -> Mapping[str, bytes]:
    try:
        if path.stat().st_size > SIZE:
            raise FileFormatError(f"{path}: got {path.stat().st_size} bytes, expected at most {SIZE // 2**30} GiB")
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give the .zip written by MALA") from error
    return read_archive(content, str(path))


def _member(files: Mapping[str, bytes], path: Path, *endings: str) -> tuple[bytes, str]:
    """Returns the file with the first matching suffix, and its name for messages."""
    for ending in endings:
        found = [entry for entry in files if entry.endswith(ending)]
        if len(found) > 1:
            raise FileFormatError(f"{path}: holds {', '.join(sorted(found))}, expected one model")
        if found:
            return files[found[0]], f"{path}: {found[0]}"
    raise FileFormatError(f"{path}: holds no file *{' or *'.join(endings)}, expected an archive of MALA's save_run")


def _calculation(files: Mapping[str, bytes], path: Path, info: PathLike | None) -> Calculation:
    if info is not None:
        try:
            return parse_calculation(Path(info).read_bytes(), str(info))
        except OSError as error:
            raise InputError(f"{info}: cannot be read ({error.strerror}); give an .info.json of MALA") from error
    if not any(entry.endswith(".info.json") for entry in files):
        raise InputError(
            f"{path}: holds no .info.json with elements, electrons, temperature and grid of the data; give "
            "the .info.json of a DFT run with info="
        )
    return parse_calculation(*_member(files, path, ".info.json"))


def _scaler(files: Mapping[str, bytes], path: Path, kind: str, features: int) -> Scaling:
    content, name = _member(files, path, f".{kind}.json", f".{kind}.pkl")
    return read_scaler(content, name, features)


def _with_highest(model: Model, calculation: Calculation, path: Path) -> Model:
    """Returns the model with the highest tau_e of its window, determined for the structure in the archive."""
    n, m, k = (min(size, _COARSE) for size in calculation.grid.shape)
    grid = RealSpaceGrid(calculation.grid.cell, (n, m, k))
    ldos = predict_ldos(model, calculation.atoms, grid)
    dos = grid.voxel * ldos.reshape(grid.size, -1).sum(axis=0, dtype=np.float64)
    states = DensityOfStates(model.energy_grid.energies, dos, model.broadening.standard_deviation)
    try:
        highest = highest_electron_temperature(states, calculation.electrons, len(calculation.atoms))
    except InputError as error:
        warnings.warn(
            f"{path}: the LDOS of the model for the structure in the archive does not hold the electrons ({error}); "
            "check layer_activations",
            stacklevel=3,
        )
        highest = 0.0
    return replace(model, highest_electron_temperature=highest)
