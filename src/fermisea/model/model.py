"""Trained model: prediction, saving and loading."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms

from fermisea.descriptors import Descriptor
from fermisea.errors import InputError
from fermisea.grid import EnergyGrid, RealSpaceGrid, check_structure
from fermisea.model.blended_potential import BlendedPotential
from fermisea.model.describe import described
from fermisea.model.file import write_model
from fermisea.model.parts import check_parts, potential_of, predict_parts
from fermisea.model.potential import ModelPotential, unreliable
from fermisea.networks.ensemble import Network, on_device
from fermisea.physics.broadening import Broadening
from fermisea.physics.density_of_states import IntegrationName
from fermisea.physics.energy_axis import EnergyAxis
from fermisea.physics.ions import Ion, electrons
from fermisea.physics.window import LOWEST_TEMPERATURE, temperature_list
from fermisea.physics.xc import functional
from fermisea.potential import RegularModel, ThermalPotential, ThermalTerms
from fermisea.prediction.domain import Domain
from fermisea.prediction.ldos import predict_ldos
from fermisea.prediction.origin import FreeEnergy, chosen_free_energy, with_anchor, with_potential, without_potential
from fermisea.prediction.plausibility import implausible, inconsistent, issue, request_outside
from fermisea.prediction.predict import predict
from fermisea.prediction.readout import Head
from fermisea.prediction.request import CHUNK, FINER, MEMORY, Request, prediction_grid
from fermisea.prediction.result import NO_POTENTIAL, Prediction
from fermisea.prediction.route import Route
from fermisea.prediction.spread import spreads_of
from fermisea.utilities.devices import DeviceName, device_of
from fermisea.utilities.torchrun import current


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """The LDOS of a material as a function of the atoms around a point.

    Attributes:
        network: network from descriptors to the LDOS, or an ensemble of networks.
        descriptor: descriptor of the surroundings of a point.
        energy_grid: energies of the LDOS, relative to the zero of ``axis``; see ``absolute_energies``.
        broadening: kernel and standard deviation (eV) of the training LDOS.
        ions: valence charge and core density of each element of the model.
        functional: name of the exchange-correlation functional.
        reference_electron_temperature: tau_ref, the tau_e of the training data, K.
        highest_electron_temperature: highest tau_e for which the energy window is valid without a tail, K.
        grid_spacing: spacing of the training grids, the default of a prediction, Angstrom.
        provenance: origin of the model; plain JSON data.
        total_energy_obstacle: reason why the LDOS gives no total free energy; None if it gives one.
        anchor: regular model (interatomic potential at tau_ref) that gives F(tau_ref); None without an anchor.
        thermal: change of F of the anchor with tau_e, for :meth:`potential`; None without one.
        training_domain: domain of the training structures; None if it is not in the model file.
        axis: zero of ``energy_grid`` as a function of the structure; None for absolute energies.
        structures: structures of the data at tau_ref; empty for a file of an older version.
        hotter: models of the same material at higher tau_ref, ascending. Between two tau_ref the predictions of both
            are blended; all other attributes belong to the lowest tau_ref.
    """

    network: Network
    descriptor: Descriptor
    energy_grid: EnergyGrid
    broadening: Broadening
    ions: Mapping[str, Ion]
    functional: str
    reference_electron_temperature: float
    highest_electron_temperature: float
    grid_spacing: float
    provenance: dict[str, Any] = field(default_factory=dict)
    total_energy_obstacle: str | None = None
    anchor: RegularModel | None = None
    thermal: ThermalTerms | None = None
    training_domain: Domain | None = None
    axis: EnergyAxis | None = None
    structures: tuple[Atoms, ...] = ()
    hotter: tuple[Model, ...] = ()

    def __post_init__(self) -> None:
        check_parts(self)

    def __repr__(self) -> str:
        return described(self)

    @property
    def elements(self) -> tuple[str, ...]:
        """Symbols of the elements of the model."""
        return tuple(sorted(self.ions))

    @property
    def parts(self) -> tuple[Model, ...]:
        """The model at each tau_ref, ascending; a model with a single tau_ref is its only part."""
        return (replace(self, hotter=()), *self.hotter) if self.hotter else (self,)

    @property
    def reference_electron_temperatures(self) -> tuple[float, ...]:
        """Every tau_ref, ascending, K."""
        return tuple(part.reference_electron_temperature for part in self.parts)

    @property
    def heads(self) -> tuple[Head, ...]:
        """The LDOS of the network at tau_ref, the lowest of several."""
        return (
            Head(
                self.energy_grid,
                self.broadening,
                self.reference_electron_temperature,
                self.highest_electron_temperature,
                axis=self.axis,
            ),
        )

    def absolute_energies(self, atoms: Atoms) -> EnergyGrid:
        """Returns the energies of the LDOS of a structure, relative to the average potential of its cell.

        For a model with several tau_ref, they belong to the lowest one.

        Raises:
            InputError: for an element outside the model, or an invalid structure.
        """
        check_structure(atoms)
        number = electrons(self.ions, list(atoms.symbols))
        return self.heads[0].absolute(number, abs(float(np.linalg.det(atoms.cell.array)))).energy_grid

    @property
    def domain(self) -> Domain:
        """Limits of structures and electronic temperatures for which the model is valid, if known.

        For a model with several tau_ref, the limits of structures belong to the lowest one. A prediction compares its
        structure with the limits at each tau_ref that contributes.
        """
        valence = {symbol: self.ions[symbol].valence for symbol in self.elements}
        if self.hotter:
            (low, _), (_, high) = (part.domain.electron_temperature for part in (self.parts[0], self.parts[-1]))
            return replace(self.parts[0].domain, electron_temperature=(low, high))
        if self.training_domain is not None:
            spread = self.anchor.spread if self.anchor is not None and self.anchor.posterior is not None else None
            return replace(self.training_domain, valence=valence, spread=spread)
        volumes = [entry.get("volume_per_atom") for entry in self.provenance.get("snapshots", [])]
        known = (min(volumes), max(volumes)) if volumes and None not in volumes else None
        return Domain(self.elements, (LOWEST_TEMPERATURE, self.highest_electron_temperature), known, valence=valence)

    def predict(
        self,
        atoms: Atoms,
        electron_temperature: float | Sequence[float],
        grid: RealSpaceGrid | tuple[int, int, int] | None = None,
        *,
        dos_grid: tuple[int, int, int] | None = None,
        density: bool = True,
        precision: str = "float32",
        integration: IntegrationName = "sharpened",
        uncertainty: bool = True,
        free_energy: FreeEnergy | None = None,
        anchor: bool | None = None,
        forces: bool = False,
        tail: bool = True,
        allow_beyond_window: bool = False,
        allow_outside: bool = False,
        thermal_xc: str | None = None,
        chunk: int = CHUNK,
        memory: int = MEMORY,
        device: DeviceName | None = None,
        route: Route | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Prediction:
        """Returns density, DOS, free energy and other observables at one or several tau_e.

        ``free_energy`` selects the origin of F, and with it of U, S, C_e, forces and stress:

        - ``"potential"``: the interatomic potential of the model at tau_e, the default if the model has one that was
          trained at several volumes, so that it knows the pressure;
        - ``"anchored"``: the potential at tau_ref plus F(tau_e) - F(tau_ref) of the LDOS, otherwise the default if the
          model has a potential at tau_ref;
        - ``"ldos"``: the LDOS alone.

        The prediction holds all three as ``potential_free_energy``, ``anchored_free_energy`` and ``ldos_free_energy``.
        Density, DOS, Fermi level and band energy always come from the LDOS.

        A model with several tau_ref blends the results of the two tau_ref around tau_e smoothly. S and C_e are
        derivatives of the blended F. ``blend_error`` of the prediction tells how much both differ.

        A structure or result outside of ``domain`` is a :class:`fermisea.DomainWarning` and one of the ``warnings`` of
        the prediction. An unphysical structure or energy is an error.

        Args:
            atoms: periodic structure of elements of the model, Angstrom.
            electron_temperature: tau_e, K.
            grid: grid of the density, or its shape; by default, points at most as far apart as in training, or 7/8 of
                that distance for forces of the LDOS alone.
            dos_grid: shape of another grid for the DOS and its observables; the change of E_b - TS is
                ``dos_grid_error`` of the prediction.
            density: whether to compute densities; without them there is no total free energy, and only the grid of the
                DOS is used.
            precision: precision of the hidden layers of a network in float32, ``"float32"`` or ``"bfloat16"``; the
                change of E_b - TS, from a sample of points, is ``precision_error`` of the prediction. A processor
                without bfloat16 arithmetic uses float32, with a warning.
            integration: integration rule of :class:`fermisea.DensityOfStates`.
            uncertainty: whether to compute the spread over the members of an ensemble. If the hidden layer fits into
                ``memory``, or without densities, the spread needs no pass over the grid; otherwise one for each
                member.
            free_energy: origin of F, ``"potential"``, ``"anchored"`` or ``"ldos"``.
            anchor: short form: True for ``"anchored"``, False for ``"ldos"``.
            forces: whether to compute forces and stress. Those of the LDOS need another pass over the grid for each
                tau_e.
            tail: whether free electrons continue the LDOS above its energies, so that tau_e may exceed
                ``highest_electron_temperature``. ``tail_electrons`` and ``tail_error`` of the prediction tell how many
                electrons are there, and the estimated error of F from them.
            allow_beyond_window: whether a tau_e that the window does not serve is a warning instead of an error.
            allow_outside: whether an unphysical structure or energy is a warning instead of an error.
            thermal_xc: exchange-correlation functional of F at tau_e, such as ``"kdt16"`` for a model of PBE; by
                default the one of the model. F, S, U, C_e, forces and stress then come from the LDOS, anchored if the
                model has an anchor: its F(tau_ref) is of the functional of the model. The other functional acts on the
                states to first order, and ``transfer_error`` contains an estimate of the second.
            chunk: largest number of points of a tile.
            memory: largest size of a stored hidden layer, bytes.
            device: device of networks and descriptors, ``"cpu"``, ``"cuda"`` or, for one of several, ``"cuda:1"``; by
                default the device of the model, see :meth:`to`. Fields on the grid, energies and the interatomic
                potential are always computed on the CPU.
            route: route of the descriptors, ``"compiled"`` for loops compiled for the CPU or ``"torch"`` for tensor
                operations on any device; by default ``"compiled"`` on the CPU and ``"torch"`` on other devices.
            progress: callback with the number of finished points and the total number, for all passes.

        Raises:
            InputError: for a missing potential or anchor, or the potential with another ``thermal_xc``; for an unknown
                element or functional, invalid positions or cell, tau_e <= 0 or an unknown precision; for forces without
                a total free energy, or with ``dos_grid``; for an unknown device or route, or one that is not available;
                for an impossible structure or energy, unless ``allow_outside``.
            WindowError: if the estimated error of the tail is above 2 meV/atom and above 1 % of the change of F from
                tau_ref or, without a tail, if a tau_e is above the limit of the energy window.
        """
        temperatures = temperature_list(electron_temperature)
        potential = None if self.total_energy_obstacle or self.hotter else self._thermal_potential
        if thermal_xc is not None and functional(thermal_xc).name != self.functional:
            known = density and self._anchored and not self.total_energy_obstacle
            free_energy = without_potential(free_energy, anchor, self.functional, thermal_xc, anchored=known)
            potential = None
        chosen, unusual = self.chosen_origin(free_energy, anchor, temperatures, density=density)
        if chosen == "potential":
            self.potential().check(temperatures)
        if self.hotter:
            options: dict[str, Any] = {
                "grid": prediction_grid(self, atoms, grid, FINER if forces and chosen == "ldos" else 1.0),
                "dos_grid": dos_grid,
                "density": density,
                "precision": precision,
                "integration": integration,
                "uncertainty": uncertainty,
                "free_energy": chosen,
                "forces": forces,
                "tail": tail,
                "allow_beyond_window": allow_beyond_window,
                "allow_outside": allow_outside,
                "thermal_xc": thermal_xc,
            }
            options |= {"chunk": chunk, "memory": memory, "device": device, "route": route, "progress": progress}
            scalar = np.ndim(electron_temperature) == 0
            prediction = predict_parts(self.parts, atoms, temperatures, options, scalar=scalar)
            sentences = issue([*unusual, *prediction.warnings], None, allow_outside=allow_outside)
            return replace(prediction, warnings=sentences)
        request = Request.of(
            self,
            atoms,
            electron_temperature,
            grid,
            dos_grid=dos_grid,
            density=density,
            forces=forces and chosen != "potential",
            forces_of_change=chosen == "anchored",
            tail=tail,
            allow_beyond_window=allow_beyond_window,
            precision=precision,
            integration=integration,
            uncertainty=uncertainty,
            chunk=chunk,
            memory=memory,
            thermal_xc=thermal_xc,
            processes=current(),
            device=device,
            route=route,
        )
        request.check_same_inputs()
        domain = self.domain
        found, impossible = request_outside(domain, request)
        before = issue([*unusual, *found], impossible, allow_outside=allow_outside)
        prediction = predict(request, progress)
        prediction = with_anchor(prediction, self.anchor, apply=chosen != "ldos")
        if potential is not None:
            apply = chosen == "potential"
            prediction = with_potential(prediction, potential, apply=apply, forces=forces and apply)
        doubtful = inconsistent(domain, prediction)
        if prediction.origin == "potential" and potential is not None:
            deviations, heat = spreads_of(prediction), np.array([r.heat_capacity for r in prediction.results])
            spread = deviations.get("free_energy", np.full(len(temperatures), np.nan))
            doubtful += unreliable(potential, len(atoms), temperatures, spread, heat, stress=forces)
        after = issue(doubtful, implausible(domain, prediction), allow_outside=allow_outside)
        return replace(prediction, warnings=before + after)

    def chosen_origin(
        self,
        free_energy: FreeEnergy | None,
        anchor: bool | None,
        electron_temperatures: Sequence[float],
        *,
        density: bool = True,
    ) -> tuple[FreeEnergy, list[str]]:
        """Returns the origin of F for a prediction, and a warning if it is not the default of the model.

        Arguments and errors are the same as for :meth:`predict`.
        """
        known = self.total_energy_obstacle is None and self._thermal_potential is not None
        limit = self.potential().highest_with_pressure if known else 0.0
        return chosen_free_energy(
            free_energy,
            anchor,
            anchored=self._anchored,
            highest=limit if known else None,
            pressure=limit > 0,
            electron_temperatures=electron_temperatures,
            density=density,
        )

    def potential(self) -> ModelPotential | BlendedPotential:
        """Returns the interatomic potential at every tau_e, which is much faster than a prediction of the LDOS.

        F, entropy, heat capacity, forces and stress come from a sum of atomic terms, fitted to the free energies of DFT
        at tau_ref and to the change of F with tau_e from the LDOS of the training data. There is no density. Between
        two tau_ref, the potentials of both are blended as in :meth:`predict`.

        Raises:
            InputError: for a model without one.
        """
        if self._thermal_potential is None:
            raise InputError(NO_POTENTIAL)
        if self.hotter:
            return potential_of(self.parts)
        return ModelPotential(self._thermal_potential, self.domain)

    @property
    def _anchored(self) -> bool:
        """Whether there is an anchor at every tau_ref."""
        return all(part.anchor is not None for part in self.parts)

    @property
    def _thermal_potential(self) -> ThermalPotential | None:
        """The potential without checks of the domain; None without one."""
        if self.anchor is None or self.thermal is None:
            return None
        return ThermalPotential(self.anchor, self.thermal)

    def ldos(
        self,
        atoms: Atoms,
        grid: RealSpaceGrid | tuple[int, int, int] | None = None,
        *,
        chunk: int = CHUNK,
        device: DeviceName | None = None,
        route: Route | None = None,
    ) -> npt.NDArray[np.float32]:
        """Returns the complete LDOS, (nx, ny, nz, nE), 1/(eV Angstrom^3), a large array needed nowhere else.

        Its energies are the ``absolute_energies`` of the structure. For a model with several tau_ref, it is
        the LDOS at the lowest one; ``parts`` has the others. Arguments and errors are the same as for :meth:`predict`.
        """
        return predict_ldos(self, atoms, grid, chunk=chunk, device=device, route=route)

    def to(self, device: DeviceName) -> Model:
        """Returns a model with its networks on a device, which becomes the default device of its predictions.

        The interatomic potential stays on the CPU. Model files do not depend on the device.

        Raises:
            InputError: for an unknown device, or one that is not available.
        """
        where = device_of(device)
        hotter = tuple(part.to(where) for part in self.hotter)
        return replace(self, network=on_device(self.network, where), hotter=hotter)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the model file, atomically.

        Raises:
            InputError: if the file cannot be written.
        """
        write_model(path, self)
