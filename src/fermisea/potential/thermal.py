"""Interatomic potential at every electronic temperature: a regular model plus a change of F that depends on tau_e."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from ase import Atoms

from fermisea import descriptors, units
from fermisea.descriptors import Descriptor
from fermisea.descriptors.sites import Sites
from fermisea.errors import WindowError
from fermisea.physics.window import check_range, temperature_list
from fermisea.potential.heat import HeatBasis
from fermisea.potential.model import RegularModel, RegularSites, row_of
from fermisea.potential.posterior import Posterior
from fermisea.utilities.arrays import FloatArray
from fermisea.utilities.torchrun import ALONE, Processes

PRESSURE_LIMIT, PRESSURE_SHARE = 1.0 * units.GIGAPASCAL, 0.01
"""Largest estimated error of the pressure of a potential that needs no warning: eV/Angstrom^3, or a share of the change
of F with tau_e per volume."""

_STRAIN = 1e-3
"""Strain of differences of descriptors."""


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
        free_energy_std: posterior standard deviation of F, eV; NaN if unknown.
        entropy_std: the same of the entropy, eV/K.
        heat_capacity_std: the same of the heat capacity, eV/K.
        internal_energy_std: the same of F + tau_e S, eV.
        warnings: a sentence for each way in which the structure leaves the domain of a model, if it has been checked.
    """

    electron_temperature: float | FloatArray
    free_energy: float | FloatArray
    entropy: float | FloatArray
    heat_capacity: float | FloatArray
    forces: FloatArray
    stress: FloatArray
    free_energy_std: float | FloatArray
    entropy_std: float | FloatArray
    heat_capacity_std: float | FloatArray
    internal_energy_std: float | FloatArray
    warnings: tuple[str, ...] = ()

    @property
    def internal_energy(self) -> float | FloatArray:
        """F + tau_e S, eV."""
        return self.free_energy + self.electron_temperature * self.entropy


