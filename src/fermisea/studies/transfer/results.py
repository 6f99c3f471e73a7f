"""Output of the study: tables, figures, and a text with the claims and the measured results."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from fermisea import __version__, plots
from fermisea.data.dataset import Dataset
from fermisea.model.model import Model
from fermisea.report import write_sections
from fermisea.studies.folder import Rows
from fermisea.studies.transfer import figures, tables
from fermisea.studies.transfer.card import card_of
from fermisea.studies.transfer.plans import EVERYTHING, combined, equal_plans, plans
from fermisea.studies.transfer.references import Reference
from fermisea.studies.transfer.settings import TransferSettings
from fermisea.studies.transfer.similarity import foretold, similarity_rows
from fermisea.studies.transfer.text import numbers_of, sections_of
from fermisea.utilities.files import write_text
from fermisea.utilities.tables import write_csv


@dataclass(frozen=True, eq=False)
class Results:
    """All computed results.

    Attributes:
        data: snapshots of each part.
        references: self-consistent runs at other tau_e.
        models: models by name.
        evaluations: errors of each model on the test structures.
        comparisons: errors of each model against the self-consistent runs.
        sizes: errors of each model in a cell of another size.
    """

    data: Mapping[str, Dataset]
    references: list[Reference]
    models: Mapping[str, Model]
    evaluations: Mapping[str, Rows]
    comparisons: Mapping[str, Rows]
    sizes: Rows


def write_results(out: Path, settings: TransferSettings, found: Results) -> None:
    """Writes tables, figures and the text of the study to a folder.

    Args:
        out: the folder.
        settings: settings of the study.
        found: results of the study.
    """
    rows = _tables(settings, found)
    mala = _mala(out, found.models[combined(settings)[-1]])
    rows["numbers"] = numbers_of(settings, rows, mala)
    for name, table in rows.items():
        if table:
            write_csv(out / f"{name}.csv", table)
    for name, figure in _figures(settings, rows).items():
        plots.save_figure(figure, out / "figures" / name)
    first = found.data["training"][0].provenance
    mesh = "x".join(map(str, first["kpts"]))
    provenance = (
        f"fermisea {__version__}; {first['engine']}, {first['xc']}, k-points {mesh}; all settings are in settings.json"
    )
    title = f"Temperature transfer of aluminium, {len(found.data['test'][0].atoms)} atoms"
    write_sections(out, title, sections_of(settings, rows, mala), provenance)
    write_text(out / "models" / f"{EVERYTHING}.md", card_of(found.models[EVERYTHING], rows))


def _mala(out: Path, model: Model) -> list[dict[str, str]]:
    """Returns the results of a comparison with MALA (benchmarks/mala_study.py) in the folder."""
    path = out / "mala.csv"
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())) if path.exists() else []
    return [row for row in rows if row.get("study") == model.provenance["study"]]


def _tables(settings: TransferSettings, found: Results) -> dict[str, Rows]:
    best = combined(settings)[-1]
    tests = found.data["test"]
    judged = ("ldos_error_percent", "density_error_percent", "free_energy_error", "anchored_free_energy_error")
    errors = tables.error_rows(found.evaluations.values())
    likeness = similarity_rows(tests, found.models[best].descriptor)
    alone = _alone(settings, errors)
    shown = {name: found.models[name] for name in (best, EVERYTHING)}
    return {
        "data": tables.provenance_rows(found.data),
        "free_energy_against_ions": tables.free_energy_rows(shown, found.evaluations, tests),
        "errors": errors,
        "one_temperature": alone,
        "side_by_side": tables.side_by_side_rows(errors, [*combined(settings), EVERYTHING]),
        "transfer": tables.transfer_rows(found.comparisons.values()),
        "transfer_structures": tables.in_mev([row for rows in found.comparisons.values() for row in rows]),
        "forces": tables.force_rows(found.models, tests),
        "similarity": likeness,
        "foretold": [foretold(likeness, alone, name) for name in judged],
        "size": tables.in_mev(found.sizes),
    } | _of_the_coldest(settings, found, best)


def _of_the_coldest(settings: TransferSettings, found: Results, model: str) -> dict[str, Rows]:
    """Returns the tables for the structure at the lowest tau_i, if there are self-consistent runs for it."""
    lowest = settings.ion_temperatures[0]
    runs = [run for run in found.references if run.ion_temperature == lowest]
    if not runs:
        return {"free_energy_against_electrons": [], "dos": [], "dos_change": []}
    tests = found.data["test"]
    own = next(s for n, s in zip(tests.names, tests, strict=True) if Path(n).stem == runs[0].name)
    highest = max(run.electron_temperature for run in runs)
    energy = own.reference.free_energy
    return {
        "free_energy_against_electrons": tables.curve_rows(found.models[model], own.atoms, runs, energy, highest),
        "dos": tables.dos_rows(own.energies.tolist(), own.dos.tolist(), runs),
        "dos_change": tables.dos_change_rows(own.energies, own.dos, own.electrons, runs),
    }


def _alone(settings: TransferSettings, errors: Rows) -> Rows:
    """Returns the errors at tau_ref of models trained at one ionic temperature, which is in ``trained_at``."""
    names = {plan.name: plan.ion_temperatures[0] for plan in plans(settings) if len(plan.ion_temperatures) == 1}
    return [
        {"trained_at": names[row["model"]]} | row
        for row in errors
        if row["model"] in names
        and row["ion_temperature"] != "all"
        and row["electron_temperature"] == settings.reference_electron_temperature
    ]


def _figures(settings: TransferSettings, rows: Mapping[str, Rows]) -> dict[str, Figure]:
    best = combined(settings)[-1]
    rows_of_best = [row for row in rows["transfer"] if row["model"] == best]
    at_reference: list[dict[str, Any]] = [
        row for row in rows["errors"] if row["electron_temperature"] == settings.reference_electron_temperature
    ]
    columns = {"density_error_percent": "density error (%)", "free_energy_error": "error of F (meV/atom)"}
    anchored = columns | {"anchored_free_energy_error": "error of anchored F\n(meV/atom)"}
    drawn = {
        "free_energy_against_ions": figures.free_energy_against_ions(rows["free_energy_against_ions"]),
        "one_temperature": figures.one_temperature(rows["one_temperature"], columns),
        "several_temperatures": figures.several_temperatures(at_reference, [*combined(settings), EVERYTHING], anchored),
        "side_by_side": figures.side_by_side(at_reference, [*combined(settings), EVERYTHING]),
        "similarity": figures.similarity(rows["similarity"]),
    }
    for number, group in equal_plans(settings).items():
        names = [plan.name for plan in group]
        drawn[f"equal_data_{number}"] = figures.several_temperatures(at_reference, names, anchored)
    if rows_of_best:
        drawn["transfer"] = figures.transfer(rows_of_best, title=f"model {best}, against self-consistent DFT")
    if rows["dos"]:
        title = rf"Al, $\tau_i$ = {settings.ion_temperatures[0]:g} K"
        curve = rows["free_energy_against_electrons"]
        drawn["free_energy_against_electrons"] = figures.free_energy_against_electrons(curve, title=title)
        drawn["dos"] = figures.dos(rows["dos"], title=f"{title}, self-consistent DFT")
    return drawn
