"""Time and memory of a prediction of a model, before it starts: :func:`estimate`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ase import Atoms

from fermisea.grid import RealSpaceGrid
from fermisea.physics.blend import shares_of
from fermisea.physics.window import temperature_list
from fermisea.prediction.cost import Cost, cost_of
from fermisea.prediction.request import Request
from fermisea.utilities.torchrun import current

if TYPE_CHECKING:
    from fermisea.model.model import Model


def estimate(
    model: Model,
    atoms: Atoms,
    electron_temperature: float | Sequence[float],
    grid: RealSpaceGrid | tuple[int, int, int] | None = None,
    *,
    free_energy: Any = None,
    anchor: bool | None = None,
    forces: bool = False,
    **options: Any,
) -> Cost:
    """Returns the estimated cost of ``model.predict`` with the same arguments.

    Raises:
        InputError: as :meth:`fermisea.Model.predict`, and for a grid that exceeds the memory of the machine.
    """
    temperatures = temperature_list(electron_temperature)
    origin, _ = model.chosen_origin(free_energy, anchor, temperatures, density=options.get("density", True))
    references = [part.reference_electron_temperature for part in model.parts]
    shares = {t: shares_of(references, t) for t in temperatures}
    total = Cost(0, 0.0, 0.0)
    for index in sorted({index for own in shares.values() for index in own}):
        request = Request.of(
            model.parts[index],
            atoms,
            [t for t, share in shares.items() if index in share],
            grid,
            forces=forces and origin != "potential",
            forces_of_change=origin == "anchored",
            processes=current(),
            **options,
        )
        total += cost_of(request)
    return total
