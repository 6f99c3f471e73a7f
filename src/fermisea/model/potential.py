"""The interatomic potential of a model at every tau_e, with the checks of the domain of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms

from fermisea.physics.window import temperature_list
from fermisea.potential import PotentialPrediction, ThermalPotential
from fermisea.prediction.domain import Domain
from fermisea.prediction.plausibility import impossible_energy, issue, structure_outside


@dataclass(frozen=True, eq=False)
class ModelPotential:
    """F, entropy, heat capacity, forces and stress at every tau_e as sums over atoms, without an LDOS.

    Attributes:
        thermal: the potential.
        domain: domain of the model, for the same structures and electronic temperatures as its LDOS.
    """

    thermal: ThermalPotential
    domain: Domain

    @property
    def elements(self) -> tuple[str, ...]:
        """Elements of the potential."""
        return self.thermal.elements

    @property
    def reference_electron_temperature(self) -> float:
        """tau_ref, K."""
        return self.thermal.reference_electron_temperature

    @property
    def highest_electron_temperature(self) -> float:
        """Highest tau_e, K."""
        return self.thermal.highest_electron_temperature

    def predict(
        self,
        atoms: Atoms,
        electron_temperature: float | Sequence[float],
        *,
        allow_outside: bool = False,
        threads: int | None = None,
    ) -> PotentialPrediction:
        """Returns free energy, entropy, heat capacity, forces and stress of a structure.

        A structure outside of ``domain`` is a :class:`fermisea.DomainWarning` and one of the ``warnings`` of the
        result.

        Args:
            atoms: positions and cell, periodic in all three directions.
            electron_temperature: tau_e, K; one or several.
            allow_outside: whether an unphysical structure or energy is a warning instead of an error.
            threads: number of threads.

        Raises:
            InputError: for an element outside the model, an invalid tau_e or structure, or an impossible structure or
                energy, unless ``allow_outside``.
            WindowError: for tau_e above ``highest_electron_temperature``.
        """
        temperatures = temperature_list(electron_temperature)
        self.thermal.check(temperatures)
        found, impossible = structure_outside(self.domain, atoms, temperatures)
        before = issue(found, impossible, allow_outside=allow_outside)
        prediction = self.thermal.predict(atoms, electron_temperature, threads)
        highest, lowest = float(np.max(prediction.free_energy)), float(np.min(prediction.internal_energy))
        after = issue([], impossible_energy(self.domain, len(atoms), highest, lowest), allow_outside=allow_outside)
        return replace(prediction, warnings=before + after)
