"""Search space: varied fields of a training configuration, with their values or ranges."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fermisea.errors import InputError
from fermisea.training.config import TrainingConfig
from fermisea.utilities.toml import check_keys, read_toml

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

_COMMON = ("seed", "validation_fraction", "ensemble", "dtype", "anchor")
"""Fields that must be the same in all trials, so that their errors can be compared."""

_BELONGS: dict[str, tuple[str, str]] = {
    "order": ("descriptor", "power_spectrum"),
    "twojmax": ("descriptor", "bispectrum"),
    "plateau_factor": ("schedule", "plateau"),
    "plateau_patience": ("schedule", "plateau"),
    "dos_weight": ("readout", "ridge"),
    "ridge": ("readout", "ridge"),
}
"""Fields that have a meaning only if another field has this value."""

_LISTS = ("hidden",)
_STEPS = 5


@dataclass(frozen=True)
class Choice:
    """A list of values of any kind."""

    values: tuple[Any, ...]

    def suggest(self, trial: BaseTrial, name: str) -> Any:
        """Returns the value that a trial shall take."""
        return json.loads(trial.suggest_categorical(name, [json.dumps(value) for value in self.values]))

    def examples(self) -> list[Any]:
        """Returns all values."""
        return list(self.values)


@dataclass(frozen=True)
class Range:
    """Range from ``low`` to ``high``, of integers if both ends are integers; uniform in the logarithm if ``log``."""

    low: float
    high: float
    log: bool = False

    def suggest(self, trial: BaseTrial, name: str) -> float:
        """Returns the value that a trial shall take."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(name, self.low, self.high, log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def examples(self) -> list[Any]:
        """Returns a few values that span the range."""
        spaced = np.geomspace if self.log else np.linspace
        values = spaced(self.low, self.high, _STEPS).tolist()
        if isinstance(self.low, int) and isinstance(self.high, int):
            return sorted({round(value) for value in values})
        return values


@dataclass(frozen=True)
class SearchSpace:
    """Varied fields of :class:`fermisea.TrainingConfig`, and the values of the other fields.

    Attributes:
        varied: choices and ranges by field.
        fixed: configuration with the values of all other fields.
    """

    varied: Mapping[str, Choice | Range]
    fixed: TrainingConfig = field(default_factory=TrainingConfig)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Returns a space from plain values.

        Args:
            values: for each field, a list of values, a range ``{"from": low, "to": high, "log": True}``, or one value
                for all trials. For ``hidden``, a list of lists is a list of values.

        Raises:
            InputError: for an unknown field, an invalid value, an empty range, or no varied field.
        """
        check_keys(values, [item.name for item in fields(TrainingConfig)], "search space")
        varied = {name: _varied(name, value) for name, value in values.items() if _varies(name, value)}
        if not varied:
            raise InputError("search space: contains no parameter to vary, expected a line such as order = [4, 5, 6]")
        fixed = TrainingConfig.from_dict({name: value for name, value in values.items() if name not in varied})
        if fixed.validation_fraction == 0:
            raise InputError(
                "validation_fraction: got 0, expected a fraction above 0, because held-out structures judge the trials"
            )
        for name, item in varied.items():
            if name in _COMMON:
                raise InputError(f"{name}: got several values, expected one, because all trials share this field")
            for value in item.examples():
                replace(fixed, **{name: value})
        return cls(varied, fixed)

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str]) -> Self:
        """Returns the space from a TOML file, see ``from_dict``.

        Raises:
            InputError: if the file is missing or not TOML, and as ``from_dict``.
        """
        values = read_toml(path, [item.name for item in fields(TrainingConfig)])
        try:
            return cls.from_dict(values)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    @classmethod
    def default(cls) -> Self:
        """Returns a space around the default configuration."""
        return cls.from_dict(
            {
                "order": [4, 5, 6, 7],
                "cutoff": {"from": 4.5, "to": 6.5},
                "hidden": [[128, 128], [256, 256], [256, 256, 256], [512, 512]],
                "activation": ["silu", "gelu", "leaky_relu"],
                "learning_rate": {"from": 5e-4, "to": 1e-2, "log": True},
                "batch_size": [512, 1024, 2048],
                "weight_decay": {"from": 1e-3, "to": 1.0, "log": True},
                "descriptor_floor": {"from": 0.1, "to": 3.0, "log": True},
            }
        )

    def suggest(self, trial: BaseTrial) -> TrainingConfig:
        """Returns the training configuration of a trial."""
        return self._filled(lambda name: self.varied[name].suggest(trial, name))

    def config(self, parameters: Mapping[str, Any]) -> TrainingConfig:
        """Returns the configuration of a trial from its parameters, as stored by Optuna."""

        def value(name: str) -> Any:
            kept = parameters[name]
            return json.loads(kept) if isinstance(self.varied[name], Choice) else kept

        return self._filled(value)

    def values(self, config: TrainingConfig) -> dict[str, Any]:
        """Returns the varied fields of a configuration, without fields that have no meaning in it."""
        return {name: getattr(config, name) for name in self.varied if self._matters(name, config)}

    def designs(self, names: tuple[str, ...]) -> list[TrainingConfig]:
        """Returns all combinations of these fields, with a few values of each range; others are fixed or first."""
        start = replace(
            self.fixed, **{name: item.examples()[0] for name, item in self.varied.items() if name not in names}
        )
        found = [start]
        for name in sorted(set(names) & set(self.varied), key=lambda name: name in _BELONGS):
            found = [
                replace(config, **{name: value})
                for config in found
                for value in (self.varied[name].examples() if self._matters(name, config) else [getattr(config, name)])
            ]
        return found

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        varied = {
            name: list(item.values)
            if isinstance(item, Choice)
            else {"from": item.low, "to": item.high, "log": item.log}
            for name, item in self.varied.items()
        }
        return json.loads(json.dumps({**self.fixed.to_dict(), **varied}))

    def _filled(self, value: Callable[[str], Any]) -> TrainingConfig:
        config = self.fixed
        for name in sorted(self.varied, key=lambda name: name in _BELONGS):
            if self._matters(name, config):
                config = replace(config, **{name: value(name)})
        return config

    @staticmethod
    def _matters(name: str, config: TrainingConfig) -> bool:
        other, value = _BELONGS.get(name, ("", ""))
        return not other or getattr(config, other) == value


def _varies(name: str, value: Any) -> bool:
    if name in _LISTS:
        return isinstance(value, list) and bool(value) and isinstance(value[0], list)
    return isinstance(value, list) or (isinstance(value, Mapping) and name != "element_weights")


def _varied(name: str, value: Any) -> Choice | Range:
    if isinstance(value, list):
        if len(value) < 2:
            raise InputError(f"{name}: got {value!r}, expected at least two values, or one value without []")
        return Choice(tuple(value))
    unknown = sorted(set(value) - {"from", "to", "log"})
    low, high, log = value.get("from"), value.get("to"), value.get("log", False)
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x) for x in (low, high))
    if unknown or not numbers or not isinstance(log, bool) or low >= high or (log and low <= 0):
        raise InputError(
            f"{name}: got {dict(value)!r}, expected {{ from = LOW, to = HIGH }}, LOW < HIGH; log = true only above 0"
        )
    if not isinstance(getattr(TrainingConfig(), name), int):
        low, high = float(low), float(high)
    return Range(low, high, log)
