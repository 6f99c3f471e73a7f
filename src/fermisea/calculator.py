"""Predicted free energies, forces and stress for ASE."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.calculator import all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from fermisea.errors import DomainWarning, InputError
from fermisea.model.model import Model, load_model
from fermisea.physics.registry import OBSERVABLES
from fermisea.physics.window import check_temperature
from fermisea.prediction.plausibility import domain_warnings_ignored
from fermisea.prediction.request import FINER, prediction_grid
from fermisea.prediction.result import NO_REGULAR_PART, Prediction

_KEPT = (0.8, 1.2)
"""Range of the spacing of points, over that of a new grid, within which the number of points stays as it is."""


_REPORTED = (
    "free_energy",
    "internal_energy",
    "fermi_level",
    "entropy_term",
    "ldos_free_energy",
    "transfer_error",
)
"""Observables in ``results`` beside forces and stress."""


class Calculator(AseCalculator):
    """An ASE calculator with the free energy of a model at one electronic temperature.

    Both ``energy`` and ``free_energy`` are the total free energy F(tau_e), of which ``forces`` and ``stress`` are
    derivatives: what is conserved when ions move and electrons stay at tau_e. In ``results`` beside them are, in eV,
    ``internal_energy``, ``fermi_level``, ``entropy_term`` (-TS), ``ldos_free_energy``, ``anchored_free_energy``,
    ``transfer_error``, and for an ensemble ``free_energy_std``, the spread of F over its members.

    ``electron_temperature`` may be changed at any time, as an attribute or with ``set``; what was computed before is
    forgotten. The grid keeps its number of points while a cell changes little, so that F does not jump.

    A structure outside of the domain of the model is a :class:`fermisea.DomainWarning`. In molecular dynamics the same
    warning would appear at every step, so a calculator issues each kind of warning once; ``warnings`` holds all
    warnings about the last structure.

    Attributes:
        model: the model.
        prediction: the last prediction, with DOS and density; None before the first.
        warnings: ways in which the last structure or its results leave the domain of the model, a sentence each.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012  # as ASE declares it

    def __init__(
        self,
        model: Model | str | Path,
        electron_temperature: float,
        *,
        anchor: bool | None = None,
        grid: tuple[int, int, int] | None = None,
        uncertainty: bool = True,
        allow_beyond_window: bool = False,
        allow_outside: bool = False,
        **options: Any,
    ) -> None:
        """Takes the model and what is asked of it.

        Args:
            model: a model, or the path of one.
            electron_temperature: tau_e, K.
            anchor: whether F starts from the regular part of the model; by default, where it has one.
            grid: number of points along each lattice vector; without it, spaced as in training, or 7/8 of that where F
                is that of the LDOS alone.
            uncertainty: whether the spread of an ensemble is wanted; it costs time.
            allow_beyond_window: turns the refusal of a tau_e above the highest one into a warning.
            allow_outside: whether a structure or an energy that cannot exist is a warning instead of an error.
            options: of :class:`ase.calculators.calculator.Calculator`, such as ``atoms``.

        Raises:
            InputError: for a model without total free energies or the anchor asked for, or a tau_e that is none.
            WindowError: for a tau_e above the highest one of the model.
            FileFormatError: for a file that is no model.
        """
        self.model = model if isinstance(model, Model) else load_model(model)
        self.prediction: Prediction | None = None
        self.warnings: tuple[str, ...] = ()
        self._warned: set[str] = set()
        self._shape: tuple[int, int, int] | None = None
        if self.model.total_energy_obstacle is not None:
            raise InputError(f"calculator: the model has no total free energy: {self.model.total_energy_obstacle}")
        super().__init__(  # type: ignore[no-untyped-call]
            electron_temperature=electron_temperature,
            anchor=self.model.anchor is not None if anchor is None else anchor,
            grid=grid,
            uncertainty=uncertainty,
            allow_beyond_window=allow_beyond_window,
            allow_outside=allow_outside,
            **options,
        )

    @property
    def electron_temperature(self) -> float:
        """tau_e, K."""
        return float(dict(self.parameters)["electron_temperature"])

    @electron_temperature.setter
    def electron_temperature(self, value: float) -> None:
        self.set(electron_temperature=value)

    def set(self, **parameters: Any) -> dict[str, Any]:
        """Changes parameters of the same names as in ``__init__``; results are forgotten if one differs.

        Raises:
            InputError: for an unknown one, a tau_e that is none or an anchor that the model has not.
            WindowError: for a tau_e above the highest one of the model.
        """
        known = {"electron_temperature", "anchor", "grid", "uncertainty", "allow_beyond_window", "allow_outside"}
        if unknown := sorted(set(parameters) - known):
            raise InputError(f"calculator: got {', '.join(unknown)}, expected only {', '.join(sorted(known))}")
        if "electron_temperature" in parameters:
            value = float(parameters["electron_temperature"])
            beyond = parameters.get("allow_beyond_window", self.parameters.get("allow_beyond_window", False))
            highest = self.model.highest_electron_temperature
            check_temperature(self.model.energy_grid, highest, value, allow_beyond_window=bool(beyond))
            parameters["electron_temperature"] = value
        if parameters.get("anchor") and self.model.anchor is None:
            raise InputError(NO_REGULAR_PART)
        changed: dict[str, Any] = super().set(**parameters)  # type: ignore[no-untyped-call]  # of ASE
        if changed:
            self.reset()  # type: ignore[no-untyped-call]
        if "anchor" in changed:
            self._shape = None  # the other F has a default grid of its own
        return changed

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Predicts; ASE calls it when something has changed.

        Raises:
            InputError: for a structure that the model cannot take.
            WindowError: if the DOS turns out to need a wider window.
        """
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        assert isinstance(self.atoms, Atoms)  # noqa: S101  # the call above sets it
        wanted, temperature = dict(self.parameters), self.electron_temperature
        with domain_warnings_ignored():  # _warn issues them, each kind once
            prediction = self.model.predict(
                self.atoms,
                temperature,
                self._grid(self.atoms, wanted["grid"]),
                anchor=wanted["anchor"],
                forces="forces" in properties or "stress" in properties,
                uncertainty=wanted["uncertainty"],
                allow_beyond_window=wanted["allow_beyond_window"],
                allow_outside=wanted["allow_outside"],
            )
        self._warn(prediction.warnings)
        self.prediction = prediction
        (result,) = prediction.results
        self.results = {"energy": result.free_energy}
        self.results |= {name: OBSERVABLES[name].getter(result) for name in _REPORTED}
        if prediction.anchor is not None:
            self.results["anchored_free_energy"] = result.anchored_free_energy
        if prediction.uncertainty is not None:
            self.results["free_energy_std"] = prediction.free_energy_std
        if prediction.mechanics is not None:
            self.results["forces"] = prediction.forces
            self.results["stress"] = full_3x3_to_voigt_6_stress(prediction.stress)

    def _warn(self, sentences: tuple[str, ...]) -> None:
        """Issues the first warning of each kind; the kind is the part before the colon."""
        self.warnings = sentences
        for sentence in sentences:
            kind = sentence.partition(":")[0]
            if kind not in self._warned:
                self._warned.add(kind)
                warnings.warn(sentence, DomainWarning, stacklevel=4)

    def _grid(self, atoms: Atoms, asked: tuple[int, int, int] | None) -> tuple[int, int, int]:
        """Returns the number of points along each lattice vector: if none is asked for, that of before if it serves."""
        if asked is not None:
            return asked
        fresh = prediction_grid(self.model, atoms, None, 1.0 if self.parameters["anchor"] else FINER).shape
        if self._shape is None or not all(
            _KEPT[0] <= new / old <= _KEPT[1] for new, old in zip(fresh, self._shape, strict=True)
        ):
            self._shape = fresh
        return self._shape
