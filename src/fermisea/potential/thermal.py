"""Interatomic potential at every electronic temperature: a regular model plus a change of F that depends on tau_e."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from ase import Atoms

from fermisea.errors import InputError, WindowError
from fermisea.physics.window import LOWEST_TEMPERATURE
from fermisea.potential.heat import HeatBasis
from fermisea.potential.model import RegularModel
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
    """

    electron_temperature: float | FloatArray
    free_energy: float | FloatArray
    entropy: float | FloatArray
    heat_capacity: float | FloatArray
    forces: FloatArray
    stress: FloatArray

    @property
    def internal_energy(self) -> float | FloatArray:
        """F + tau_e S, eV."""
        return self.free_energy + self.electron_temperature * self.entropy


@dataclass(frozen=True, eq=False)
class ThermalPotential:
    """F as a sum over atoms at every tau_e: linear in descriptors, with coefficients that are smooth in tau_e.

    F(tau_e) = F_regular(tau_ref) + sum_k [f_k(tau_e) - f_k(tau_ref)] g_k, where f_k is ``HeatBasis.free_energy`` and
    each g_k is a sum of atomic terms, linear in the descriptor of the regular model.

    Attributes:
        regular: regular model at tau_ref.
        basis: functions of tau_e.
        coefficients: coefficients of the atomic terms, (functions, elements, features), eV/K^2.
        constants: constant of each element in the atomic terms, (functions, elements), eV/K^2.
        provenance: labels, settings and errors of the fit.
    """

    regular: RegularModel
    basis: HeatBasis
    coefficients: FloatArray
    constants: FloatArray
    provenance: Mapping[str, Any] = field(default_factory=dict)

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
        return self.basis.highest

    def predict(
        self, atoms: Atoms, electron_temperature: float | Sequence[float], threads: int | None = None
    ) -> PotentialPrediction:
        """Returns free energy, entropy, heat capacity, forces and stress of a structure.

        Args:
            atoms: positions and cell, periodic in all three directions.
            electron_temperature: tau_e, K; one or several.
            threads: number of threads.

        Raises:
            InputError: for an element outside the potential, tau_e below 0, and as ``Descriptor.evaluator``.
            WindowError: for tau_e above ``highest_electron_temperature``.
        """
        temperatures = np.atleast_1d(np.asarray(electron_temperature, dtype=np.float64))
        self._check(temperatures)
        regular = self.regular
        at = regular.at(atoms, threads)
        terms = np.array([c[at.elements].sum() for c in self.constants])  # g_k of the structure
        terms += np.array([np.sum(at.values * c[at.elements]) for c in self.coefficients])
        shares = self.basis.free_energy(temperatures) - self.basis.free_energy(regular.electron_temperature)
        found = [at.prediction(share @ terms, np.tensordot(share, self.coefficients, 1)) for share in shares]
        values: list[Any] = [
            temperatures,
            np.array([p.free_energy for p in found]),
            self.basis.entropy(temperatures) @ terms,
            temperatures * (self.basis.heat(temperatures) @ terms),
            np.array([p.forces for p in found]),
            np.array([p.stress for p in found]),
        ]
        if np.ndim(electron_temperature) == 0:
            values = [float(v[0]) if v.ndim == 1 else v[0] for v in values]
        return PotentialPrediction(*values)

    def heat_terms(self, design_energy: FloatArray, counts: FloatArray) -> FloatArray:
        """Returns g_k of a structure, (functions,), from its summed descriptors and its number of atoms by element."""
        return self.coefficients.reshape(self.basis.size, -1) @ design_energy + self.constants @ counts

    def to_dict(self) -> dict[str, Any]:
        """Returns the description of the change with tau_e, without the fitted coefficients, as plain data."""
        return {
            "highest": self.basis.highest,
            "intervals": self.basis.intervals,
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_dict(
        cls, regular: RegularModel, entries: Mapping[str, Any], coefficients: FloatArray, constants: FloatArray
    ) -> Self:
        """Returns the potential from a regular model and the result of ``to_dict``.

        Raises:
            KeyError, TypeError, InputError: for other data.
            ValueError: if sizes are inconsistent.
        """
        basis = HeatBasis(float(entries["highest"]), int(entries["intervals"]))
        if coefficients.shape != (basis.size, *regular.coefficients.shape) or constants.shape != (
            basis.size,
            *regular.constants.shape,
        ):
            raise ValueError("coefficients, descriptor and elements of the potential differ in size")
        return cls(regular, basis, coefficients, constants, dict(entries["provenance"]))

    def _check(self, temperatures: FloatArray) -> None:
        for t in temperatures:
            if not t >= LOWEST_TEMPERATURE:
                raise InputError(
                    f"electron temperature: got {t:g} K, expected a finite value of at least {LOWEST_TEMPERATURE:g} K"
                )
            if t > self.basis.highest:
                raise WindowError(
                    f"electron temperature: got {t:g} K, but the potential is fitted up to {self.basis.highest:.0f} K"
                )
