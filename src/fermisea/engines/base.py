"""Interface of all DFT engines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, Self

from ase import Atoms

from fermisea.data.snapshot import Snapshot
from fermisea.engines.ldos import LdosOptions


class Engine(Protocol):
    """A DFT code at finite electronic temperature; engines are frozen dataclasses and can be pickled."""

    @property
    def ldos(self) -> LdosOptions:
        """Energies, broadening and grid of the LDOS."""
        ...

    def for_elements(self, symbols: Iterable[str]) -> Self:
        """Returns the engine with every default that depends on the elements replaced by its value for ``symbols``.

        All structures of a campaign then have the same settings.
        """
        ...

    def run(self, atoms: Atoms, electron_temperature: float) -> Snapshot:
        """Returns the converged LDOS, density, free energy and its parts.

        Args:
            atoms: a periodic structure, Angstrom.
            electron_temperature: tau_e, K.
        """
        ...

    def provenance(self, symbols: Iterable[str]) -> dict[str, Any]:
        """Returns the settings for the provenance of a snapshot with these elements.

        Two snapshots with the same settings are consistent with each other.

        Raises:
            InputError: if a pseudopotential is missing or of the wrong kind.
        """
        ...
