"""Predicted free energies, forces and stress for ASE."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.calculator import all_changes, compare_atoms
from ase.stress import full_3x3_to_voigt_6_stress

from fermisea.errors import DomainWarning, InputError
from fermisea.model.blended_potential import BlendedSites
from fermisea.model.loading import load_model
from fermisea.model.model import Model
from fermisea.model.potential import ModelSites
from fermisea.physics.registry import OBSERVABLES
from fermisea.physics.tau_dependence import thermal_functional
from fermisea.physics.window import HIGHEST_TEMPERATURE, check_temperature, temperature_list
from fermisea.prediction.origin import FreeEnergy, without_potential
from fermisea.prediction.plausibility import domain_warnings_ignored, kind_of
from fermisea.prediction.request import FINER, prediction_grid
from fermisea.prediction.result import Prediction
from fermisea.prediction.route import Route, route_of
from fermisea.prediction.spread import spreads_of
from fermisea.utilities.devices import device_of

_KEPT = (0.8, 1.2)
"""Range of the grid spacing, relative to a new grid, within which the number of points is kept."""


_STEP = 1.0
"""Largest displacement of an atom or a lattice vector, Angstrom, between structures that continue each other."""

_PARAMETERS = frozenset(
    (
        "electron_temperature",
        "free_energy",
        "grid",
        "uncertainty",
        "potential",
        "tail",
        "allow_beyond_window",
        "allow_outside",
        "thermal_xc",
        "device",
        "route",
    )
)
"""Parameters of the calculator."""

_SWITCHES = ("potential", "tail", "uncertainty", "allow_beyond_window", "allow_outside")
"""Parameters that are True or False."""

_LIMITING = frozenset(("electron_temperature", "potential", "tail", "allow_beyond_window"))
"""Parameters that decide which tau_e is allowed."""

_IGNORED = frozenset(("initial_charges", "initial_magmoms"))
"""Properties of atoms on which the potential does not depend."""

_REPORTED = (
    "free_energy",
    "internal_energy",
    "fermi_level",
    "entropy_term",
    "heat_capacity",
    "ldos_free_energy",
    "transfer_error",
    "tail_electrons",
    "tail_error",
)
"""Observables in ``results`` besides forces and stress."""


class Calculator(AseCalculator):
    """An ASE calculator with the free energy of a model at one electronic temperature.

    Both ``energy`` and ``free_energy`` are the total free energy F(tau_e), and ``forces`` and ``stress`` are its
    derivatives; F plus the kinetic energy of the ions is conserved at constant tau_e. Further ``results``, in eV, are
    ``internal_energy``, ``fermi_level``, ``entropy_term`` (-TS), ``ldos_free_energy``, ``anchored_free_energy``,
    ``transfer_error``; and where they are known, ``free_energy_std``, the spread of F of the potential or over the
    networks of an ensemble, and ``free_energy_uncertainty``, which includes the transfer error. With
    ``potential=True`` the results come from the interatomic potential of the model: energies, entropy term, heat
    capacity, forces and stress.

    ``electron_temperature`` may be changed at any time, as an attribute or with ``set``; earlier results are then
    discarded. The number of grid points is kept during small changes of the cell, so that F is continuous.

    A structure outside of the domain of the model is a :class:`fermisea.DomainWarning`. In molecular dynamics the same
    warning would appear at every step, so a calculator issues each kind of warning once, and again for a structure that
    does not continue the last one; ``warnings`` holds all warnings about the last structure.

    Attributes:
        model: the model.
        prediction: the last prediction, with DOS and density; None before the first.
        warnings: a sentence for each way in which the last structure or its results leave the domain of the model.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012  # as ASE declares it

    def __init__(
        self,
        model: Model | str | Path,
        electron_temperature: float,
        *,
        free_energy: FreeEnergy | None = None,
        anchor: bool | None = None,
        grid: tuple[int, int, int] | None = None,
        uncertainty: bool = True,
        potential: bool = False,
        tail: bool = True,
        allow_beyond_window: bool = False,
        allow_outside: bool = False,
        thermal_xc: str | None = None,
        device: str | None = None,
        route: Route | None = None,
        **options: Any,
    ) -> None:
        """Creates a calculator.

        Args:
            model: a model, or the path of a model.
            electron_temperature: tau_e, K.
            free_energy: origin of F, forces and stress, as in :meth:`fermisea.Model.predict`.
            anchor: short form: True for ``"anchored"``, False for ``"ldos"``.
            grid: number of grid points along each lattice vector; by default the spacing in training, or 7/8 of it for
                F from the LDOS alone.
            uncertainty: whether the spread of an ensemble is computed, which takes time.
            potential: whether to use the interatomic potential of the model at tau_e alone,
                :meth:`fermisea.Model.potential`: much faster, without an LDOS. The prediction of the LDOS, Fermi level
                and transfer error are then missing, and the other options have no effect.
            tail: whether free electrons continue the LDOS above its energies, as in :meth:`fermisea.Model.predict`.
            allow_beyond_window: whether a tau_e that the window does not serve gives a warning instead of an error.
            allow_outside: whether an unphysical structure or energy gives a warning instead of an error.
            thermal_xc: exchange-correlation functional of F at tau_e, as in :meth:`fermisea.Model.predict`.
            device: device of networks and descriptors, as in :meth:`fermisea.Model.predict`.
            route: route of the descriptors, as in :meth:`fermisea.Model.predict`.
            options: options of :class:`ase.calculators.calculator.Calculator`, such as ``atoms``.

        Raises:
            InputError: for a model without total free energies or without the requested origin of F, an invalid tau_e
                or option, an unknown functional, a device or route that is unknown or not available, or the potential
                with another ``thermal_xc``.
            WindowError: for a tau_e above the highest one of the potential or, without a tail, of the model.
            FileFormatError: for a file that is not a model.
        """
        self.model = model if isinstance(model, Model) else load_model(model)
        self.prediction: Prediction | None = None
        self.warnings: tuple[str, ...] = ()
        self._warned: set[str] = set()
        self._last: Atoms | None = None
        self._at: ModelSites | BlendedSites | None = None
        self._at_key: tuple[Model, bool] | None = None
        self._shape: tuple[int, int, int] | None = None
        if self.model.total_energy_obstacle is not None:
            raise InputError(f"calculator: the model has no total free energy: {self.model.total_energy_obstacle}")
        super().__init__(  # type: ignore[no-untyped-call]
            electron_temperature=electron_temperature,
            free_energy=self._asked(free_energy, anchor),
            grid=grid,
            uncertainty=uncertainty,
            potential=potential,
            tail=tail,
            allow_beyond_window=allow_beyond_window,
            allow_outside=allow_outside,
            thermal_xc=thermal_xc,
            device=device,
            route=route,
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
        """Changes parameters with the names of ``__init__``; results are discarded if a parameter changes.

        Raises:
            InputError: for an unknown parameter, an invalid tau_e or option, an origin of F that the model does not
                have, an unknown functional, a device or route that is unknown or not available, or the potential with
                another ``thermal_xc``.
            WindowError: for a tau_e above the highest one of the model.
        """
        if "anchor" in parameters:
            parameters["free_energy"] = self._asked(parameters.get("free_energy"), parameters.pop("anchor"))
        if unknown := sorted(set(parameters) - _PARAMETERS):
            raise InputError(f"calculator: got {', '.join(unknown)}, expected only {', '.join(sorted(_PARAMETERS))}")
        known = dict(self.parameters) | parameters
        for name in _SWITCHES:
            if not isinstance(known.get(name, False), bool):
                raise InputError(f"calculator: {name}: got {known[name]!r}, expected True or False")
        if "electron_temperature" in parameters:
            values = temperature_list(parameters["electron_temperature"])
            if len(values) != 1:
                raise InputError(
                    f"calculator: electron temperature: got {list(values)}, expected one number in kelvin; make a "
                    "calculator for each, or use model.predict"
                )
            (parameters["electron_temperature"],) = values
        if _LIMITING & set(parameters):
            self._check_temperature(**(known | parameters))
        if "free_energy" in parameters:
            self._asked(parameters["free_energy"], None)
        if known.get("potential", False) and known.get("free_energy") not in (None, "potential"):
            raise InputError(
                f"calculator: got potential=True and the origin {known['free_energy']!r} of F; omit one of them"
            )
        if (hot := thermal_functional(known.get("thermal_xc"), self.model.functional, None)) is not None:
            origin: FreeEnergy | None = "potential" if known.get("potential", False) else known.get("free_energy")
            without_potential(origin, None, self.model.functional, hot, anchored=True)  # refuses the potential
        if {"device", "route"} & set(parameters):
            device = known.get("device")
            route_of(self.model.network.device if device is None else device_of(device), known.get("route"))
        changed: dict[str, Any] = super().set(**parameters)  # type: ignore[no-untyped-call]  # of ASE
        if changed:
            self.reset()  # type: ignore[no-untyped-call]
        if "free_energy" in changed:
            self._shape = None  # the default grid depends on anchoring
        return changed

    def _check_temperature(
        self,
        electron_temperature: float,
        *,
        potential: bool = False,
        tail: bool = True,
        allow_beyond_window: bool = False,
        **_: Any,
    ) -> None:
        """Refuses a tau_e (K) above the limit of the potential or of the energy window, and a missing potential."""
        if potential:
            self.model.potential().check([electron_temperature])
            return
        hottest = self.model.parts[-1]
        highest = HIGHEST_TEMPERATURE if tail else hottest.highest_electron_temperature
        check_temperature(
            hottest.energy_grid, highest, electron_temperature, allow_beyond_window=bool(allow_beyond_window)
        )

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Predicts; called by ASE after a change.

        Raises:
            InputError: for an invalid structure.
            WindowError: if the DOS turns out to need a wider window.
        """
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        assert isinstance(self.atoms, Atoms)  # noqa: S101  # the call above sets it
        wanted, temperature = dict(self.parameters), self.electron_temperature
        if self._last is None or not _continues(self.atoms, self._last):
            self._warned.clear()
        self._last = self.atoms.copy()
        self.prediction, self.warnings = None, ()  # an error leaves nothing of the last structure
        if wanted["potential"]:
            derivatives = "forces" in properties or "stress" in properties
            self._calculate_potential(
                self.atoms, temperature, allow_outside=wanted["allow_outside"], derivatives=derivatives
            )
            return
        with domain_warnings_ignored():  # _warn issues them, each kind once
            prediction = self.model.predict(
                self.atoms,
                temperature,
                self._grid(self.atoms, wanted["grid"]),
                free_energy=wanted["free_energy"],
                forces="forces" in properties or "stress" in properties,
                uncertainty=wanted["uncertainty"],
                tail=wanted["tail"],
                allow_beyond_window=wanted["allow_beyond_window"],
                allow_outside=wanted["allow_outside"],
                thermal_xc=wanted["thermal_xc"],
                device=wanted["device"],
                route=wanted["route"],
            )
        self._warn(prediction.warnings)
        self.prediction = prediction
        (result,) = prediction.results
        self.results = {"energy": result.free_energy}
        self.results |= {name: OBSERVABLES[name].getter(result) for name in _REPORTED}
        if prediction.anchor is not None:
            self.results["anchored_free_energy"] = result.anchored_free_energy
        if result.potential is not None:
            self.results["potential_free_energy"] = result.potential_free_energy
        if "free_energy" in spreads_of(prediction):
            self.results["free_energy_std"] = prediction.free_energy_std
            self.results["free_energy_uncertainty"] = prediction.free_energy_uncertainty
        if prediction.mechanics is not None:
            self.results["forces"] = prediction.forces
            self.results["stress"] = full_3x3_to_voigt_6_stress(prediction.stress)

    def _calculate_potential(
        self, atoms: Atoms, electron_temperature: float, *, allow_outside: bool, derivatives: bool
    ) -> None:
        """Predicts with the interatomic potential of the model, whose descriptors serve every tau_e of a structure."""
        at = self._at
        key = (self.model, allow_outside)
        if at is None or self._at_key != key or compare_atoms(at.atoms, atoms, tol=0.0, excluded_properties=_IGNORED):
            self._at = None  # an error leaves nothing of the last structure
            with domain_warnings_ignored():
                at = self.model.potential().at(atoms, allow_outside=allow_outside)
            self._at, self._at_key = at, key
        with domain_warnings_ignored():
            found = at.predict(electron_temperature, derivatives=derivatives)
        self._warn(found.warnings)
        self.results = {
            "energy": found.free_energy,
            "free_energy": found.free_energy,
            "internal_energy": found.internal_energy,
            "entropy_term": -electron_temperature * found.entropy,
            "heat_capacity": found.heat_capacity,
            "free_energy_std": found.free_energy_std,
        }
        if derivatives:
            self.results |= {"forces": found.forces, "stress": full_3x3_to_voigt_6_stress(found.stress)}

    def _asked(self, free_energy: FreeEnergy | None, anchor: bool | None) -> FreeEnergy | None:
        """Returns the origin of F in place of its short form; None for the default of a model with a potential.

        Raises:
            InputError: for an unknown origin, or one that the model does not have.
        """
        origin = self._origin(free_energy, anchor, 0.0)
        return None if free_energy is None and anchor is None and self.model.thermal is not None else origin

    def _origin(self, free_energy: FreeEnergy | None, anchor: bool | None, electron_temperature: float) -> FreeEnergy:
        """Returns the origin of F at a tau_e, K.

        Raises:
            InputError: for an unknown origin, or one that the model does not have.
        """
        return self.model.chosen_origin(free_energy, anchor, [electron_temperature])[0]

    def _warn(self, sentences: tuple[str, ...]) -> None:
        """Issues the first warning of each kind: of all sentences that differ in their numbers only."""
        self.warnings = sentences
        for sentence in sentences:
            if (kind := kind_of(sentence)) not in self._warned:
                self._warned.add(kind)
                warnings.warn(sentence, DomainWarning, stacklevel=4)

    def _grid(self, atoms: Atoms, asked: tuple[int, int, int] | None) -> tuple[int, int, int]:
        """Returns the number of points along each lattice vector: the requested or, if suitable, the previous one."""
        if asked is not None:
            return asked
        origin = self._origin(dict(self.parameters)["free_energy"], None, self.electron_temperature)
        fresh = prediction_grid(self.model, atoms, None, FINER if origin == "ldos" else 1.0).shape
        if self._shape is None or not all(
            _KEPT[0] <= new / old <= _KEPT[1] for new, old in zip(fresh, self._shape, strict=True)
        ):
            self._shape = fresh
        return self._shape


def _continues(atoms: Atoms, last: Atoms) -> bool:
    """Returns whether a structure is the next step of another one: the same atoms, displaced by less than ``_STEP``."""
    if len(atoms) != len(last) or (atoms.numbers != last.numbers).any():
        return False
    if np.abs(atoms.cell.array - last.cell.array).max() >= _STEP:
        return False
    moved = atoms.get_scaled_positions(wrap=False) - last.get_scaled_positions(wrap=False)
    moved -= np.round(moved)  # an atom that was wrapped into the cell has not moved
    return bool(np.abs(atoms.cell.cartesian_positions(moved)).max() < _STEP)
