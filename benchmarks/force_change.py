"""Change of forces with tau_e: the shipped model against self-consistent DFT, on unseen structures.

    python benchmarks/force_change.py DIR

DIR is the folder of the study of aluminium with its data. Forces at tau_ref come from the test snapshots, and forces at
30,000 K from self-consistent runs, which are stored in DIR/references: five minutes each on one core. Two structures
are computed at 1000 K on a denser k-mesh too, ten minutes each, which tells the error of the k-mesh of the data.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from common import Table, finish, options, parse

import fermisea
from fermisea.prediction.plausibility import domain_warnings_ignored
from fermisea.studies.aluminium.data import snapshot_files
from fermisea.studies.aluminium.references import reference
from fermisea.studies.aluminium.settings import AluminiumSettings
from fermisea.utilities.arrays import FloatArray

COLD, WARM, HOT = 1000.0, 10_000.0, 30_000.0
HOT_MESH = (2, 2, 2)
COMPUTED = ("test-crystal-00", "test-liquid-00")
"""Structures of 32 atoms with further runs: at 30,000 K, and at 1000 K on a denser k-mesh."""

DENSE_MESH = (6, 6, 6)
"""The data have 4x4x4."""

ROUTES = {
    "LDOS at 1000 K alone": (0, "ldos"),
    "LDOS at 10,000 K alone": (1, "ldos"),
    "both, anchored": (None, "anchored"),
    "potential": (None, "potential"),
}
"""Part of the model, None for the whole model, and origin of F of each route."""

LIMITS = {"LDOS at 1000 K alone": (COLD, WARM), "LDOS at 10,000 K alone": (WARM, HOT)}
"""Range of tau_e in which a single part of the model is used, K."""


def rms(values: FloatArray) -> float:
    """Returns the root mean square in meV/Angstrom of values in eV/Angstrom."""
    return float(1000 * np.sqrt(np.mean(np.square(values))))


def known_forces(settings: AluminiumSettings, folder: Path, name: str) -> dict[float, FloatArray]:
    """Returns the forces of DFT of a structure at each tau_e, (atoms, 3), eV/Angstrom."""
    files = {tau_e: snapshot_files(settings, folder / "data", "test", tau_e)[name] for tau_e in (COLD, WARM)}
    snapshots = {tau_e: fermisea.Snapshot.load(file) for tau_e, file in files.items()}
    found = {tau_e: np.asarray(snapshot.reference.forces) for tau_e, snapshot in snapshots.items()}
    if name in COMPUTED:
        dft = replace(settings.dft, kpts=HOT_MESH)
        found[HOT] = reference(dft, name, snapshots[COLD].atoms, HOT, folder / "references").forces
    return found


def mesh_error(settings: AluminiumSettings, folder: Path, snapshot: fermisea.Snapshot, name: str) -> float | None:
    """Returns the error of the forces of DFT at 1000 K from the k-mesh, meV/Angstrom; None if it is not computed."""
    if name not in COMPUTED:
        return None
    dense = replace(settings.dft, kpts=DENSE_MESH)
    forces = reference(dense, name, snapshot.atoms, COLD, folder / "dense_forces").forces
    return rms(forces - np.asarray(snapshot.reference.forces))


def rows_of(model: fermisea.Model, snapshot: fermisea.Snapshot, known: dict[float, FloatArray]) -> list[dict[str, Any]]:
    """Returns the change of the forces of DFT between neighbouring tau_e, and the error of each route.

    Args:
        model: the model.
        snapshot: snapshot of the structure, for its grid.
        known: forces of DFT at each tau_e.
    """
    wanted = sorted(known)
    predicted = {}
    for route, (part, origin) in ROUTES.items():
        used = model if part is None else model.parts[part]
        low, high = LIMITS.get(route, (COLD, HOT))
        within = [tau_e for tau_e in wanted if low <= tau_e <= high]
        with domain_warnings_ignored():
            found = used.predict(
                snapshot.atoms, within, snapshot.grid, free_energy=origin, forces=True, allow_outside=True
            )
        predicted[route] = dict(zip(within, np.asarray(found.forces), strict=True))
    rows = []
    for low, high in pairwise(wanted):
        change = known[high] - known[low]
        errors = {
            route: rms(forces[high] - forces[low] - change)
            for route, forces in predicted.items()
            if low in forces and high in forces
        }
        rows.append({"from": low, "to": high, "forces": rms(known[low]), "change": rms(change), "errors": errors})
    return rows


def main() -> None:
    """Compares the routes, prints the table."""
    parser = options(__doc__, "force_change", 1)
    parser.add_argument("folder", type=Path, help="folder of the study")
    parser.add_argument("--model", default="aluminium", help="model file  [aluminium]")
    values = parse(parser)
    settings, model = AluminiumSettings.load("aluminium"), fermisea.load_model(values.model)
    files = {t: snapshot_files(settings, values.folder / "data", "test", t) for t in (COLD, WARM)}
    names = sorted(name for name in files[COLD] if name in files[WARM])
    results = {}
    for name in names[: 1 if values.quick else None]:
        snapshot = fermisea.Snapshot.load(files[COLD][name])
        results[name] = rows_of(model, snapshot, known_forces(settings, values.folder, name))
        results[name][0]["mesh"] = mesh_error(settings, values.folder, snapshot, name)
        print(f"compared {name}", flush=True)
    finish(values, [table(results)], results)


def table(results: dict[str, list[dict[str, Any]]]) -> Table:
    """Returns the printed table."""
    rows = [
        (
            name.removeprefix("test-"),
            f"{row['from']:g} to {row['to']:g}",
            f"{row['forces']:.0f}",
            f"{row['change']:.0f}",
            "" if row.get("mesh") is None else f"{row['mesh']:.0f}",
            *(f"{row['errors'][route]:.0f}" if route in row["errors"] else "" for route in ROUTES),
        )
        for name, own in results.items()
        for row in own
    ]
    return Table(
        "force_change",
        "Change of forces with tau_e, and its errors against self-consistent DFT, unseen structures, meV/Å, rms",
        (
            "structure",
            "tau_e (K)",
            "forces of DFT",
            "change of DFT",
            "error of the k-mesh at 1000 K",
            *(f"error, {route}" for route in ROUTES),
        ),
        rows,
    )


if __name__ == "__main__":
    main()
