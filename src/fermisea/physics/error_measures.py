"""The registry of errors of a model against snapshots: name, symbol and unit of each, and how they are computed.

The evaluation, the validation during training, searches, calibration, figures and the terminal read it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from fermisea.physics.registry import OBSERVABLES, per_atom_unit, with_unit
from fermisea.utilities.arrays import FloatArray

if TYPE_CHECKING:
    from fermisea.physics.observables import ThermalObservables  # at run time it would bring torch to --help


@dataclass(frozen=True)
class ErrorMeasure:
    """An error of a model against a snapshot.

    Attributes:
        name: name in code, files and JSON, such as ``"free_energy_error"``.
        symbol: quantity in plain text, for tables and the terminal.
        math_symbol: quantity in the mathematical notation of matplotlib, for figures.
        unit: unit of the error; energies are per atom, the Fermi level is not.
        description: noun phrase for documentation.
        validated: whether the validation during training computes the error.
    """

    name: str
    symbol: str
    math_symbol: str
    unit: str
    description: str
    validated: bool = False

    @property
    def axis_label(self) -> str:
        """Label of an axis, such as "error of $F$ (eV/atom)"."""
        return with_unit(f"{self.math_symbol} error" if self.unit == "%" else f"error of {self.math_symbol}", self.unit)


def _difference(name: str, *, validated: bool = False) -> ErrorMeasure:
    """Returns the error of an observable of the registry, per atom if the observable is extensive."""
    observable = OBSERVABLES[name]
    unit = observable.unit_of(per_atom=True)
    description = f"{observable.symbol}, prediction minus the value of the snapshot's LDOS"
    return ErrorMeasure(f"{name}_error", observable.symbol, observable.math_symbol, unit, description, validated)


_ENERGY = per_atom_unit("eV")
_ALL = (
    ErrorMeasure(
        "ldos_error_percent",
        "LDOS",
        "LDOS",
        "%",
        "Root mean square error of the LDOS over its standard deviation about the mean at each energy",
        validated=True,
    ),
    ErrorMeasure(
        "density_error_percent",
        "density",
        "density",
        "%",
        "Mean absolute error of the density over its mean",
        validated=True,
    ),
    ErrorMeasure(
        "dos_error_percent", "DOS", "DOS", "%", "Mean absolute error of the DOS over its mean", validated=True
    ),
    _difference("fermi_level", validated=True),
    _difference("band_energy", validated=True),
    _difference("entropy_term", validated=True),
    _difference("free_energy", validated=True),
    _difference("free_energy_change"),
    ErrorMeasure(
        "electrons_error",
        "N",
        "$N$",
        OBSERVABLES["electrons"].unit_of(per_atom=True),
        "Number of electrons of the predicted DOS below the snapshot's Fermi level, minus their number",
    ),
    ErrorMeasure(
        "reference_error",
        "F(tau_ref) of the LDOS",
        r"$F(\tau_{\mathrm{ref}})$",
        _ENERGY,
        "F(tau_ref) of the predicted LDOS minus the free energy of the DFT code",
    ),
    ErrorMeasure(
        "anchored_free_energy_error",
        "anchored F",
        r"anchored $F$",
        _ENERGY,
        "Anchored F minus F(tau_ref) of the DFT code and the change from there of the snapshot's LDOS",
    ),
    ErrorMeasure(
        "potential_free_energy_error",
        "F of the potential",
        r"$F$ of the potential",
        _ENERGY,
        "F of the potential minus F(tau_ref) of the DFT code and the change from there of the snapshot's LDOS",
    ),
    ErrorMeasure(
        "closure_error",
        "closure of F",
        "closure of $F$",
        _ENERGY,
        "F(tau_ref) of the snapshot's LDOS minus the free energy of the DFT code",
    ),
    ErrorMeasure(
        "closure_density_error_percent",
        "closure of the density",
        "closure of the density",
        "%",
        "Mean absolute difference of the density of the snapshot's LDOS and the stored density, over its mean",
    ),
)

ERROR_MEASURES = MappingProxyType({measure.name: measure for measure in _ALL})
"""All errors by name."""

VALIDATED = tuple(measure.name for measure in _ALL if measure.validated)
"""Names of the errors that the validation during training computes."""

SUMMARISED = (*ERROR_MEASURES, "transfer_error")
"""Columns of an evaluation that its summary holds: the errors, and the estimated transfer error."""

QUANTITIES = ("fermi_level", "band_energy", "entropy_term", "free_energy", "free_energy_change")
"""Observables whose spread over an ensemble is compared with their error."""


def evaluation_units() -> dict[str, str]:
    """Returns the unit of every column of an evaluation and of its summary, by name."""
    temperatures = dict.fromkeys(("electron_temperature", "ion_temperature"), "K")
    own = dict.fromkeys(("free_energy", "free_energy_change"), _ENERGY)
    units = temperatures | own | {"dos_percent_member_errors": "%"}
    for name in SUMMARISED:
        unit = ERROR_MEASURES[name].unit if name in ERROR_MEASURES else _ENERGY
        units |= dict.fromkeys((name, f"{name}_mean", f"{name}_worst"), unit)
    for name in QUANTITIES:
        unit = ERROR_MEASURES[f"{name}_error"].unit
        units |= dict.fromkeys((f"{name}_spread", f"{name}_member_errors"), unit)
    return units


def evaluation_heads(names: Iterable[str]) -> dict[str, str]:
    """Returns the heads of columns of an evaluation, such as ``"free_energy_error (eV/atom)"``."""
    units = evaluation_units()
    return {name: with_unit(name, units.get(name, "")) for name in names}


def energy_errors(predicted: ThermalObservables, true: ThermalObservables, atoms: int) -> dict[str, float]:
    """Returns the errors of mu (eV), E_b, -TS and, where both have one, F (eV per atom)."""
    errors = {
        "fermi_level_error": predicted.fermi_level - true.fermi_level,
        "band_energy_error": (predicted.band_energy - true.band_energy) / atoms,
        "entropy_term_error": -true.electron_temperature * (predicted.entropy - true.entropy) / atoms,
    }
    if predicted.free_energies and true.free_energies:
        errors["free_energy_error"] = (predicted.free_energy - true.free_energy) / atoms
    return errors


def percent_error(values: FloatArray, true: FloatArray) -> float:
    """Returns the mean absolute error over the mean, percent."""
    return 100 * float(np.mean(np.abs(values - true)) / np.mean(true))


def percent_of_spread(squared_error: float, squared_spread: float) -> float:
    """Returns the root mean square error over the standard deviation of the true values, percent.

    Args:
        squared_error: sum of the squared errors.
        squared_spread: sum of the squared deviations of the true values from their mean.

    Returns:
        Infinity where the true values do not vary.
    """
    return 100 * math.sqrt(squared_error / squared_spread) if squared_spread > 0 else math.inf
