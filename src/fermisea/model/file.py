"""Model file: numbers as safetensors, all other data as JSON in the header, and a checksum over both."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from fermisea import descriptors
from fermisea.descriptors import Descriptor
from fermisea.errors import DamagedFileError, FileFormatError, InputError
from fermisea.grid import EnergyGrid
from fermisea.model.bundled import shipped_models
from fermisea.model.soundness import check_network, check_tensor, check_tensors
from fermisea.model.stored_structures import structures_of, tensors_of
from fermisea.networks.ensemble import Network, architecture, network_of
from fermisea.networks.mlp import Mlp
from fermisea.physics.broadening import Broadening
from fermisea.physics.energy_axis import EnergyAxis
from fermisea.physics.ions import Ion
from fermisea.potential import RegularModel, ThermalTerms
from fermisea.potential.posterior import Posterior
from fermisea.prediction.domain import Domain
from fermisea.utilities.arrays import FloatArray
from fermisea.utilities.tensor_file import checksum, numbers_of, read_tensors, write_tensors

FORMAT = "fermisea-model"
VERSION = 2
_PARTED = 3
"""Version of files with models at several tau_ref, which older versions of fermisea cannot read."""

_FIRST = 1
"""Version whose checksum does not cover types and shapes of the tensors; both follow from its JSON data."""

HOTTER = "hotter"
"""Name of the entries and tensors at further tau_ref."""

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
    def thermal(self) -> ThermalTerms | None: ...  # noqa: D102
    @property
    def axis(self) -> EnergyAxis | None: ...  # noqa: D102
    @property
    def training_domain(self) -> Domain | None: ...  # noqa: D102
    @property
    def structures(self) -> Sequence[Atoms]: ...  # noqa: D102
    @property
    def hotter(self) -> Sequence[StoredModel]: ...  # noqa: D102


def write_model(path: str | os.PathLike[str], model: StoredModel) -> None:
    """Writes a model file, atomically.

    Raises:
        StorageError: if the file cannot be written.
    """
    tensors, entries = _stored(model)
    for number, part in enumerate(model.hotter):
        more, own = _stored(part)
        tensors |= {f"{HOTTER}.{number}.{name}": tensor.clone() for name, tensor in more.items()}
        entries.setdefault(HOTTER, []).append(own)
    version = _PARTED if model.hotter else VERSION
    write_tensors(path, tensors, {"format": FORMAT, "version": version, "units": _UNITS, **entries})


def _stored(model: StoredModel) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Returns the tensors and the other data of a model at one tau_ref."""
    tensors = {f"network.{name}": value.clone().contiguous() for name, value in model.network.state_dict().items()}
    tensors |= tensors_of(model.structures)
    ions = {}
    for symbol, ion in model.ions.items():
        ions[symbol] = ion.to_dict()
        if ion.core is not None:
            tensors[f"core.{symbol}"] = torch.from_numpy(np.array(ion.core.values, dtype=np.float64))
            del ions[symbol]["core"]["values"]
    entries: dict[str, Any] = {
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
    if model.axis is not None:
        entries["energy_axis"] = asdict(model.axis)
    if model.anchor is not None:
        corrections = [architecture(network) for network in model.anchor.corrections]
        entries["anchor"] = model.anchor.to_dict() | {"corrections": corrections}
        tensors["anchor.coefficients"] = torch.from_numpy(model.anchor.coefficients)
        tensors["anchor.constants"] = torch.from_numpy(model.anchor.constants)
        tensors |= _spread_tensors(model.anchor.posterior, "anchor")
        for index, network in enumerate(model.anchor.corrections):
            tensors |= {f"anchor.{index}.{name}": tensor for name, tensor in network.state_dict().items()}
    if model.anchor is not None and model.thermal is not None:
        entries["thermal"] = model.thermal.to_dict()
        tensors["thermal.coefficients"] = torch.from_numpy(model.thermal.coefficients)
        tensors["thermal.constants"] = torch.from_numpy(model.thermal.constants)
        tensors |= _spread_tensors(model.thermal.posterior, "thermal")
    return tensors, entries


def read_model(path: Path) -> list[dict[str, Any]]:
    """Returns the content of a model file for each tau_ref. Nothing in the file is executed or unpickled.

    Raises:
        InputError: if the file does not exist.
        DamagedFileError: if the file is altered.
        FileFormatError: if the file is not a fermisea model, or truncated.
        StorageError: if the file cannot be read now.
    """
    header, tensors = _content(path)
    if "checksum" not in header:
        raise _damaged(path, KeyError("checksum"))
    if header["checksum"] != _checksum(header, tensors):
        raise DamagedFileError(f"{path}: the content does not match the checksum; the file was altered, copy it again")
    try:
        return _every_part(header, tensors)
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as error:
        raise _damaged(path, error) from error


def read_header(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns the JSON header of a model file.

    Raises:
        InputError: if the file does not exist.
        FileFormatError: if the file is not a fermisea model, or is truncated.
        StorageError: if the file cannot be read now.
    """
    return _content(Path(path))[0]


def _content(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        tensors, header = read_tensors(path)
    except OSError as error:
        names = ", ".join(shipped_models())
        raise InputError(
            f"{path}: no such file; give a model file from 'fermisea train', or the name of a shipped model ({names})"
        ) from error
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise FileFormatError(_not_a_model(path)) from error
    if header.get("format") != FORMAT or not isinstance(header.get("version"), int):
        raise FileFormatError(_not_a_model(path))
    if header["version"] not in (_FIRST, VERSION, _PARTED):
        raise FileFormatError(
            f"{path}: model format {header['version']}, expected at most format {_PARTED}; train the model again "
            "or use another version of fermisea"
        )
    return header, tensors


def _every_part(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """Returns the content at each tau_ref."""
    hotter = header.get(HOTTER, [])
    if bool(hotter) != (header["version"] == _PARTED):
        raise ValueError(f"{len(hotter)} further tau_ref in a file of format {header['version']}")
    names = [name for name in tensors if not name.startswith(f"{HOTTER}.")]
    found = [(header, {name: tensors[name] for name in names})]
    for number, entries in enumerate(hotter):
        prefix = f"{HOTTER}.{number}."
        own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        found.append((entries, own))
    for _, own in found:
        check_tensors(own)
    return [_parts(entries, own) for entries, own in found]


def _parts(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    network = _network(header["network"], tensors, "network.")
    ions = {}
    for symbol, entry in header["ions"].items():
        if entry["core"] is not None:
            check_tensor(f"core.{symbol}", tensors[f"core.{symbol}"], None, torch.float64)
            entry["core"]["values"] = tensors[f"core.{symbol}"].numpy()
        ions[symbol] = Ion.from_dict(entry)
        _positive(vars(ions[symbol]), "valence")
    descriptor = descriptors.from_dict(header["descriptor"])
    energy_grid = EnergyGrid(**header["energy_grid"])
    if (descriptor.features, energy_grid.size) != (network.inputs, network.outputs):
        raise ValueError("network, descriptor and energy grid differ in size")
    anchor = _anchor(header, tensors)
    return {
        "network": network,
        "descriptor": descriptor,
        "energy_grid": energy_grid,
        "broadening": Broadening(**header["broadening"]),
        "ions": ions,
        "functional": str(header["functional"]),
        "reference_electron_temperature": _positive(header, "reference_electron_temperature"),
        "highest_electron_temperature": _positive(header, "highest_electron_temperature"),
        "grid_spacing": _positive(header, "grid_spacing"),
        "provenance": dict(header["provenance"]),
        "total_energy_obstacle": header.get("total_energy_obstacle"),
        "anchor": anchor,
        "thermal": _thermal(header, tensors, anchor),
        "axis": EnergyAxis(**header["energy_axis"]) if "energy_axis" in header else None,
        "training_domain": Domain.from_dict(header["domain"]) if "domain" in header else None,
        "structures": structures_of(tensors),
    }


def _network(shape: Mapping[str, Any], tensors: Mapping[str, Tensor], prefix: str) -> Network:
    own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    check_network(shape, own)
    network = network_of(shape)
    network.load_state_dict(own)
    return network.eval().requires_grad_(requires_grad=False)


def _positive(header: Mapping[str, Any], name: str) -> float:
    value = float(header[name])
    if not 0 < value < math.inf:
        raise ValueError(f"{name} is {value}, expected a positive number")
    return value


def _anchor(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> RegularModel | None:
    if "anchor" not in header:
        return None
    regular = RegularModel.from_dict(header["anchor"], *_linear(tensors, "anchor"))
    corrections = []
    for index, shape in enumerate(header["anchor"].get("corrections", [])):
        network = _network(shape, tensors, f"anchor.{index}.")
        if not isinstance(network, Mlp):
            raise ValueError("the anchor has an ensemble, expected networks")  # noqa: TRY004  # a wrong entry
        corrections.append(network)
    posterior = _posterior(tensors, "anchor", regular.constants.size + regular.coefficients.size, ())
    return replace(regular, corrections=tuple(corrections), posterior=posterior)


def _thermal(
    header: Mapping[str, Any], tensors: Mapping[str, Tensor], anchor: RegularModel | None
) -> ThermalTerms | None:
    if "thermal" not in header:
        return None
    if anchor is None:
        raise ValueError("thermal terms without an anchor")
    coefficients, constants = _linear(tensors, "thermal")
    columns = constants[0].size + coefficients[0].size
    posterior = _posterior(tensors, "thermal", columns, (len(constants),) * 2)
    return ThermalTerms.from_dict(anchor, header["thermal"], coefficients, constants, posterior)


def _spread_tensors(posterior: Posterior | None, prefix: str) -> dict[str, Tensor]:
    if posterior is None:
        return {}
    upper = posterior.covariance[np.triu_indices(len(posterior.covariance))]
    parts = {"covariance": upper, "factor": posterior.factor, "noise": posterior.noise}
    return {f"{prefix}.{name}": torch.from_numpy(np.array(values)) for name, values in parts.items()}


def _posterior(tensors: Mapping[str, Tensor], prefix: str, columns: int, shape: tuple[int, ...]) -> Posterior | None:
    names = [f"{prefix}.{name}" for name in ("covariance", "factor", "noise")]
    if names[1] not in tensors:
        return None
    parts = [_symmetric(tensors, names[0], columns), *(_numbers(tensors, name, shape) for name in names[1:])]
    for name, values in zip(names, parts, strict=True):
        variances = np.diagonal(values) if values.ndim else values
        if not np.isfinite(values).all() or variances.min() < 0:
            raise ValueError(f"{name} has negative variances")
    return Posterior(*parts)


def _symmetric(tensors: Mapping[str, Tensor], name: str, size: int) -> FloatArray:
    """Returns a symmetric matrix from its upper triangle, or as it is in older files."""
    if tensors[name].ndim == 2:
        return _numbers(tensors, name, (size, size))
    found = np.zeros((size, size))
    found[np.triu_indices(size)] = _numbers(tensors, name, (size * (size + 1) // 2,))
    return found + np.triu(found, 1).T


def _numbers(tensors: Mapping[str, Tensor], name: str, shape: tuple[int, ...]) -> FloatArray:
    """Returns a checked tensor of a known shape."""
    check_tensor(name, tensors[name], shape, torch.float64)
    return tensors[name].numpy()


def _linear(tensors: Mapping[str, Tensor], prefix: str) -> tuple[FloatArray, FloatArray]:
    """Returns coefficients and constants of a linear model."""
    own = {name: tensors[f"{prefix}.{name}"] for name in ("coefficients", "constants")}
    for name, tensor in own.items():
        check_tensor(f"{prefix}.{name}", tensor, tuple(tensor.shape), torch.float64)
    return own["coefficients"].numpy(), own["constants"].numpy()


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
    """Returns the checksum of a file of any version; in the first version it has no types and shapes of tensors."""
    if header["version"] != _FIRST:
        return checksum(header, tensors)
    plain = {key: value for key, value in header.items() if key != "checksum"}
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(numbers_of(tensors[name]))
    return digest.hexdigest()
