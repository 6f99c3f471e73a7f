"""Spread over the networks of an ensemble, an estimate of the error of a prediction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from fermisea.errors import InputError
from fermisea.physics.observables import ThermalObservables, observables_of
from fermisea.physics.registry import OBSERVABLES, SCALARS
from fermisea.physics.thermal_states import thermal_levels
from fermisea.prediction.passes import HiddenSums
from fermisea.prediction.readout import Readout
from fermisea.prediction.request import Request
from fermisea.utilities.arrays import FloatArray


@dataclass(frozen=True, eq=False, repr=False)
class Uncertainty:
    """Standard deviations (with n - 1) of a prediction over the networks of an ensemble.

    A single temperature gives plain numbers, a sequence gives arrays with one entry for each, as in a prediction.

    Attributes:
        members: observables of the LDOS of each network at each tau_e, without densities. They are anchored like the
            prediction: all networks then share F(tau_ref), and the spread of F and U is the spread of their change.
        member_dos: DOS of each network, (members, energies), 1/eV.
        density: standard deviation of the density at each tau_e, (nx, ny, nz) or (temperatures, nx, ny, nz),
            1/Angstrom^3; empty without.
        scalar: whether tau_e was a single temperature.
    """

    members: tuple[tuple[ThermalObservables, ...], ...]
    member_dos: FloatArray
    density: FloatArray
    scalar: bool

    @classmethod
    def of(cls, members: Iterable[tuple[FloatArray, Sequence[ThermalObservables]]], *, scalar: bool) -> Self:
        """Returns the spread of members, which are read one by one, so that only one has densities in memory.

        Args:
            members: DOS of each network, and its observables at each tau_e and, last, at tau_ref.
            scalar: whether tau_e was a single temperature.
        """
        dos: list[FloatArray] = []
        kept: list[list[ThermalObservables]] = []
        mean, squares = np.zeros(0), np.zeros(0)
        for count, (values, results) in enumerate(members, start=1):
            densities = np.stack([result.density for result in results[:-1]])
            if count == 1:
                mean, squares = np.zeros_like(densities), np.zeros_like(densities)
            change = densities - mean
            mean += change / count
            squares += change * (densities - mean)
            dos.append(values)
            kept.append([replace(result, density=np.empty((0, 0, 0))) for result in results])
        density = np.sqrt(squares / (len(kept) - 1))
        return cls(
            members=tuple(tuple(results[:-1]) for results in kept),
            member_dos=np.array(dos),
            density=density[0] if scalar else density,
            scalar=scalar,
        )

    def __repr__(self) -> str:
        return f"Uncertainty(spread of {len(self.members)} networks at {len(self.members[0])} tau_e)"

    @property
    def dos(self) -> FloatArray:
        """Standard deviation of the DOS, (energies,), 1/eV."""
        return self.member_dos.std(axis=0, ddof=1)

    @property
    def free_energy(self) -> Any:
        """Standard deviation of the total free energy in the second-order form, eV."""
        return self.of_observable("free_energy")

    @property
    def free_energy_change(self) -> Any:
        """Standard deviation of F(tau_e) - F(tau_ref), eV."""
        return self.of_observable("free_energy_change")

    @property
    def internal_energy(self) -> Any:
        """Standard deviation of U = F + tau_e S, eV."""
        return self.of_observable("internal_energy")

    @property
    def band_energy(self) -> Any:
        """Standard deviation of E_b, eV."""
        return self.of_observable("band_energy")

    @property
    def entropy(self) -> Any:
        """Standard deviation of S, eV/K."""
        return self.of_observable("entropy")

    @property
    def fermi_level(self) -> Any:
        """Standard deviation of mu, eV."""
        return self.of_observable("fermi_level")

    @property
    def heat_capacity(self) -> Any:
        """Standard deviation of C_e, eV/K."""
        return self.of_observable("heat_capacity")

    def scalars(self) -> dict[str, Any]:
        """Returns the standard deviation of every number per tau_e by name, in the units of the registry."""
        names = [o.name for o in SCALARS if o.spread and (self._whole or not _total(o.name))]
        return {name: self.of_observable(name) for name in names}

    def of_observable(self, name: str) -> Any:
        """Returns the standard deviation of an observable of the registry that is a number at each tau_e.

        Raises:
            InputError: for an observable of the total free energy, if the prediction has none.
        """
        if _total(name) and not self._whole:
            title = name.replace("_", " ")
            raise InputError(
                f"spread of the {title}: the prediction has no total free energy; predict with density=True by a model "
                "that has one"
            )
        deviation = self.values(OBSERVABLES[name].getter).std(axis=0, ddof=1)
        return float(deviation[0]) if self.scalar else deviation

    def anchor_to(self, free_energy: float) -> Self:
        """Returns the spread of networks that share F(tau_ref), eV."""
        members = tuple(tuple(result.anchor_to(free_energy) for result in member) for member in self.members)
        return replace(self, members=members)

    @property
    def _whole(self) -> bool:
        """Whether the networks give total free energies."""
        return bool(self.members[0][0].free_energies)

    def values(self, value: Callable[[ThermalObservables], float]) -> FloatArray:
        """Returns a number of each network at each tau_e, (members, temperatures)."""
        return np.array([[value(result) for result in member] for member in self.members])


def member_spread(request: Request, readout: Readout, hidden: HiddenSums) -> Uncertainty | None:
    """Returns the spread of the members of an ensemble; None for a single network."""
    if not readout.members:
        return None
    return Uncertainty.of(_observables(request, readout.members, hidden), scalar=request.scalar)


def _observables(
    request: Request, members: Sequence[Readout], hidden: HiddenSums
) -> Iterator[tuple[FloatArray, list[ThermalObservables]]]:
    """Yields the DOS of each member, and its observables at each tau_e and, last, at tau_ref."""
    temperatures = (*request.electron_temperatures, request.head.reference_electron_temperature)
    for member in members:
        dos = member.density_of_states(hidden.dos, hidden.volume)
        levels = thermal_levels(dos, request.electrons, temperatures, around=request.around)
        states = levels.states(hidden.fields(member.vectors(levels.integrals)))
        results = observables_of(
            dos,
            states,
            None if request.total_energy_obstacle else states[-1],
            atoms=request.atoms,
            grid=request.grid,
            ions=request.ions,
            functional_name=request.functional,
            thermal_xc=request.thermal_xc,
            processes=request.processes,
        )
        yield dos.dos, results


def _total(name: str) -> bool:
    """Returns whether an observable needs the total free energy."""
    return OBSERVABLES[name].anchored or name == "free_energy_change"
