"""Estimated cost of the DFT calculations of the study, before any of them."""

from __future__ import annotations

from fermisea.campaign.estimate import Estimate, estimate
from fermisea.studies.transfer.data import crystal
from fermisea.studies.transfer.settings import TransferSettings


def costs(settings: TransferSettings) -> list[Estimate]:
    """Returns the cost of each part of the structures; self-consistent runs without an LDOS are not included."""
    ideal, temperatures = crystal(settings), len(settings.ion_temperatures)
    cells = [("training", ideal, temperatures * settings.training_snapshots)]
    for scale in settings.scales:
        atoms = ideal.copy()
        atoms.set_cell(scale * atoms.cell.array, scale_atoms=True)
        cells.append((f"scaled {scale:g}", atoms, 1))
    cells.append(("test", ideal, temperatures * settings.test_snapshots))
    if settings.large_repeat is not None:
        cells.append(("large", crystal(settings, settings.large_repeat), 1))
    tau_ref = settings.reference_electron_temperature
    return [estimate(settings.campaign(name), name, atoms, tau_ref, number) for name, atoms, number in cells]
