"""Text of the report: the template is page.txt, and the numbers come from the tables."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from fermisea.report import Section
from fermisea.studies.templates import filled
from fermisea.studies.transfer.plans import EVERYTHING, combined, equal_plans
from fermisea.studies.transfer.settings import TransferSettings
from fermisea.studies.transfer.tables import COLUMNS

Rows = list[dict[str, Any]]


def sections_of(
    settings: TransferSettings, rows: Mapping[str, Rows], mala: Sequence[Mapping[str, str]]
) -> list[Section]:
    """Returns the sections of the page.

    Args:
        settings: settings of the study.
        rows: tables of the study by name.
        mala: rows of mala.csv from a comparison with MALA; empty without one.
    """
    text = filled(str(__package__), "page.txt", _facts(settings, rows, mala))
    return [_section(part) for part in text.split("\n# ") if part.strip()]


def numbers_of(settings: TransferSettings, rows: Mapping[str, Rows], mala: Sequence[Mapping[str, str]]) -> Rows:
    """Returns all numbers available to the text, in rows of name and value; arguments as for ``sections_of``."""
    found: Rows = []

    def walk(name: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, item in value.items():
                walk(f"{name}.{key}".lstrip("."), item)
        elif isinstance(value, list | tuple):
            for index, item in enumerate(value):
                walk(f"{name}.{index}", item)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found.append({"name": name, "value": value})

    walk("", _facts(settings, rows, mala))
    return found


def _section(text: str) -> Section:
    title, *lines = text.removeprefix("# ").strip().splitlines()
    named: dict[str, list[str]] = {"figures": [], "tables": []}
    paragraphs = []
    for line in lines:
        kind, colon, names = line.partition(":")
        if colon and kind in named:
            named[kind] = names.split()
        elif line.strip():
            paragraphs.append(line.strip())
    images = tuple(f"figures/{name}.png" for name in named["figures"])
    return Section(title, tuple(paragraphs), images, tuple(f"{name}.csv" for name in named["tables"]))


def _facts(settings: TransferSettings, rows: Mapping[str, Rows], mala: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    best, coldest = combined(settings)[-1], settings.ion_temperatures[0]
    reference = settings.reference_electron_temperature
    whole = {
        row["model"]: {name: _summary(row, name) for name in COLUMNS if name in row}
        for row in rows["errors"]
        if row["ion_temperature"] == "all" and row["electron_temperature"] == reference
    }
    runs = [r for r in rows["transfer_structures"] if r["model"] == best and r["ion_temperature"] == coldest]
    return {
        "best": best,
        "members": settings.training.ensemble,
        "data": _data(settings, rows["data"]),
        "whole": whole,
        "several": [*combined(settings), EVERYTHING],
        "hottest": max(runs, key=lambda row: float(row["electron_temperature"]), default=None),
        "dos_change": [row | {"shift_meV": 1000 * row["shift"]} for row in rows["dos_change"]],
        "alone": _alone(rows["one_temperature"]),
        "ends": {
            "worst": whole[combined(settings)[0]]["free_energy_error"]["worst"],
            "best": whole[best]["free_energy_error"]["worst"],
        },
        "equal": _equal(settings, whole),
        "transfer": [row for row in rows["transfer"] if row["model"] == best],
        "foretold": rows["foretold"],
        "size": next((row for row in rows["size"] if row["model"] == best), None),
        "forces": {row["model"]: row for row in rows["forces"] if row["ion_temperature"] == "all"},
        "mala": _mala(settings, mala),
    }


def _data(settings: TransferSettings, data: Rows) -> dict[str, Any]:
    words = {
        "training": "for training",
        "scaled": "at other volumes",
        "test": "for testing",
        "large": "of another size",
    }
    counts = {part: sum(row["part"] == part for row in data) for part in words}
    return {
        "snapshots": ", ".join(f"{counts[part]} {text}" for part, text in words.items() if counts[part]),
        "ions": len(settings.ion_temperatures),
        "lattice_constant": settings.lattice_constant,
        "reference": settings.reference_electron_temperature,
        "closure": max(abs(row["closure_error_meV_per_atom"]) for row in data),
    }


def _mala(settings: TransferSettings, rows: Sequence[Mapping[str, str]]) -> dict[str, Any] | None:
    """Returns the comparison with MALA, with the change of F to the highest tau_e of a self-consistent run."""
    if not rows:
        return None
    changes = [name for name in rows[0] if name.startswith("change_error_")]
    shown = [
        {
            "code": row["code"],
            "form": row["form"],
            "change": float(row[changes[-1]]) if changes else None,
            **{key: float(row[key]) for key in ("ldos_error_percent", "density_error_percent", "free_energy_error")},
        }
        for row in rows
    ]
    return {
        "rows": shown,
        "hottest": changes[-1].removeprefix("change_error_").removesuffix("K") if changes else None,
        "training": settings.training_snapshots * len(settings.combinations[-1]),
        "tests": settings.test_snapshots * len(settings.ion_temperatures),
    }


def _summary(row: Mapping[str, Any], name: str) -> dict[str, float | None]:
    return {"mean": row[name], "spread": row.get(f"{name}_spread"), "worst": row[f"{name}_worst"]}


def _alone(rows: Rows) -> dict[str, Any]:
    """Returns errors of F of models trained at one ionic temperature, at this temperature and at others."""
    name = "free_energy_error"
    mean = _means_by(rows, "trained_at", name)
    tested = _means_by(rows, "ion_temperature", name)
    own = statistics.fmean(row[name] for row in rows if row["trained_at"] == row["ion_temperature"])
    foreign = statistics.fmean(row[name] for row in rows if row["trained_at"] != row["ion_temperature"])
    return {
        "own": own,
        "foreign": foreign,
        "ratio": foreign / own,
        "spread": statistics.fmean(row.get(f"{name}_spread", 0.0) for row in rows),
        "mean": mean,
        "best": min(mean, key=lambda t: mean[t]),
        "worst": max(mean, key=lambda t: mean[t]),
        "hardest": max(tested, key=lambda t: tested[t]),
    }


def _means_by(rows: Rows, key: str, name: str) -> dict[float, float]:
    return {t: statistics.fmean(row[name] for row in rows if row[key] == t) for t in sorted({r[key] for r in rows})}


def _equal(settings: TransferSettings, whole: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns errors of models with equal numbers of training structures, for each such number."""
    found = []
    for number, group in equal_plans(settings).items():
        fewest = min(len(plan.ion_temperatures) for plan in group)
        energies = [(len(plan.ion_temperatures), whole[plan.name]["free_energy_error"]["mean"]) for plan in group]
        found.append(
            {
                "number": number,
                "fewest": fewest,
                "models": [
                    {
                        "name": plan.name,
                        "free_energy": whole[plan.name]["free_energy_error"],
                        "anchored": whole[plan.name]["anchored_free_energy_error"],
                    }
                    for plan in group
                ],
                "alone": statistics.fmean(energy for count, energy in energies if count == fewest),
                "together": statistics.fmean(energy for count, energy in energies if count > fewest),
            }
        )
    return found
