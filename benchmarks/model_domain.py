"""Writes the domain of the model `aluminium`, which is not in the model file, to src/fermisea/model/bundled/.

The training structures are sampled again, because their molecular dynamics is reproducible. Free energies come from the
table data.csv of the study; the differences between F from the LDOS and of the anchor are computed with the model. The
program stops if a structure is not consistent with the free energy in the table.

    python benchmarks/model_domain.py FOLDER      a folder for the structures, or with those of an earlier run
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import warnings
from dataclasses import replace
from pathlib import Path

from common import ROOT

import fermisea
from fermisea.model.bundled import FOLDER, model_path
from fermisea.model.file import read_header
from fermisea.physics.window import LOWEST_TEMPERATURE
from fermisea.prediction.domain import Domain
from fermisea.prediction.limits import HotVolumes, volume_per_atom
from fermisea.studies.transfer.data import make_structures
from fermisea.studies.transfer.settings import TransferSettings

NAME = "aluminium"
AGREEMENT = 0.01
"""Largest difference between F of the table and F of the anchor, eV/atom; at other volumes the anchor errs by 0.007."""


def main() -> int:
    """Writes the file; returns 1 if this is not possible."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    model = fermisea.load_model(NAME)
    if model.anchor is None:
        print(f"{NAME}: has no anchor", file=sys.stderr)
        return 1
    parts = make_structures(TransferSettings.load("full"), folder, lambda *_: None).parts()
    structures = {(part, name): atoms for part in ("training", "scaled") for name, atoms in parts[part].items()}
    with (ROOT / "docs" / "temperature-transfer" / "data.csv").open(encoding="utf-8") as stream:
        table = {(row["part"], row["name"]): float(row["free_energy_eV_per_atom"]) for row in csv.DictReader(stream)}
    energies, shifts = [], []
    for key, atoms in structures.items():
        energy = table[key] * len(atoms)
        if abs(model.anchor.predict(atoms).free_energy - energy) > AGREEMENT * len(atoms):
            print(f"{'/'.join(key)}: F of the table is not that of this structure", file=sys.stderr)
            return 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fermisea.DomainWarning)
            prediction = model.predict(atoms, model.reference_electron_temperature, uncertainty=False)
        energies.append(energy)
        shifts.append(prediction.anchor_shift / len(atoms))
    domain = Domain.of(
        list(structures.values()),
        model.anchor.descriptor,
        electron_temperature=(LOWEST_TEMPERATURE, model.highest_electron_temperature),
        grid_spacing=model.grid_spacing,
        free_energies=energies,
        anchor_shifts=shifts,
        anchor_error=model.anchor.left_out_error,
    )
    tested = volume_per_atom(next(iter(parts["test"].values())))
    domain = replace(domain, hot_volumes=HotVolumes(model.reference_electron_temperature, (tested, tested)))
    entries = {"model_checksum": read_header(model_path(NAME))["checksum"], "domain": domain.to_dict()}
    path = FOLDER / f"{NAME}.domain.json"
    path.write_text(json.dumps(entries, separators=(",", ":")) + "\n", encoding="utf-8")
    print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
