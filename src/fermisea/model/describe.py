"""Short printed description of a model."""

from __future__ import annotations

from fermisea.model.file import StoredModel


def described(model: StoredModel) -> str:
    """Returns elements, electronic temperatures, energy window, networks and anchor of a model in a few lines."""
    network, grid = model.network, model.energy_grid
    widths = "-".join(map(str, (network.inputs, *network.members[0].widths, network.outputs)))
    count = len(network.members)
    networks = f"one network {widths}" if count == 1 else f"an ensemble of {count} networks {widths}"
    axis = "" if model.axis is None else ", from a zero that depends on the mean density of electrons"
    lines = [
        f"Model of {', '.join(model.elements)}, functional {model.functional}",
        f"tau_ref = {model.reference_electron_temperature:g} K, tau_e up to {model.highest_electron_temperature:.0f} K",
        f"energies {grid.start:g} to {grid.stop:g} eV in steps of {grid.spacing:g} eV{axis}",
        f"{networks} on {type(model.descriptor).__name__} descriptors",
    ]
    if model.total_energy_obstacle:
        lines.append(f"no total free energy: {model.total_energy_obstacle}")
    elif model.anchor is None:
        lines.append("no anchor: F from the LDOS alone")
    elif model.thermal is not None and model.thermal.has_pressure:
        lines.append(f"F from an interatomic potential at tau_e up to {model.thermal.basis.highest:.0f} K")
    else:
        lines.append(f"F anchored to an interatomic potential at {model.anchor.electron_temperature:g} K")
        if model.thermal is not None:
            highest = f"{model.thermal.basis.highest:.0f} K"
            lines.append(f"an interatomic potential at tau_e up to {highest}, with unknown pressure")
    return "\n".join(lines)
