"""Models of the study and their training data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fermisea.studies.transfer.data import crystal, name_of, scaled_name
from fermisea.studies.transfer.settings import TransferSettings

EVERYTHING = "everything"
"""Name of the model of all training structures, including structures at other volumes."""


@dataclass(frozen=True)
class Plan:
    """One ensemble and its training structures.

    Attributes:
        name: name of the model and its file.
        ion_temperatures: ionic temperatures of the structures, K.
        structures: snapshots of the structures, as ``training/NAME`` or ``scaled/NAME``.
    """

    name: str
    ion_temperatures: tuple[float, ...]
    structures: tuple[str, ...]


def plans(settings: TransferSettings) -> list[Plan]:
    """Returns the ensembles of the study.

    The ensembles are each ionic temperature alone, the combinations with all their structures, the combinations reduced
    to the number of structures of one and of two temperatures, and everything.
    """
    number = settings.training_snapshots
    alone = [(temperature,) for temperature in settings.ion_temperatures]
    found = [_plan(settings, members, number * len(members)) for members in (*alone, *settings.combinations)]
    for total in (number, 2 * number):
        found += [
            _plan(settings, members, total)
            for members in settings.combinations
            if len(members) <= total < number * len(members)
        ]
    whole = _plan(settings, settings.ion_temperatures, number * len(settings.ion_temperatures))
    source, ideal = settings.scaled_ion_temperature, crystal(settings)
    scaled = tuple(
        f"scaled/{scaled_name(name_of(ideal, source, number), scale)}" for number, scale in enumerate(settings.scales)
    )
    return [*found, Plan(EVERYTHING, settings.ion_temperatures, whole.structures + scaled)]


def combined(settings: TransferSettings) -> list[str]:
    """Returns the names of the models of the combinations with all structures; most figures show the last one."""
    return [_name(members, settings.training_snapshots * len(members)) for members in settings.combinations]


def equal_plans(settings: TransferSettings) -> dict[int, list[Plan]]:
    """Returns plans with equal numbers of structures from different numbers of temperatures, by number of structures.

    Plans with the number of structures of one temperature: the first and the last temperature alone, and the
    combinations. Plans with twice this number: the combinations.
    """
    number, known = settings.training_snapshots, plans(settings)
    alone = [plan for plan in known if len(plan.ion_temperatures) == 1]
    several = [plan for plan in known if len(plan.ion_temperatures) > 1 and plan.name != EVERYTHING]
    groups = {total: [plan for plan in several if len(plan.structures) == total] for total in (number, 2 * number)}
    groups[number] = [alone[0], alone[-1], *groups[number]]
    return {total: group for total, group in groups.items() if len({len(plan.ion_temperatures) for plan in group}) > 1}


def _plan(settings: TransferSettings, members: Sequence[float], total: int) -> Plan:
    """Distributes structures evenly over temperatures; the remainder goes to the hottest, which differ most."""
    each, left = divmod(total, len(members))
    counts = [each + (index >= len(members) - left) for index in range(len(members))]
    ideal = crystal(settings)
    names = tuple(
        f"training/{name_of(ideal, temperature, number)}"
        for temperature, count in zip(members, counts, strict=True)
        for number in range(count)
    )
    return Plan(_name(members, total), tuple(members), names)


def _name(members: Sequence[float], total: int) -> str:
    return f"{'-'.join(f'{temperature:g}' for temperature in members)}K-{total}"