@dataclass(frozen=True, eq=False)
class ThermalTerms:
    """Change of F with tau_e: a sum over functions of tau_e, each times a sum of atomic terms g_k.

    Every g_k is linear in a descriptor. It may differ from the descriptor of the regular model, because the change of F
    depends on the mean surroundings of an atom more than F itself.

    Attributes:
        descriptor: descriptor of the surroundings.
        basis: functions of tau_e.
        coefficients: coefficients of the atomic terms, (functions, elements, features), eV/K^2.
        constants: constant of each element in the atomic terms, (functions, elements), eV/K^2.
        provenance: labels, settings and errors of the fit.
        posterior: spread of the g_k, eV/K^2; None if unknown.
    """

    descriptor: Descriptor
    basis: HeatBasis
    coefficients: FloatArray
    constants: FloatArray
    provenance: Mapping[str, Any] = field(default_factory=dict)
    posterior: Posterior | None = None

    def sums(self, row: FloatArray) -> FloatArray:
        """Returns g_k of a structure, (functions,), eV/K^2, from its row, see :class:`Posterior`."""
        return np.hstack([self.constants, self.coefficients.reshape(self.basis.size, -1)]) @ row

    def variance(self, shares: FloatArray, row: FloatArray, atoms: int) -> FloatArray:
        """Returns the variance of sums over k of shares (nT, functions) times g_k, (nT,), eV^2; NaN if unknown."""
        if self.posterior is None:
            return np.full(len(shares), np.nan)
        variances = np.einsum("tj,jk,tk->t", shares, self.posterior.variance(row, atoms), shares)
        return np.asarray(np.maximum(variances, 0.0))

    def left_out_error(self, electron_temperature: npt.ArrayLike) -> FloatArray:
        """Returns the error of F(tau_e) - F(tau_ref) for left-out structures, (...), eV/atom; NaN if unknown."""
        asked = np.asarray(electron_temperature, dtype=np.float64)
        if "left_out_errors" not in self.provenance:
            return np.full(asked.shape, np.nan)
        known = self.provenance["electron_temperatures"], self.provenance["left_out_errors"]
        return np.asarray(np.interp(asked, *known))

    def pressure_error(self, electron_temperature: npt.ArrayLike) -> FloatArray:
        """Returns the estimated error of the pressure in the training structures, (...), eV/Angstrom^3; NaN if unknown.

        It is large if the training structures have one volume: labels of F then say nothing about the pressure.
        """
        asked = np.asarray(electron_temperature, dtype=np.float64)
        if "pressure_errors" not in self.provenance:
            return np.full(asked.shape, np.nan)
        known = self.provenance["electron_temperatures"], self.provenance["pressure_errors"]
        return np.asarray(np.interp(asked, *known))

    @property
    def has_pressure(self) -> bool:
        """Whether the training structures determine the pressure at every tau_e, within ``pressure_limit``."""
        if "pressure_errors" not in self.provenance:
            return False
        limits = self.pressure_limit(self.provenance["electron_temperatures"])
        return bool((np.array(self.provenance["pressure_errors"]) <= limits).all())

    def pressure_limit(self, electron_temperature: npt.ArrayLike) -> FloatArray:
        """Returns the largest error of the pressure at each tau_e, K, that needs no warning, (nT,), eV/Angstrom^3.

        Hot electrons have pressures of hundreds of GPa, so that a share of the change of F per volume is allowed.
        """
        asked, known = np.atleast_1d(electron_temperature), self.provenance.get("changes_per_volume")
        if known is None:
            return np.full(asked.shape, PRESSURE_LIMIT)
        changes = np.interp(asked, self.provenance["electron_temperatures"], known)
        return np.asarray(np.maximum(PRESSURE_LIMIT, PRESSURE_SHARE * changes))

    def to_dict(self) -> dict[str, Any]:
        """Returns everything but the fitted numbers as plain data."""
        return {
            "descriptor": self.descriptor.to_dict(),
            "highest": self.basis.highest,
            "halvings": self.basis.halvings,
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_dict(
        cls,
        regular: RegularModel,
        entries: Mapping[str, Any],
        coefficients: FloatArray,
        constants: FloatArray,
        posterior: Posterior | None = None,
    ) -> Self:
        """Returns the terms that belong to a regular model from the result of ``to_dict``.

        Raises:
            KeyError, TypeError, InputError: for other data.
            ValueError: if sizes are inconsistent.
        """
        highest, halvings, provenance = float(entries["highest"]), entries["halvings"], dict(entries["provenance"])
        if not isinstance(halvings, int) or highest < regular.electron_temperature:
            raise ValueError(f"the potential has {halvings} halvings of {highest:g} K")
        for name in {"electron_temperatures", "left_out_errors", "pressure_errors"} & set(provenance):
            provenance[name] = [float(value) for value in provenance[name]]
        own = entries.get("descriptor")  # absent in older files, which use the descriptor of the regular model
        basis, descriptor = HeatBasis(highest, halvings), descriptors.from_dict(own) if own else regular.descriptor
        elements = len(regular.elements)
        shapes = (basis.size, elements, descriptor.features), (basis.size, elements)
        if (coefficients.shape, constants.shape) != shapes or descriptor.weights != regular.descriptor.weights:
            raise ValueError("thermal terms and regular model differ in size or elements")
        return cls(descriptor, basis, coefficients, constants, provenance, posterior)


@dataclass(frozen=True, eq=False)
class ThermalSites:
    """A potential at the atoms of one structure, whose descriptors serve every tau_e.

    Attributes:
        potential: the potential.
        regular: descriptors of the regular model.
        own: descriptors of the thermal terms; None if the regular model has the same descriptor.
        values: values of the descriptors of the thermal terms for the atoms of this process, (own, features).
    """

    potential: ThermalPotential
    regular: RegularSites
    own: Sites | None
    values: FloatArray

    def predict(
        self, electron_temperature: float | Sequence[float], *, derivatives: bool = True
    ) -> PotentialPrediction:
        """Returns free energy, entropy, heat capacity, forces and stress at one or several tau_e.

        Args:
            electron_temperature: tau_e, K; one or several.
            derivatives: whether to compute forces and stress; without, both are empty.

        Raises:
            InputError: for a tau_e that is no positive number.
            WindowError: for a tau_e above the highest one of the potential.
        """
        temperatures = np.array(temperature_list(electron_temperature))
        self.potential.check(temperatures.tolist())
        terms, regular = self.potential.terms, self.potential.regular
        atoms, kelvin = self.regular.atoms, temperatures[:, None]
        row, shares = self.row(), self.potential.shares(temperatures)
        sums = terms.sums(row)
        entropy, heat = terms.basis.entropy(temperatures), kelvin * terms.basis.heat(temperatures)
        forces, stress = np.empty((len(shares), 0, 3)), np.empty((len(shares), 0, 3))
        if derivatives:
            forces, stress = self._derivatives(shares)
        own: Any = np.nan
        if regular.posterior is not None:
            own = regular.posterior.variance(self.regular.row(len(regular.elements)), atoms)

        def deviation(shares: FloatArray, own: Any) -> FloatArray:
            """Returns the posterior standard deviation, (nT,), of sums of the g_k, with the variance of the rest."""
            return np.asarray(np.sqrt(own + terms.variance(shares, row, atoms)))

        values: list[Any] = [
            temperatures,
            self.regular.energy + shares @ sums,
            entropy @ sums,
            heat @ sums,
            forces,
            stress,
            deviation(shares, own),
            deviation(entropy, 0.0),
            deviation(heat, 0.0),
            deviation(shares + kelvin * entropy, own),
        ]
        if np.ndim(electron_temperature) == 0:
            values = [float(v[0]) if v.ndim == 1 else v[0] for v in values]
        return PotentialPrediction(*values)

    def row(self) -> FloatArray:
        """Returns the row of the structure, see :class:`Posterior`."""
        own = row_of(self.values, self.regular.elements, self.potential.terms.constants.shape[1])
        return self.regular.processes.sum_array(own)

    def _derivatives(self, shares: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Returns forces, (nT, atoms, 3), and stress, (nT, 3, 3), for factors of the g_k, (nT, functions)."""
        changes = np.tensordot(shares, self.potential.terms.coefficients, 1)
        if self.own is None:
            found = [self.regular.prediction(coefficients=change) for change in changes]
            return np.array([p.forces for p in found]), np.array([p.stress for p in found])
        base, volume = self.regular.prediction(), self.regular.volume
        sum_array = self.regular.processes.sum_array
        parts = [tuple(map(sum_array, self.own.vjp(change[self.regular.elements]))) for change in changes]
        forces = np.array([base.forces - positions for positions, _ in parts])
        return forces, np.array([base.stress + strain / volume for _, strain in parts])


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
        self,
        atoms: Atoms,
        electron_temperature: float | Sequence[float],
        threads: int | None = None,
        *,
        derivatives: bool = True,
        processes: Processes = ALONE,
    ) -> PotentialPrediction:
        """Returns free energy, entropy, heat capacity, forces and stress of a structure.

        Args:
            atoms: positions and cell, periodic in all three directions.
            electron_temperature: tau_e, K; one or several.
            threads: number of threads.
            derivatives: whether to compute forces and stress; without, both are empty.
            processes: processes that share the atoms.

        Raises:
            InputError: for an element outside the potential, a tau_e that is no positive number, and as
                ``Descriptor.evaluator``.
            WindowError: for a tau_e above ``highest_electron_temperature``.
        """
        self.check(temperature_list(electron_temperature))
        at = self.at(atoms, threads, processes=processes)
        return at.predict(electron_temperature, derivatives=derivatives)

    def at(self, atoms: Atoms, threads: int | None = None, *, processes: Processes = ALONE) -> ThermalSites:
        """Returns the potential at the atoms of a structure, for predictions at many tau_e.

        Args:
            atoms: positions and cell, periodic in all three directions.
            threads: number of threads.
            processes: processes that share the atoms.

        Raises:
            InputError: for an element outside the potential, and as ``Descriptor.evaluator``.
        """
        regular = self.regular.at(atoms, threads, processes=processes)
        if self.terms.descriptor == self.regular.descriptor:
            return ThermalSites(self, regular, None, regular.values)
        own = Sites(self.terms.descriptor, atoms, threads, members=regular.sites.members)
        return ThermalSites(self, regular, own, own.values())

    def pressure_std(self, atoms: Atoms, electron_temperatures: npt.ArrayLike) -> FloatArray:
        """Returns the posterior standard deviation of the pressure, (nT,), eV/Angstrom^3; NaN if unknown.

        The descriptors are differentiated with respect to the volume by central differences.

        Args:
            atoms: positions and cell, periodic in all three directions.
            electron_temperatures: tau_e, (nT,), K.

        Raises:
            InputError: as :meth:`predict`.
        """
        rows, own_rows, volumes = [], [], []
        for sign in (-1, 1):
            other = atoms.copy()
            other.set_cell((1 + sign * _STRAIN) * atoms.cell.array, scale_atoms=True)
            sites = self.at(other)
            own_rows.append(sites.regular.row(len(self.elements)))
            rows.append(sites.row())
            volumes.append(float(other.get_volume()))
        own_slope, slope = ((pair[1] - pair[0]) / (volumes[1] - volumes[0]) for pair in (own_rows, rows))
        own = np.nan if self.regular.posterior is None else self.regular.posterior.variance(own_slope, 0)
        return np.asarray(np.sqrt(own + self.terms.variance(self.shares(electron_temperatures), slope, 0)))

    def shares(self, electron_temperatures: npt.ArrayLike) -> FloatArray:
        """Returns the factors of g_k in F(tau_e) - F(tau_ref), (nT, functions), K^2."""
        basis = self.terms.basis
        return basis.free_energy(electron_temperatures) - basis.free_energy(self.regular.electron_temperature)

    def check(self, electron_temperatures: Sequence[float]) -> None:
        """Refuses a tau_e (K) outside of the range of the potential.

        Raises:
            InputError: for a tau_e that is too low or not a number.
            WindowError: for a tau_e above ``highest_electron_temperature``.
        """
        check_potential_range(electron_temperatures, self.highest_electron_temperature)


def check_potential_range(electron_temperatures: Sequence[float], highest: float) -> None:
    """Refuses a tau_e (K) outside of the range of a potential up to ``highest``, K.

    Raises:
        InputError: for a tau_e that is too low, too high or not a number.
        WindowError: for a tau_e above ``highest``.
    """
    for electron_temperature in electron_temperatures:
        check_range(electron_temperature)
    if (largest := max(electron_temperatures)) > highest:
        raise WindowError(
            f"electron temperature: got {largest:g} K, but the potential is fitted up to {highest:.1f} K; train on "
            "data with a wider energy window"
        )
