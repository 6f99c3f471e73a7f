"""Estimated cost of the DFT calculations of the study, before any of them."""

from __future__ import annotations

from collections import Counter

from fermisea.campaign.estimate import Estimate, estimate
from fermisea.studies.aluminium.data import members
from fermisea.studies.aluminium.settings import AluminiumSettings


def costs(settings: AluminiumSettings, rounds: int | None = None) -> list[Estimate]:
    """Returns the cost of each kind of structures at each tau_ref, in perfect cells at the lattice constant.

    Self-consistent runs without an LDOS are not included.

    Args:
        settings: settings of the study.
        rounds: number of rounds of structures; None for all.
    """
    counts = Counter(member.kind.name for member in members(settings, rounds))
    found = []
    for item in settings.reference_temperatures:
        tau_ref = item.electron_temperature
        for kind in settings.kinds:
            if counts[kind.name]:
                campaign = settings.campaign(tau_ref, kind.mesh(tau_ref))
                atoms = kind.crystal(settings.lattice_constant)
                found.append(estimate(campaign, kind.name, atoms, tau_ref, counts[kind.name]))
    return found
