"""ASE calculator of a regular model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from fermisea.potential.model import RegularModel


class PotentialCalculator(Calculator):
    """Free energy, forces and stress of a regular model at its tau_ref, for molecular dynamics without an LDOS.

    Attributes:
        regular: the regular model.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012  # as ASE declares it

    def __init__(self, regular: RegularModel) -> None:
        """Creates a calculator of the regular model ``regular``."""
        super().__init__()  # type: ignore[no-untyped-call]  # of ASE
        self.regular = regular

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Predicts; called by ASE after a change.

        Raises:
            InputError: for an element outside the model.
        """
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]  # of ASE
        assert isinstance(self.atoms, Atoms)  # noqa: S101  # the call above sets it
        found = self.regular.predict(self.atoms)
        self.results: dict[str, Any] = {
            "energy": found.free_energy,
            "free_energy": found.free_energy,
            "forces": found.forces,
            "stress": full_3x3_to_voigt_6_stress(found.stress),
        }
