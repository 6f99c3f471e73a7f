"""Model file: numbers as safetensors, all other data as JSON in the header, and a checksum over both."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fermisea import descriptors
from fermisea.descriptors import Descriptor
from fermisea.errors import FileFormatError, InputError
from fermisea.grid import EnergyGrid
from fermisea.model.bundled import shipped_models
from fermisea.networks.ensemble import Network, architecture, network_of
from fermisea.networks.mlp import Mlp
from fermisea.physics.broadening import Broadening
from fermisea.physics.ions import Ion
from fermisea.potential import RegularModel
from fermisea.prediction.domain import Domain
from fermisea.utilities.files import atomic_path

FORMAT = "fermisea-model"
VERSION = 1
_HEADER = "fermisea"
_UNITS = {"energy": "eV", "length": "Angstrom", "temperature": "K", "ldos": "1/(eV Angstrom^3)"}


class StoredModel(Protocol):
    """Content of a model file; see :class:`fermisea.Model`."""

    @property
    def network(self) -> Network: ...  # noqa: D102
    @property
    def descriptor(self) -> Descriptor: ...  # noqa: D102
    @property
    def energy_grid(self) -> EnergyGrid: ...  # noqa: D102
    @property
    def broadening(self) -> Broadening: ...  # noqa: D102
    @property
    def elements(self) -> tuple[str, ...]: ...  # noqa: D102
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
    def provenance(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def total_energy_obstacle(self) -> str | None: ...  # noqa: D102
    @property
    def anchor(self) -> RegularModel | None: ...  # noqa: D102
    @property
    def training_domain(self) -> Domain | None: ...  # noqa: D102


def write_model(path: str | os.PathLike[str], model: StoredModel) -> None:
    """Writes a model file, atomically.

    Raises:
        StorageError: if the file cannot be written.
    """
    tensors = {f"network.{name}": value.contiguous() for name, value in model.network.state_dict().items()}
    ions = {}
    for symbol, ion in model.ions.items():
        ions[symbol] = ion.to_dict()
        if ion.core is not None:
            tensors[f"core.{symbol}"] = torch.from_numpy(np.array(ion.core.values, dtype=np.float64))
            del ions[symbol]["core"]["values"]
    entries = {
        "elements": model.elements,
        "network": architecture(model.network),
        "descriptor": model.descriptor.to_dict(),
        "energy_grid": asdict(model.energy_grid),
        "broadening": asdict(model.broadening),
        "ions": ions,
        "functional": model.functional,
        "reference_electron_temperature": model.reference_electron_temperature,
        "highest_electron_temperature": model.highest_electron_temperature,
        "grid_spacing": model.grid_spacing,
        "provenance": model.provenance,
        "total_energy_obstacle": model.total_energy_obstacle,
    }
    if model.training_domain is not None:
        entries["domain"] = model.training_domain.to_dict()
    if model.anchor is not None:
        corrections = [architecture(network) for network in model.anchor.corrections]
        entries["anchor"] = model.anchor.to_dict() | {"corrections": corrections}
        tensors["anchor.coefficients"] = torch.from_numpy(model.anchor.coefficients)
        tensors["anchor.constants"] = torch.from_numpy(model.anchor.constants)
        for index, network in enumerate(model.anchor.corrections):
            tensors |= {f"anchor.{index}.{name}": tensor for name, tensor in network.state_dict().items()}
    header = {"format": FORMAT, "version": VERSION, "units": _UNITS, **entries}
    header["checksum"] = _checksum(header, tensors)
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={_HEADER: json.dumps(header)})


def read_model(path: Path) -> dict[str, Any]:
    """Returns the content of a model file. Nothing in the file is executed or unpickled.

    Raises:
        InputError: if the file does not exist.
        FileFormatError: if the file is not a fermisea model, truncated or altered.
    """
    if not path.is_file():
        names = ", ".join(shipped_models())
        raise InputError(
            f"{path}: no such file; give a model file from 'fermisea train', or the name of a shipped model ({names})"
        )
    header = read_header(path)
    with safe_open(path, framework="pt") as stream:
        tensors = {name: stream.get_tensor(name).clone() for name in stream.keys()}  # noqa: SIM118
    if "checksum" not in header:
        raise _damaged(path, KeyError("checksum"))
    if header["checksum"] != _checksum(header, tensors):
        raise FileFormatError(f"{path}: the content does not match the checksum; the file was altered, copy it again")
    try:
        return _parts(header, tensors)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise _damaged(path, error) from error


def read_header(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns the JSON header of a model file, without the tensors.

    Raises:
        FileFormatError: if the file is not a fermisea model, or is truncated.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
        header = json.loads(metadata[_HEADER])
        version = int(header["version"]) if header["format"] == FORMAT else None
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise FileFormatError(_not_a_model(path)) from error
    if version is None:
        raise FileFormatError(_not_a_model(path))
    if version != VERSION:
        raise FileFormatError(
            f"{path}: model format {version}, expected format {VERSION}; train the model again or use another version "
            "of fermisea"
        )
    return dict(header)


def _parts(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    network = network_of(header["network"])
    prefix = "network."
    network.load_state_dict({name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)})
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise ValueError("numbers that are not finite")
    ions = {}
    for symbol, entry in header["ions"].items():
        if entry["core"] is not None:
            entry["core"]["values"] = tensors[f"core.{symbol}"].numpy()
        ions[symbol] = Ion.from_dict(entry)
    descriptor = descriptors.from_dict(header["descriptor"])
    energy_grid = EnergyGrid(**header["energy_grid"])
    if (descriptor.features, energy_grid.size) != (network.inputs, network.outputs):
        raise ValueError("network, descriptor and energy grid differ in size")
    return {
        "network": network.eval().requires_grad_(requires_grad=False),
        "descriptor": descriptor,
        "energy_grid": energy_grid,
        "broadening": Broadening(**header["broadening"]),
        "ions": ions,
        "functional": str(header["functional"]),
        "reference_electron_temperature": float(header["reference_electron_temperature"]),
        "highest_electron_temperature": float(header["highest_electron_temperature"]),
        "grid_spacing": float(header["grid_spacing"]),
        "provenance": dict(header["provenance"]),
        "total_energy_obstacle": header.get("total_energy_obstacle"),
        "anchor": _anchor(header, tensors),
        "training_domain": Domain.from_dict(header["domain"]) if "domain" in header else None,
    }


def _anchor(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> RegularModel | None:
    if "anchor" not in header:
        return None
    coefficients, constants = (tensors[f"anchor.{name}"].numpy() for name in ("coefficients", "constants"))
    regular = RegularModel.from_dict(header["anchor"], coefficients, constants)
    corrections = []
    for index, shape in enumerate(header["anchor"].get("corrections", [])):
        network, prefix = network_of(shape), f"anchor.{index}."
        assert isinstance(network, Mlp)  # noqa: S101  # an ensemble has other entries, which fail below
        found = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
        network.load_state_dict(found)
        corrections.append(network.eval().requires_grad_(requires_grad=False))
    return replace(regular, corrections=tuple(corrections))


def _damaged(path: str | os.PathLike[str], error: Exception) -> FileFormatError:
    """Returns the error for a file with invalid entries."""
    detail = " ".join(str(error).split())[:120]
    return FileFormatError(
        f"{path}: a fermisea model file with a wrong or missing entry ({detail}); train and save the model again"
    )


def _not_a_model(path: str | os.PathLike[str]) -> str:
    return (
        f"{path}: neither a complete model file (*.safetensors) nor a snapshot (*.nc); expected a file from 'fermisea "
        "train'"
    )


def _checksum(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the header, without the checksum itself, and all tensors in the order of their names."""
    digest = hashlib.sha256()
    plain = {key: value for key, value in header.items() if key != "checksum"}
    digest.update(json.dumps(plain, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensors[name].numpy()).tobytes())
    return digest.hexdigest()
