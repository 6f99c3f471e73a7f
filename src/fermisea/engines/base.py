"""What every DFT engine offers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from ase import Atoms

from fermisea.data.snapshot import Snapshot
from fermisea.engines.ldos import LdosOptions


class Engine(Protocol):
    """A DFT code at finite electronic temperature; a frozen dataclass, which can be pickled."""

    @property
    def ldos(self) -> LdosOptions:
        """Energies, broadening and points of the LDOS."""
        ...

    def run(self, atoms: Atoms, electron_temperature: float) -> Snapshot:
        """Returns the converged LDOS, density, free energy and its parts.

        Args:
            atoms: a periodic structure, Angstrom.
            electron_temperature: tau_e, K.
        """
        ...

    def provenance(self, symbols: Iterable[str]) -> dict[str, Any]:
        """Returns the settings as they stand in the provenance of a snapshot of these elements.

        Two snapshots for which they are the same belong together.

        Raises:
            InputError: if a pseudopotential is missing or of the wrong kind.
        """
        ...
