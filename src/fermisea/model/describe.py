"""Short printed description of a model."""

from __future__ import annotations

from typing import Protocol

from fermisea.model.file import StoredModel


class DescribedModel(StoredModel, Protocol):
    """Content of a model, and its potential."""

    def potential(self) -> Potential:
        """Returns the potential at every tau_e."""


class Potential(Protocol):
    """A potential at every tau_e."""

    @property
    def highest_electron_temperature(self) -> float: ...  # noqa: D102
    @property
    def highest_with_pressure(self) -> float: ...  # noqa: D102


def described(model: DescribedModel) -> str:
    """Returns elements, electronic temperatures, energy window, networks and anchor of a model in a few lines."""
    network, parts = model.network, (model, *model.hotter)
    references = ", ".join(f"{part.reference_electron_temperature:g}" for part in parts)
    widths = "-".join(map(str, (network.inputs, *network.members[0].widths, network.outputs)))
    count = len(network.members)
    networks = f"one network {widths}" if count == 1 else f"an ensemble of {count} networks {widths}"
    lines = [
        f"Model of {', '.join(model.elements)}, functional {model.functional}",
        f"tau_ref = {references} K, tau_e up to {parts[-1].highest_electron_temperature:.0f} K",
        *(_energies(part, several=len(parts) > 1) for part in parts),
        f"{networks} on {type(model.descriptor).__name__} descriptors",
    ]
    if model.total_energy_obstacle:
        lines.append(f"no total free energy: {model.total_energy_obstacle}")
    elif model.anchor is None:
        lines.append("no anchor: F from the LDOS alone")
    elif model.thermal is not None and model.thermal.has_pressure:
        highest = f"{model.potential().highest_with_pressure:.0f} K"
        lines.append(f"F from an interatomic potential at tau_e up to {highest}")
    else:
        lines.append(f"F anchored to an interatomic potential at {model.anchor.electron_temperature:g} K")
        if model.thermal is not None:
            highest = f"{model.potential().highest_electron_temperature:.0f} K"
            lines.append(f"an interatomic potential at tau_e up to {highest}, with unknown pressure")
    return "\n".join(lines)


def _energies(part: StoredModel, *, several: bool) -> str:
    """Returns the energies of a model at one of one or several tau_ref."""
    grid, where = part.energy_grid, f" at tau_ref = {part.reference_electron_temperature:g} K" if several else ""
    axis = "" if part.axis is None else ", from a zero that depends on the mean density of electrons"
    return f"energies {grid.start:g} to {grid.stop:g} eV in steps of {grid.spacing:g} eV{where}{axis}"
