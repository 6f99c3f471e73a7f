"""What every DFT engine offers."""

from __future__ import annotations

from typing import Protocol

from ase import Atoms

from fermisea.snapshot import Snapshot


class Engine(Protocol):
    """A DFT code at finite electronic temperature."""

    def run(self, atoms: Atoms, electron_temperature: float) -> Snapshot:
        """Returns the converged LDOS, density, free energy and its parts.

        Args:
            atoms: a periodic structure, Angstrom.
            electron_temperature: tau_e, K.
        """
        ...
