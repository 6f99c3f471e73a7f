"""F(tau_e) - F(tau_ref) at one volume: from the potential and from the LDOS, against the LDOS of unseen snapshots.

Uses the data of al8_data.py: sixteen training and twenty test structures of eight atoms. F of the LDOS of a snapshot,
in the second-order form, is right to 0.2 meV/atom. About six minutes on one core for two seeds; models are stored and
reused.

    python benchmarks/origins.py DIR
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import OUTPUT, Table, digits, finish, options, parse

import fermisea
from fermisea.training import TrainingConfig, train

REFERENCE = 1000.0
HOT = (5000.0, 10_000.0, 15_000.0, 20_000.0)
ORIGINS = ("potential", "anchored")


def model(data: Path, seed: int) -> fermisea.Model:
    """Returns a model of the default recipe, from a file if it exists."""
    folder = OUTPUT / "origins"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"al8-{seed}.safetensors"
    if not path.exists():
        config = TrainingConfig(validation_fraction=0.0, precision="bfloat16", seed=seed)
        train(fermisea.Dataset.load([data]), config).save(path)
        print(f"trained {path.name}", flush=True)
    return fermisea.load_model(path)


def errors(found: fermisea.Model, snapshot: fermisea.Snapshot) -> list[dict[str, Any]]:
    """Returns errors of F, of its change, meV/atom, and of C_e, percent, for each origin and tau_e."""
    highest = min(found.highest_electron_temperature, snapshot.highest_electron_temperature)
    temperatures = [REFERENCE, *(t for t in HOT if t <= highest)]
    true, atoms = snapshot.observables(temperatures), len(snapshot.atoms)
    rows = []
    for origin in ORIGINS:
        p = found.predict(snapshot.atoms, temperatures, snapshot.grid, free_energy=origin, allow_outside=True)
        for k, t in enumerate(temperatures):
            change = true[k].free_energy - true[0].free_energy
            rows.append(
                {
                    "origin": origin,
                    "tau_e": t,
                    "change": 1000 * (p.free_energy[k] - p.free_energy[0] - change) / atoms,
                    "free_energy": 1000 * (p.free_energy[k] - snapshot.reference.free_energy - change) / atoms,
                    "entropy_term": -1000 * t * (p.entropy[k] - true[k].entropy) / atoms,
                    "heat_capacity": 100 * (p.heat_capacity[k] / true[k].heat_capacity - 1),
                    "spread": 1000 * p.free_energy_std[k] / atoms if origin == "potential" else float("nan"),
                }
            )
    return rows


def main() -> None:
    """Trains, compares, prints a table and writes JSON."""
    parser = options(__doc__, "origins", 2)
    parser.add_argument("folder", type=Path)
    values = parse(parser)
    torch.set_num_threads(1)
    data = values.folder / "data"
    tests = list(fermisea.Dataset.load([data / "test"]))
    rows = [
        row | {"seed": seed}
        for seed in range(values.repeat)
        for snapshot in tests
        for row in errors(model(data / "train", seed), snapshot)
    ]
    names = ("change", "free_energy", "entropy_term", "heat_capacity")
    cells = []
    for tau_e in sorted({row["tau_e"] for row in rows}):
        for origin in ORIGINS:
            part = [row for row in rows if (row["tau_e"], row["origin"]) == (tau_e, origin)]
            means = [float(np.mean([abs(row[name]) for row in part])) for name in names]
            cells.append([f"{tau_e:g}", origin, *map(digits, means)])
    columns = ("tau_e (K)", "origin", "F(tau_e) - F(tau_ref)", "F", "-TS", "C_e (%)")
    title = "Unseen structures at one volume: mean absolute errors of potential and LDOS, meV/atom"
    note = f"{len(tests)} structures, {values.repeat} seeds. The reference is the LDOS of each snapshot."
    finish(values, [Table("origins", title, columns, cells, note)], {"rows": json.loads(json.dumps(rows))})


if __name__ == "__main__":
    main()
