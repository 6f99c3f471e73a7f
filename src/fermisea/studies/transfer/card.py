"""Description of the model trained on all structures: data, domain, errors, licence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fermisea.model.model import Model
from fermisea.studies.templates import filled
from fermisea.studies.transfer.plans import EVERYTHING
from fermisea.studies.transfer.tables import Rows


def card_of(model: Model, rows: Mapping[str, Rows]) -> str:
    """Returns the description in Markdown; the text comes from card.txt, the numbers from model and tables.

    Args:
        model: model trained on all structures.
        rows: tables of the study by name.
    """
    return filled(str(__package__), "card.txt", _facts(model, rows)) + "\n"


def _facts(model: Model, rows: Mapping[str, Rows]) -> dict[str, Any]:
    learned = [row for row in rows["data"] if row["part"] in ("training", "scaled")]
    volumes = [row["volume_A3_per_atom"] for row in learned]
    ions = [row["ion_temperature_K"] for row in learned]
    tested = next((row["volume_A3_per_atom"] for row in rows["data"] if row["part"] == "test"), None)
    forces = {row["ion_temperature"]: row for row in rows["forces"] if row["model"] == EVERYTHING}
    at_reference = [
        row
        for row in rows["errors"]
        if row["model"] == EVERYTHING and row["electron_temperature"] == model.reference_electron_temperature
    ]
    return {
        "model": model,
        "widths": "-".join(map(str, (model.network.inputs, *model.network.members[0].widths, model.network.outputs))),
        "data": model.provenance["data"],
        "potentials": ", ".join(entry["name"] for entry in model.provenance["data"]["pseudopotentials"].values()),
        "structures": len(learned),
        "atoms": sorted({row["atoms"] for row in learned}),
        "coldest": min(ions),
        "hottest": max(ions),
        "densest": min(volumes),
        "widest": max(volumes),
        "tested": tested,
        "errors": [row | {"forces": forces.get(row["ion_temperature"])} for row in at_reference],
        "transfer": [row for row in rows["transfer"] if row["model"] == EVERYTHING],
        "size": next((row for row in rows["size"] if row["model"] == EVERYTHING), None),
    }
