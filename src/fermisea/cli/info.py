"""``fermisea info``: content of a snapshot, a data set or a model file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markdown import Markdown
from rich.text import Text

import fermisea
from fermisea.cli.common import Json, print_json
from fermisea.terminal import facts, printable, progress_bar, stdout
from fermisea.units import GIGAPASCAL

if TYPE_CHECKING:
    from fermisea.model.model import Model
    from fermisea.potential import RegularModel, ThermalTerms

_HDF5 = b"\x89HDF\r\n\x1a\n"


def info(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="Snapshot (*.nc), model (*.safetensors, or [bold]aluminium[/]), several snapshots, or a folder of "
            "snapshots."
        ),
    ],
    no_closure: Annotated[
        bool,
        typer.Option(
            "--no-closure",
            help="Omission of the closure check (F from each LDOS against F of the DFT run), which reads every LDOS.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Check the integrity of a file and show its contents; for a data set, list problems that would affect training.

    For the shipped model: its training data, its domain and its errors.

    Example: [bold]fermisea info data/al-300K-00.nc[/]

    Example: [bold]fermisea info data/[/]

    Example: [bold]fermisea info aluminium[/]
    """
    first = fermisea.model.bundled.model_path(paths[0])
    if len(paths) > 1 or first.is_dir():
        _dataset(paths, closure=not no_closure, json=json)
        return
    if not first.is_file():
        raise fermisea.InputError(
            f"{first}: no such file or folder; give a snapshot (*.nc), a folder of snapshots, or a model "
            "(*.safetensors or aluminium)"
        )
    with fermisea.files.readable(first), first.open("rb") as stream:
        start = stream.read(len(_HDF5))
    values = _snapshot(first) if start == _HDF5 or first.suffix == ".nc" else _model(first)
    card = fermisea.model.bundled.model_card(paths[0])
    if json:
        print_json(values | ({} if card is None else {"card": card}))
    elif card is None:
        stdout().print(facts(str(first), values))
    else:
        stdout().print(Markdown(card))


def _dataset(paths: list[Path], *, closure: bool, json: bool) -> None:
    files = fermisea.dataset.snapshot_files(paths)
    snapshots = []
    with progress_bar() as bar:
        task = bar.add_task("snapshots", total=len(files), note="")
        for file in files:
            snapshots.append(fermisea.Snapshot.load(file))
            bar.advance(task)
        names = [str(file) for file in files]
        values = fermisea.dataset_report.describe(snapshots)
        warnings = fermisea.dataset_report.warnings(snapshots, names, closure=closure)
    if json:
        print_json({"kind": "data set", **values, "warnings": warnings})
        return
    stdout().print(facts(", ".join(map(str, paths)), values))
    for warning in warnings:
        stdout().print(Text.assemble(("warning", "yellow"), f"  {printable(warning)}"))
    if not warnings:
        stdout().print("no problems found")


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
        "xc_entropy_term_eV": reference.xc_entropy_term,
        "energy_parts_eV": dict(reference.parts),
        "largest_force_eV_per_A": None if reference.forces is None else float(abs(reference.forces).max()),
        "obstacle_to_total_energies": snapshot.total_energy_obstacle,
        "provenance": dict(snapshot.provenance),
    }


def _model(file: Path) -> dict[str, Any]:
    model = fermisea.load_model(file)
    found = {"kind": "model", **_part(model.parts[0])}
    if not model.hotter:
        return found
    names = ("kind", "elements", "functional")
    return {
        **{name: found[name] for name in names},
        "reference_electron_temperatures": list(model.reference_electron_temperatures),
        **{name: value for name, value in found.items() if name not in names},
        "highest_electron_temperature": model.parts[-1].highest_electron_temperature,
        "domain": _domain(model),
        "hotter": [_part(part) for part in model.hotter],
    }


def _domain(model: Model) -> dict[str, Any]:
    """Returns the domain, without the large arrays of the surroundings."""
    return {name: value for name, value in model.domain.to_dict().items() if name != "surroundings"}


def _part(model: Model) -> dict[str, Any]:
    """Returns a description of a model at one tau_ref."""
    grid = model.energy_grid
    return {
        "elements": list(model.elements),
        "functional": model.functional,
        "reference_electron_temperature": model.reference_electron_temperature,
        "highest_electron_temperature": model.highest_electron_temperature,
        "descriptor": model.descriptor.to_dict(),
        "members": len(model.network.members),
        "network": [model.network.inputs, *model.network.members[0].widths, model.network.outputs],
        "weights": sum(tensor.numel() for tensor in model.network.parameters()),
        "energies_eV": {"start": grid.start, "stop": grid.stop, "spacing": grid.spacing, "size": grid.size},
        "energy_axis": None
        if model.axis is None
        else {"offset_eV": model.axis.offset, "slope_eV_A2": model.axis.slope, "energies": "relative to this axis"},
        "broadening_eV": model.broadening.standard_deviation,
        "grid_spacing_A": model.grid_spacing,
        "domain": _domain(model),
        "obstacle_to_total_energies": model.total_energy_obstacle,
        "potential": None if model.thermal is None else _thermal(model.thermal),
        "regular_part": None if model.anchor is None else _regular(model.anchor),
        "provenance": model.provenance,
    }


def _thermal(terms: ThermalTerms) -> dict[str, Any]:
    """Returns a description of the potential at every tau_e, with the largest cross-validation error of its fit."""
    made = terms.provenance
    return {
        "descriptor": terms.descriptor.to_dict(),
        "highest_electron_temperature": terms.basis.highest,
        "structures": made.get("structures"),
        "left_out_error_per_atom_eV": max(made["left_out_errors"], default=None),
        "pressure_error_GPa": max(made["pressure_errors"]) / GIGAPASCAL if "pressure_errors" in made else None,
    }


def _regular(anchor: RegularModel) -> dict[str, Any]:
    """Returns a description of the regular model, with its cross-validation errors."""
    made = anchor.provenance
    return {
        "descriptor": anchor.descriptor.to_dict(),
        "networks": len(anchor.corrections),
        "electron_temperature": anchor.electron_temperature,
        "structures": made.get("structures"),
        "left_out_free_energy_error_per_atom_eV": made.get("left_out_free_energy_error"),
        "left_out_force_error_eV_per_A": made.get("left_out_force_error"),
        "pulay_virial_per_atom_eV": made.get("pulay_virial_per_atom"),
    }
