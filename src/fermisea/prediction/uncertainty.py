"""The spread of the members of an ensemble, an estimate of a prediction's error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from fermisea.physics.observables import ThermalObservables
from fermisea.utilities.arrays import FloatArray


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """Standard deviations over the members (with n - 1) of what a prediction gives.

    A single temperature gives plain numbers, a sequence gives arrays with one entry for each, as in a prediction.

    Attributes:
        members: observables of each member at each tau_e, without densities.
        references: observables of each member at tau_ref.
        member_dos: the DOS of each member, (members, energies), 1/eV.
        density: of the density at each tau_e, (nx, ny, nz) or (temperatures, nx, ny, nz), 1/Angstrom^3; empty without.
        scalar: whether a single temperature was asked for.
    """

    members: tuple[tuple[ThermalObservables, ...], ...]
    references: tuple[ThermalObservables, ...]
    member_dos: FloatArray
    density: FloatArray
    scalar: bool

    @classmethod
    def of(cls, members: Iterable[tuple[FloatArray, Sequence[ThermalObservables]]], *, scalar: bool) -> Self:
        """Returns that of members, which are looked at one after the other so that only one has densities in memory.

        Args:
            members: DOS of each, and its observables at each tau_e and, last, at tau_ref.
            scalar: whether a single tau_e was asked for.
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
            references=tuple(results[-1] for results in kept),
            member_dos=np.array(dos),
            density=density[0] if scalar else density,
            scalar=scalar,
        )

    @property
    def dos(self) -> FloatArray:
        """Of the DOS, (energies,), 1/eV."""
        return self.member_dos.std(axis=0, ddof=1)

    @property
    def free_energy(self) -> Any:
        """Of the total free energy in the second-order form, eV."""
        return self._deviation(lambda r: r.free_energies["second_order"])

    @property
    def free_energy_change(self) -> Any:
        """Of F(tau_e) - F(tau_ref), eV."""
        return self._spread(self.values(lambda r: r.free_energies["second_order"]) - self._before())

    @property
    def internal_energy(self) -> Any:
        """Of U = F + tau_e S, eV."""
        return self._deviation(lambda r: r.internal_energy())

    @property
    def internal_energy_change(self) -> Any:
        """Of U - F(tau_ref), what an anchored U has of the LDOS, eV."""
        return self._spread(self.values(lambda r: r.internal_energy()) - self._before())

    @property
    def band_energy(self) -> Any:
        """Of E_b, eV."""
        return self._deviation(lambda r: r.band_energy)

    @property
    def entropy(self) -> Any:
        """Of S, eV/K."""
        return self._deviation(lambda r: r.entropy)

    @property
    def fermi_level(self) -> Any:
        """Of mu, eV."""
        return self._deviation(lambda r: r.fermi_level)

    @property
    def heat_capacity(self) -> Any:
        """Of C_e, eV/K."""
        return self._deviation(lambda r: r.heat_capacity)

    def scalars(self, *, anchored: bool = False) -> dict[str, tuple[Any, str]]:
        """Returns every number per tau_e by name, with its unit; those of F only where there is one.

        Args:
            anchored: whether F(tau_ref) is that of a regular model, so that F and U have only their change from it of
                the LDOS.
        """
        units = {"fermi_level": "eV", "band_energy": "eV", "entropy": "eV/K", "heat_capacity": "eV/K"}
        if self.members[0][0].free_energies:
            units |= {"free_energy": "eV", "free_energy_change": "eV", "internal_energy": "eV"}
        own = {"free_energy": "free_energy_change", "internal_energy": "internal_energy_change"} if anchored else {}
        return {name: (getattr(self, own.get(name, name)), unit) for name, unit in units.items()}

    def values(self, value: Callable[[ThermalObservables], float]) -> FloatArray:
        """Returns a number of each member at each tau_e, (members, temperatures)."""
        return np.array([[value(result) for result in member] for member in self.members])

    def _before(self) -> FloatArray:
        return np.array([[result.free_energies["second_order"]] for result in self.references])

    def _deviation(self, value: Callable[[ThermalObservables], float]) -> Any:
        return self._spread(self.values(value))

    def _spread(self, values: FloatArray) -> Any:
        deviation = values.std(axis=0, ddof=1)
        return float(deviation[0]) if self.scalar else deviation
