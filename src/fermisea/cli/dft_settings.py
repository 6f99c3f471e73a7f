"""Settings that ``fermisea dft`` prints: what was given, and what was chosen in its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fermisea.engines.cutoff import low_cutoffs, unknown_cutoffs
from fermisea.engines.mesh import K_SPACING, mesh_of
from fermisea.physics.xc import functional
from fermisea.pseudopotentials import gth
from fermisea.pseudopotentials.frozen import ionised_cores

if TYPE_CHECKING:
    from ase import Atoms

    from fermisea.campaign import Campaign
    from fermisea.engines import Espresso, PlaneWave
    from fermisea.grid import EnergyGrid


def used_settings(
    campaign: Campaign, engine: PlaneWave | Espresso, structures: Mapping[str, Atoms], electron_temperature: float
) -> dict[str, Any]:
    """Returns cutoff, k-meshes and pseudopotentials of a campaign as plain data; ``chosen`` names the defaults.

    Args:
        campaign: settings as given.
        engine: engine of the campaign.
        structures: structures by name.
        electron_temperature: tau_e of the campaign, K.

    Raises:
        InputError: if a pseudopotential is missing or of the wrong kind.
    """
    symbols = sorted({symbol for atoms in structures.values() for symbol in atoms.symbols})
    settings = engine.provenance(symbols)
    meshes = {name: list(mesh_of(engine.kpts, engine.shift, atoms.cell.array)[0]) for name, atoms in structures.items()}
    potentials: dict[str, dict[str, Any]] = {}
    for symbol, entry in settings["pseudopotentials"].items():
        family, _, name = entry["name"].partition(" ")
        potentials[symbol] = {"name": entry["name"], "valence": entry["valence"], "others": {}}
        if family.startswith("GTH-"):
            shipped = gth.cutoffs(functional(settings["xc"]).name)
            potentials[symbol]["cutoff_eV"] = shipped.get(name)
            others = gth.names(settings["xc"])[symbol]
            potentials[symbol]["others"] = {other: shipped.get(other) for other in others if other != name}
    names = ("cutoff", "kpts", "pseudopotentials")
    known = {entry["name"]: entry.get("cutoff_eV") for entry in potentials.values()}
    cutoff = settings["cutoff_eV"]
    warned = low_cutoffs(known, cutoff, settings["xc"])
    if campaign.cutoff is None:
        warned += unknown_cutoffs(known, cutoff)
    warned += ionised_cores({symbol: entry["valence"] for symbol, entry in potentials.items()}, [electron_temperature])
    return {
        "xc": settings["xc"],
        "cutoff_eV": cutoff,
        "kpts": meshes,
        "shift": settings["shift"],
        "pseudopotentials": potentials,
        "warnings": warned,
        "chosen": [name for name in names if getattr(campaign, name) is None],
    }


def settings_lines(settings: Mapping[str, Any]) -> list[str]:
    """Returns lines that describe the result of :func:`used_settings`."""
    chosen, mesh = settings["chosen"], _meshes(settings)
    shift = f", shift {' '.join(map(str, settings['shift']))}" if any(settings["shift"]) else ""
    spacing = f" (default: at most {K_SPACING:g}/Å between k-points; --kpts)" if "kpts" in chosen else ""
    source = " (default: F converged to 10 meV/atom; --cutoff)" if "cutoff" in chosen else ""
    if "cutoff" in chosen and not all(entry.get("cutoff_eV") for entry in settings["pseudopotentials"].values()):
        source = " (default; not known to be converged; --cutoff)"
    lines = [f"k-mesh {mesh}{shift}{spacing}", f"cutoff {settings['cutoff_eV']:g} eV{source}"]
    for symbol, entry in settings["pseudopotentials"].items():
        others = ", ".join(_with_cutoff(name, cutoff) for name, cutoff in entry["others"].items())
        option = f"; also there: {others} (--pseudopotentials {symbol}={next(iter(entry['others']))})" if others else ""
        lines.append(f"pseudopotential {_with_cutoff(entry['name'], entry.get('cutoff_eV'))}{option}")
    return lines


def settings_title(settings: Mapping[str, Any], electron_temperature: float) -> str:
    """Returns tau_e (K), k-mesh, cutoff and pseudopotentials in one line."""
    potentials = ", ".join(entry["name"] for entry in settings["pseudopotentials"].values())
    return (
        f"DFT at tau_e = {electron_temperature:g} K, k-mesh {_meshes(settings)}, cutoff {settings['cutoff_eV']:g} eV, "
        f"{potentials}"
    )


def window_line(grid: EnergyGrid, highest: float | None) -> str:
    """Returns a line with the energy window of the LDOS; ``highest``, tau_e in K, is None for a given window."""
    source = " (given)" if highest is None else f" (default: for tau_e up to {highest:g} K)"
    return f"energy window {grid.start:.2f} to {grid.stop:.2f} eV{source}"


def _meshes(settings: Mapping[str, Any]) -> str:
    """Returns the k-mesh, or the smallest and the largest one."""
    meshes = sorted({tuple(mesh) for mesh in settings["kpts"].values()})
    names = [" ".join(map(str, mesh)) for mesh in meshes]
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"


def _with_cutoff(name: str, cutoff: float | None) -> str:
    return name if cutoff is None else f"{name} (converged at {cutoff:g} eV)"
