"""Densities of states of a model at each electronic temperature, blended between its reference temperatures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from fermisea.grid import RealSpaceGrid
from fermisea.model.model import Model
from fermisea.physics.blend import shares_of
from fermisea.physics.density_of_states import DensityOfStates
from fermisea.physics.electron_phonon import cold_fermi_level_dos, coupling_factor, fermi_level_dos, squared_dos
from fermisea.prediction.plausibility import domain_warnings_ignored
from fermisea.utilities.arrays import FloatArray


@dataclass(frozen=True, eq=False)
class States:
    """The density of states of one structure at every tau_ref of a model.

    Attributes:
        references: every tau_ref of the model, K, ascending.
        parts: densities of states by the index of their tau_ref; at least those with a weight at the requested tau_e.
        electrons: number of electrons in the cell.
        grid: grid of the highest tau_ref in use.
    """

    references: tuple[float, ...]
    parts: Mapping[int, DensityOfStates]
    electrons: float
    grid: RealSpaceGrid

    @property
    def hottest(self) -> DensityOfStates:
        """Density of states at the highest tau_ref in use."""
        return self.parts[max(self.parts)]

    @property
    def cold_fermi_level_dos(self) -> float:
        """D(eps_F) of cold electrons at the lowest tau_ref in use, 1/eV.

        Raises:
            InputError: without states at the Fermi level.
        """
        return cold_fermi_level_dos(self.parts[min(self.parts)], self.electrons)

    def fermi_level_dos(self, electron_temperature: FloatArray) -> FloatArray:
        """Returns the density of states at the Fermi level, the integral of D (-df/deps), 1/eV, at each tau_e (K)."""
        return self._blended(fermi_level_dos, electron_temperature)

    def coupling(self, electron_temperature: FloatArray, lambda_omega2: float, volume: float) -> FloatArray:
        """Returns the electron-phonon coupling G at each tau_e, (n,), eV/(ps K Angstrom^3).

        The integral of D^2 is blended between two tau_ref. D(eps_F) in the denominator is the one of the lowest tau_ref
        in use, so that G is continuous.

        Args:
            electron_temperature: tau_e, (n,), K.
            lambda_omega2: lambda<omega^2>, meV^2.
            volume: volume of the cell, Angstrom^3.

        Raises:
            InputError: for an invalid lambda<omega^2>, or without states at the Fermi level.
        """
        factor = coupling_factor(lambda_omega2) / (self.cold_fermi_level_dos * volume)
        return factor * self._blended(squared_dos, electron_temperature)

    def _blended(
        self, value: Callable[[DensityOfStates, float, float], float], electron_temperature: FloatArray
    ) -> FloatArray:
        """Returns a function of density of states, mu and tau_e, blended like all observables."""

        def at(temperature: float) -> float:
            shares = shares_of(self.references, temperature)
            return math.fsum(share.weight * self._value(value, index, temperature) for index, share in shares.items())

        return np.array([at(float(temperature)) for temperature in electron_temperature])

    def _value(self, value: Callable[[DensityOfStates, float, float], float], index: int, temperature: float) -> float:
        dos = self.parts[index]
        return value(dos, dos.fermi_level(self.electrons, temperature), temperature)


def states_of(
    model: Model,
    atoms: Atoms,
    lowest: float,
    highest: float,
    grid: tuple[int, int, int] | None,
    options: Mapping[str, Any],
    *,
    cold: bool = False,
) -> States:
    """Returns the densities of states of a structure for a range of tau_e, from a pass over the grid for each tau_ref.

    Args:
        model: model for the predictions.
        atoms: a periodic structure, Angstrom.
        lowest: lowest tau_e, K.
        highest: highest tau_e, K.
        grid: number of grid points along each lattice vector; by default, spacing as in training.
        options: further keyword arguments of :meth:`fermisea.Model.predict`.
        cold: whether the lowest tau_ref is needed at any tau_e.

    Raises:
        InputError, WindowError: as ``Model.predict``.
    """
    references = tuple(part.reference_electron_temperature for part in model.parts)
    used = {
        index for t in (lowest, highest, *references) if lowest <= t <= highest for index in shares_of(references, t)
    }
    used |= {0} if cold else set()
    found = {}
    with domain_warnings_ignored():  # the prediction of all observables issues them
        for index in sorted(used):
            above = references[index + 1] if index + 1 < len(references) else highest
            found[index] = model.parts[index].predict(
                atoms, min(highest, above), grid, density=False, uncertainty=False, **options
            )
    electrons = float(sum(model.ions[symbol].valence for symbol in atoms.symbols))
    parts = {index: prediction.density_of_states for index, prediction in found.items()}
    return States(references, parts, electrons, found[max(found)].grid)
