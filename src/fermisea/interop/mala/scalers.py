"""MALA's ``DataScaler``, from its pickle or its JSON."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fermisea.errors import FileFormatError
from fermisea.interop.mala.calculation import parse_json
from fermisea.interop.mala.torch_file import read_torch
from fermisea.interop.mala.unpickling import PickledArray, PlainData, as_array, read_pickle
from fermisea.utilities.arrays import FloatArray


@dataclass(frozen=True, eq=False)
class Scaling:
    """scaled = (value - shift) / scale for each feature.

    Attributes:
        shift: (features,), in the unit of the values.
        scale: (features,), in the same unit; 0 for a feature without variation.
    """

    shift: FloatArray
    scale: FloatArray


def read_scaler(content: bytes, name: str, features: int) -> Scaling:
    """Returns the scaling from the bytes of a ``.json`` or ``.pkl`` scaler of MALA.

    Args:
        content: content of the file.
        name: name of the file, for messages; its suffix defines the format.
        features: number of features of the network.

    Raises:
        FileFormatError: if the file has no scaling, the scaler was never fitted, or its pickle has more than numbers.
    """
    entries = parse_json(content, name) if name.endswith(".json") else _unpickled(content, name)
    standard = _flag(entries, ("scale_standard",), name)
    minmax = _flag(entries, ("scale_minmax", "scale_normal"), name)
    feature_wise = _flag(entries, ("feature_wise",), name)
    if not (standard or minmax):
        return Scaling(np.zeros(features), np.ones(features))
    if standard and minmax:
        raise FileFormatError(f"{name}: got scaling to both a variance and a range, expected one of them")
    if not _flag(entries, ("cantransform",), name):
        raise FileFormatError(
            f"{name}: got a scaler that was never fitted to data, expected the scaler of a trained model"
        )
    names = {
        (True, True): ("means", "stds"),
        (True, False): ("total_mean", "total_std"),
        (False, True): ("mins", "maxs"),
        (False, False): ("total_min", "total_max"),
    }[standard, feature_wise]
    shift, other = (_numbers(entries, key, features, name) for key in names)
    scale = other if standard else other - shift
    if (scale < 0).any():
        raise FileFormatError(f"{name}: {names[1]} below {names[0]} or 0, expected a range or standard deviation")
    return Scaling(shift, scale)


def _unpickled(content: bytes, name: str) -> Mapping[str, Any]:
    stream = io.BytesIO(content)
    data = read_pickle(stream, name, nested=lambda inner: read_torch(inner, name))
    if not isinstance(data, PlainData):
        raise FileFormatError(f"{name}: holds a {type(data).__name__}, expected a DataScaler of MALA")
    # numbers only: lists in a pickle can contain themselves many times
    return {
        key: value for key, value in data.items() if isinstance(value, bool | int | float | np.ndarray | PickledArray)
    }


def _flag(entries: Mapping[str, Any], names: tuple[str, ...], name: str) -> bool:
    for key in names:
        value = entries.get(key)
        if isinstance(value, bool):
            return value
    raise FileFormatError(f"{name}: {names[0]} is missing or not true or false, expected a DataScaler of MALA")


def _numbers(entries: Mapping[str, Any], key: str, features: int, name: str) -> FloatArray:
    values = as_array(entries.get(key, "nothing"), f"{name}: {key}").ravel()
    if values.size not in (1, features) or not np.isfinite(values).all():
        raise FileFormatError(f"{name}: {key} holds {values.size} numbers, expected {features} finite ones")
    return np.array(np.broadcast_to(values, (features,)))
