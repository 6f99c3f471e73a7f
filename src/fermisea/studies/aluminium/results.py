"""Output of the study: tables, figures, page and the description of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fermisea import __version__, plots
from fermisea.data.snapshot import Snapshot
from fermisea.model.model import Model
from fermisea.report import Section, write_sections
from fermisea.studies.aluminium import figures, tables
from fermisea.studies.aluminium.kinds import Kind
from fermisea.studies.aluminium.probes import Probe
from fermisea.studies.aluminium.properties import Key, Result
from fermisea.studies.aluminium.settings import AluminiumSettings
from fermisea.studies.folder import Rows
from fermisea.studies.templates import filled
from fermisea.utilities.files import write_text
from fermisea.utilities.tables import write_csv


@dataclass(frozen=True, eq=False)
class Results:
    """All computed results.

    Attributes:
        model: the model.
        data: snapshots by part and file.
        errors: rows of :func:`fermisea.studies.aluminium.errors.snapshot_rows` of all test structures.
        hot: rows of :func:`fermisea.studies.aluminium.errors.hot_rows`.
        probes: structures of self-consistent runs.
        dft: results of DFT for them; stress without its Pulay part.
        predicted: results of the model for them.
        times: atoms, electron_temperature (K) and seconds of each DFT calculation with an LDOS.
    """

    model: Model
    data: Mapping[str, Mapping[Path, Snapshot]]
    errors: Rows
    hot: Rows
    probes: Sequence[Probe]
    dft: Mapping[Key, Result]
    predicted: Mapping[Key, Result]
    times: Rows


def write_results(out: Path, settings: AluminiumSettings, found: Results) -> None:
    """Writes tables, figures, page and the description of the model to the folder of the study."""
    rows = _tables(settings, found)
    for name, table in rows.items():
        if table:
            write_csv(out / f"{name}.csv", table)
    drawn = {
        "errors": figures.errors_by_kind(rows["errors"]),
        "spread": figures.spread_against_error(rows["structures"], rows["left_out"]),
    }
    if rows["line"]:
        drawn["line"] = figures.along_the_line(rows["line"])
    for name, label in (("elastic", "elastic constant (GPa)"), ("phonons", "frequency (THz)")):
        if rows[name]:
            drawn[name] = figures.beside_dft(rows[name], label)
    if rows["hot"]:
        drawn["hot"] = figures.hot_electrons(rows["hot"])
    if rows["cost"]:
        drawn["cost"] = figures.cost(rows["cost"])
    for name, figure in drawn.items():
        plots.save_figure(figure, out / "figures" / name)
    sections = [
        ("Data", "", ("data",)),
        ("Errors by kind of structure", "errors", ("errors", "changes")),
        ("Pressure and bulk modulus", "line", ("line_errors",)),
        ("Elastic constants", "elastic", ("elastic",)),
        ("Phonons", "phonons", ("phonons",)),
        ("Vacancy and other lattices", "", ("differences",)),
        ("Hot electrons", "hot", ("hot",)),
        ("Estimated errors", "spread", ("spread",)),
        ("Cost of DFT and of predictions", "cost", ("cost",)),
    ]
    write_sections(
        out,
        "Aluminium from the crystal to the liquid",
        [
            Section(title, figures=_png(drawn, figure), tables=tuple(f"{name}.csv" for name in names))
            for title, figure, names in sections
            if all(rows[name] for name in names)
        ],
        f"fermisea {__version__}; all settings are in settings.json",
    )
    write_text(out / "aluminium.md", card(settings, found, rows) + "\n")


def card(settings: AluminiumSettings, found: Results, rows: Mapping[str, Rows]) -> str:
    """Returns the description of the model in Markdown; the text comes from card.txt, the numbers from the tables."""
    model, learned = found.model, [row for row in rows["data"] if row["part"] == "training"]
    facts = {
        "model": model,
        "settings": model.provenance["data"],
        "potentials": ", ".join(entry["name"] for entry in model.provenance["data"]["pseudopotentials"].values()),
        "kinds": _kinds(settings, learned),
        "number": len({row["name"] for row in learned}),
        "hottest": max((row["electron_temperature"] for row in rows["hot"]), default=None),
        "hours": sum(row["calculations"] * row["dft_seconds"] for row in rows["cost"]) / 3600,
        **rows,
    }
    return filled(str(__package__), "card.txt", facts)


def _kinds(settings: AluminiumSettings, learned: Rows) -> list[dict[str, Any]]:
    """Returns facts of each kind in training: numbers, k-mesh, sampler, ranges of tau_i (K) and volume (Angstrom^3)."""
    found = []
    for kind in settings.kinds:
        own = [row for row in learned if row["kind"] == kind.name]
        if not own:
            continue
        ions = [row["ion_temperature_K"] for row in own if row["ion_temperature_K"] is not None]
        volumes = [row["volume_A3_per_atom"] for row in own]
        found.append(
            {
                "name": kind.name,
                "number": len({row["name"] for row in own}),
                "atoms": own[0]["atoms"],
                "kpts": _meshes(settings, kind),
                "sampler": _sampler(kind),
                "ions": (min(ions), max(ions)) if any(ions) else None,
                "volumes": (min(volumes), max(volumes)),
            }
        )
    return found


def _meshes(settings: AluminiumSettings, kind: Kind) -> str:
    """Returns the k-mesh, or the meshes at each tau_ref."""
    meshes = [kind.mesh(item.electron_temperature) for item in settings.reference_temperatures]
    return ", ".join("x".join(map(str, mesh)) for mesh in dict.fromkeys(meshes))


def _sampler(kind: Kind) -> str:
    """Returns what displaces the atoms."""
    if kind.rattle:
        return "random"
    if not any(kind.ion_temperatures):
        return "none"
    return "EMT" if kind.sampler == "emt" else "own potential"


def _tables(settings: AluminiumSettings, found: Results) -> dict[str, Rows]:
    along = tables.line_rows(found.dft, found.predicted, list(found.probes))
    left_out = tables.left_out_rows(found.model)
    return {
        "data": tables.data_rows(found.data),
        "structures": found.errors,
        "errors": tables.error_summary(found.errors),
        "changes": tables.change_rows(found.errors),
        "spread": tables.spread_rows(found.errors, left_out),
        "left_out": left_out,
        "line": along,
        "line_errors": tables.line_summary(along),
        "hot": found.hot,
        "cost": tables.cost_rows(found.times, found.errors),
        **tables.property_rows(found.dft, found.predicted, found.probes, settings.lattice_constant),
    }


def _png(drawn: Mapping[str, object], name: str) -> tuple[str, ...]:
    return (f"figures/{name}.png",) if name in drawn else ()
