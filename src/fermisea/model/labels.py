"""Labels for a potential at every tau_e from the LDOS of a model, for structures without a DFT calculation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ase import Atoms

from fermisea.grid import RealSpaceGrid
from fermisea.physics.window import temperature_list
from fermisea.potential import Labels
from fermisea.prediction.origin import FreeEnergy

if TYPE_CHECKING:
    from fermisea.model.model import Model


def network_labels(
    model: Model,
    structures: Sequence[Atoms],
    electron_temperatures: float | Sequence[float],
    progress: Callable[[int, int], None] | None = None,
    *,
    grids: Sequence[RealSpaceGrid] | None = None,
    allow_outside: bool = False,
) -> list[Labels]:
    """Returns changes of F, forces and stress between tau_ref and other tau_e from the LDOS of a model.

    They are as accurate as the LDOS. Together with labels of snapshots, :func:`fermisea.potential.fit_thermal` fits a
    potential to them.

    Args:
        model: model with total free energies.
        structures: structures within the domain of the model; others give its warnings.
        electron_temperatures: tau_e of the labels, (nT,), K; each needs a pass over the grid.
        progress: callback with the number of structures done and the total number of structures.
        grids: grid of each structure; by default as :meth:`fermisea.Model.predict`.
        allow_outside: whether an unphysical structure, or a tau_e above the limit of the energy window, is a warning
            instead of an error.

    Raises:
        InputError: as :meth:`fermisea.Model.predict`.
        WindowError: for a tau_e above the limit of the energy window, unless ``allow_outside``.
    """
    found = []
    asked = [model.reference_electron_temperature, *temperature_list(electron_temperatures)]
    origin: FreeEnergy = "ldos" if model.anchor is None else "anchored"
    for index, atoms in enumerate(structures):
        p = model.predict(
            atoms,
            asked,
            None if grids is None else grids[index],
            free_energy=origin,
            forces=True,
            uncertainty=False,
            allow_beyond_window=allow_outside,
            allow_outside=allow_outside,
        )
        changes = (values[1:] - values[0] for values in (p.free_energy, p.forces, p.stress))
        found.append(Labels(atoms.copy(), *changes))
        if progress is not None:
            progress(index + 1, len(structures))
    return found
