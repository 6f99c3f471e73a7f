"""``fermisea info``: what a snapshot or model file holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import fermisea
from fermisea.cli.common import Json, facts, print_json, stdout

_HDF5 = b"\x89HDF\r\n\x1a\n"


def info(
    file: Annotated[Path, typer.Argument(help="A snapshot (*.nc) or model (*.safetensors) file.")],
    json: Json = False,
) -> None:
    """Show what a snapshot or model file holds, after checking that it is whole.

    Example: [bold]fermisea info data/al-300K-00.nc[/]
    """
    if not file.is_file():
        raise fermisea.InputError(f"{file}: no such file; give a snapshot or a model file")
    with file.open("rb") as stream:
        start = stream.read(len(_HDF5))
    values = _snapshot(file) if start == _HDF5 or file.suffix == ".nc" else _model(file)
    if json:
        print_json(values)
    else:
        stdout().print(facts(str(file), values))


def _snapshot(file: Path) -> dict[str, Any]:
    snapshot = fermisea.Snapshot.load(file, verify=True)
    reference = snapshot.reference
    grid = snapshot.energy_grid
    return {
        "kind": "snapshot",
        "formula": snapshot.atoms.get_chemical_formula(),
        "atoms": len(snapshot.atoms),
        "volume_A3": snapshot.grid.volume,
        "grid": list(snapshot.grid.shape),
        "energies_eV": {"start": grid.start, "stop": grid.stop, "spacing": grid.spacing, "size": grid.size},
        "broadening_eV": snapshot.broadening.standard_deviation,
        "electron_temperature": snapshot.electron_temperature,
        "highest_electron_temperature": snapshot.highest_electron_temperature,
        "ion_temperature": snapshot.ion_temperature,
        "functional": snapshot.functional,
        "electrons": reference.electrons,
        "fermi_level_eV": reference.fermi_level,
        "free_energy_eV": reference.free_energy,
        "entropy_term_eV": reference.entropy_term,
        "energy_parts_eV": dict(reference.parts),
        "largest_force_eV_per_A": None if reference.forces is None else float(abs(reference.forces).max()),
        "obstacle_to_total_energies": snapshot.total_energy_obstacle,
        "provenance": dict(snapshot.provenance),
    }


def _model(file: Path) -> dict[str, Any]:
    model = fermisea.load_model(file)
    grid = model.energy_grid
    return {
        "kind": "model",
        "elements": list(model.elements),
        "functional": model.functional,
        "reference_electron_temperature": model.reference_electron_temperature,
        "highest_electron_temperature": model.highest_electron_temperature,
        "descriptor": model.descriptor.to_dict(),
        "network": [model.network.inputs, *model.network.widths, model.network.outputs],
        "weights": sum(tensor.numel() for tensor in model.network.parameters()),
        "energies_eV": {"start": grid.start, "stop": grid.stop, "spacing": grid.spacing, "size": grid.size},
        "broadening_eV": model.broadening.standard_deviation,
        "grid_spacing_A": model.grid_spacing,
        "obstacle_to_total_energies": model.total_energy_obstacle,
        "provenance": model.provenance,
    }
