"""Interatomic potential at every electronic temperature: a regular model plus a change of F that depends on tau_e."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from ase import Atoms

from fermisea.errors import InputError, WindowError
from fermisea.physics.window import LOWEST_TEMPERATURE, temperature_list
from fermisea.potential.heat import HeatBasis
from fermisea.potential.model import RegularModel, RegularSites
from fermisea.utilities.arrays import FloatArray


@dataclass(frozen=True)
class PotentialPrediction:
    """Prediction of a potential for a structure. Several tau_e add a first dimension ``nT`` to every array.

    Attributes:
        electron_temperature: tau_e, K.
        free_energy: total free energy F of the cell, eV.
        entropy: -dF/dtau_e, eV/K.
        heat_capacity: tau_e dS/dtau_e at fixed ions and volume, eV/K.
        forces: -dF/dr, (atoms, 3), eV/Angstrom.
        stress: (dF/dstrain)/volume, (3, 3), eV/Angstrom^3, symmetric; positive under tension, as in ASE.
        warnings: a sentence for each way in which the structure leaves the domain of a model, if it has been checked.
    """

    electron_temperature: float | FloatArray
    free_energy: float | FloatArray
    entropy: float | FloatArray
    heat_capacity: float | FloatArray
    forces: FloatArray
    stress: FloatArray
    warnings: tuple[str, ...] = ()

    @property
    def internal_energy(self) -> float | FloatArray:
        """F + tau_e S, eV."""
        return self.free_energy + self.electron_temperature * self.entropy


@dataclass(frozen=True, eq=False)
class ThermalTerms:
    """Change of F with tau_e: a sum over functions of tau_e, each times a sum of atomic terms g_k.

    Every g_k is linear in the descriptor of a regular model, like the regular model itself.

    Attributes:
        basis: functions of tau_e.
        coefficients: coefficients of the atomic terms, (functions, elements, features), eV/K^2.
        constants: constant of each element in the atomic terms, (functions, elements), eV/K^2.
        provenance: labels, settings and errors of the fit.
    """

    basis: HeatBasis
    coefficients: FloatArray
    constants: FloatArray
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def sums(self, descriptors: FloatArray, counts: FloatArray) -> FloatArray:
        """Returns g_k of a structure, (functions,), eV/K^2.

        Args:
            descriptors: sums of the descriptors over the atoms of each element, (elements, features).
            counts: number of atoms of each element, (elements,).
        """
        return np.tensordot(self.coefficients, descriptors, 2) + self.constants @ counts

    def to_dict(self) -> dict[str, Any]:
        """Returns everything but the fitted numbers as plain data."""
        return {
            "highest": self.basis.highest,
            "halvings": self.basis.halvings,
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_dict(
        cls, regular: RegularModel, entries: Mapping[str, Any], coefficients: FloatArray, constants: FloatArray
    ) -> Self:
        """Returns the terms that belong to a regular model from the result of ``to_dict``.

        Raises:
            KeyError, TypeError, InputError: for other data.
            ValueError: if sizes are inconsistent.
        """
        basis = HeatBasis(float(entries["highest"]), int(entries["halvings"]))
        shapes = (basis.size, *regular.coefficients.shape), (basis.size, *regular.constants.shape)
        if (coefficients.shape, constants.shape) != shapes:
            raise ValueError("thermal terms and regular model differ in size")
        return cls(basis, coefficients, constants, dict(entries["provenance"]))


@dataclass(frozen=True, eq=False)
class ThermalPotential:
    """F as a sum over atoms at every tau_e: linear in descriptors, with coefficients that are smooth in tau_e.

    F(tau_e) = F_regular(tau_ref) + sum_k [f_k(tau_e) - f_k(tau_ref)] g_k, where f_k is ``HeatBasis.free_energy`` and
    the g_k are the sums of ``terms``.

    Attributes:
        regular: regular model at tau_ref.
        terms: change of F with tau_e.
    """

    regular: RegularModel
    terms: ThermalTerms

    @property
    def elements(self) -> tuple[str, ...]:
        """Elements of the potential."""
        return self.regular.elements

    @property
    def reference_electron_temperature(self) -> float:
        """tau_ref, K."""
        return self.regular.electron_temperature

    @property
    def highest_electron_temperature(self) -> float:
        """Highest tau_e, K."""
        return self.terms.basis.highest

    def predict(
        self, atoms: Atoms, electron_temperature: float | Sequence[float], threads: int | None = None
    ) -> PotentialPrediction:
        """Returns free energy, entropy, heat capacity, forces and stress of a structure.

        Args:
            atoms: positions and cell, periodic in all three directions.
            electron_temperature: tau_e, K; one or several.
            threads: number of threads.

        Raises:
            InputError: for an element outside the potential, a tau_e that is no positive number, and as
                ``Descriptor.evaluator``.
            WindowError: for tau_e above ``highest_electron_temperature``.
        """
        temperatures = np.array(temperature_list(electron_temperature))
        self.check(temperatures.tolist())
        at, basis = self.regular.at(atoms, threads), self.terms.basis
        sums = self._sums(at)
        found = [
            at.prediction(share @ sums, np.tensordot(share, self.terms.coefficients, 1))
            for share in self._shares(temperatures)
        ]
        values: list[Any] = [
            temperatures,
            np.array([p.free_energy for p in found]),
            basis.entropy(temperatures) @ sums,
            temperatures * (basis.heat(temperatures) @ sums),
            np.array([p.forces for p in found]),
            np.array([p.stress for p in found]),
        ]
        if np.ndim(electron_temperature) == 0:
            values = [float(v[0]) if v.ndim == 1 else v[0] for v in values]
        return PotentialPrediction(*values)

    def free_energy(self, atoms: Atoms, electron_temperatures: Sequence[float]) -> FloatArray:
        """Returns F of a structure at each tau_e, (nT,), eV, without derivatives.

        Arguments and errors are the same as for :meth:`predict`.
        """
        self.check(electron_temperatures)
        at = self.regular.at(atoms)
        return np.asarray(at.energy + self._shares(electron_temperatures) @ self._sums(at))

    def _sums(self, at: RegularSites) -> FloatArray:
        """Returns g_k of a structure, (functions,), eV/K^2."""
        descriptors = np.zeros(self.regular.coefficients.shape)
        np.add.at(descriptors, at.elements, at.values)
        counts = np.bincount(at.elements, minlength=len(self.regular.elements)).astype(np.float64)
        return self.terms.sums(descriptors, counts)

    def _shares(self, electron_temperatures: npt.ArrayLike) -> FloatArray:
        """Returns the factors of g_k in F(tau_e) - F(tau_ref), (nT, functions), K^2."""
        basis = self.terms.basis
        return basis.free_energy(electron_temperatures) - basis.free_energy(self.regular.electron_temperature)

    def check(self, electron_temperatures: Sequence[float]) -> None:
        """Refuses a tau_e (K) outside of the range of the potential.

        Raises:
            InputError: for a tau_e that is too low or not a number.
            WindowError: for a tau_e above ``highest_electron_temperature``.
        """
        if not (lowest := min(electron_temperatures)) >= LOWEST_TEMPERATURE:
            raise InputError(f"electron temperature: got {lowest:g} K, expected at least {LOWEST_TEMPERATURE:g} K")
        if (highest := max(electron_temperatures)) > self.highest_electron_temperature:
            raise WindowError(
                f"electron temperature: got {highest:g} K, but the potential is fitted up to "
                f"{self.highest_electron_temperature:.0f} K; train on data with a wider energy window"
            )
