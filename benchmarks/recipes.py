"""Comparison of training recipes on the same data, and dependence on the amount of data.

The data are the Al8 snapshots of al8_data.py; the test structures cover five ionic temperatures, one of them outside
the training data. Errors are mean absolute errors over the structures, F per atom of an eight-atom cell. Every run is
stored in a file, so an interrupted comparison can be resumed.

    python benchmarks/recipes.py DIR                   everything, two hours on one core
    python benchmarks/recipes.py DIR --only default    one recipe
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from common import OUTPUT, Table, digits, finish, options, parse

import fermisea
from fermisea.analysis.evaluation import evaluate
from fermisea.training import TrainingConfig, TrainingState, train
from fermisea.utilities.files import write_text

TEMPERATURES = (1000.0, 5000.0, 10_000.0)
"""tau_ref and two higher tau_e, K."""

DEFAULT = TrainingConfig(validation_fraction=0.0, precision="bfloat16")
PUBLISHED: dict[str, Any] = {
    "descriptor": "bispectrum",
    "twojmax": 10,
    "cutoff": 4.67637,
    "activation": "leaky_relu",
    "schedule": "constant",
    "warm_up": 0.0,
    "learning_rate": 5e-5,
    "weight_decay": 0.0,
    "averaging": 0.0,
    "descriptor_floor": 0.0,
    "density_weight": 0.0,
    "grand_potential_weight": 0.0,
    "readout": "none",
    "batch_size": 1000,
    "precision": "float32",
}
"""Bispectrum with 91 components, LeakyReLU, Adam with 5e-5, plain mean square error; sizes are set separately."""

RECIPES: dict[str, dict[str, Any]] = {
    "default": {},
    "published, 4000-4000-4000": PUBLISHED | {"hidden": [4000, 4000, 4000], "epochs": 1},
    "published, 400-400-400": PUBLISHED | {"hidden": [400, 400, 400], "epochs": 3},
    "published, 400-400-400, longer": PUBLISHED | {"hidden": [400, 400, 400], "epochs": 10},
    "each descriptor with its own scale": {"descriptor_floor": 0.0},
    "no grand potential in the loss": {"grand_potential_weight": 0.0},
    "grand potential weight 5": {"grand_potential_weight": 5.0},
    "no density in the loss": {"density_weight": 0.0},
    "density weight 5": {"density_weight": 5.0},
    "no readout fit": {"readout": "none"},
    "readout without the DOS": {"dos_weight": 0.0},
    "DOS weight 50": {"dos_weight": 50.0},
    "weight decay 0.0001": {"weight_decay": 1e-4},
    "weight decay 1": {"weight_decay": 1.0},
    "no averaging": {"averaging": 0.0},
    "clipped gradients": {"gradient_clip": 1.0},
    "constant rate": {"schedule": "constant"},
    "plateau": {"schedule": "plateau", "validation_fraction": 0.1},
    "float32": {"precision": "float32"},
    "order 4": {"order": 4},
    "order 7": {"order": 7},
    "cutoff 4.5": {"cutoff": 4.5},
    "cutoff 6.5": {"cutoff": 6.5},
    "bispectrum, cutoff 4.68": {"descriptor": "bispectrum", "cutoff": 4.67637},
    "64-64": {"hidden": [64, 64]},
}
"""Changes to the default configuration, by name."""

SIZES = (4, 8, 16)
"""Numbers of training structures of the learning curve, divided equally among ionic temperatures."""


def run(data: Path, config: TrainingConfig, structures: int) -> dict[str, Any]:
    """Returns the duration of a training and the rows of its evaluation."""
    files = sorted((data / "data" / "train").glob("*.nc"))
    chosen = [file for file in files if int(file.stem.rsplit("-", 1)[1]) < structures // 4]
    epochs: list[TrainingState] = []
    started = time.perf_counter()
    model = train(chosen, config, progress=epochs.append)
    seconds = time.perf_counter() - started
    return {
        "seconds": seconds,
        "epochs": epochs[-1].step,
        "config": config.to_dict(),
        "rows": evaluate(model, fermisea.Dataset.load(data / "data" / "test"), TEMPERATURES),
    }


def kept(folder: Path, name: str, data: Path, config: TrainingConfig, structures: int) -> dict[str, Any]:
    """Returns the result of ``run``, from a file if one exists for this configuration."""
    path = folder / f"{name.replace(' ', '-')}.json"
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["config"] == config.to_dict():
            return dict(found)
    found = run(data, config, structures)
    write_text(path, json.dumps(found) + "\n")
    print(f"{name}: {found['seconds']:.0f} s", flush=True)
    return found


def mean(runs: Sequence[Mapping[str, Any]], column: str, tau_e: float, tau_i: float | None = None) -> float:
    """Returns the mean absolute value of a column over test structures and seeds."""
    return statistics.mean(
        abs(row[column])
        for found in runs
        for row in found["rows"]
        if row["electron_temperature"] == tau_e and tau_i in (None, row["ion_temperature"])
    )


def cells(runs: Sequence[Mapping[str, Any]], tau_i: float | None = None) -> list[str]:
    """Returns the errors of some runs of one recipe as a row of a table."""
    energies = [mean(runs, "free_energy_error", TEMPERATURES[0], tau_i)]
    energies += [mean(runs, "free_energy_change_error", tau_e, tau_i) for tau_e in TEMPERATURES[1:]]
    percent = [mean(runs, f"{name}_error_percent", TEMPERATURES[0], tau_i) for name in ("ldos", "density", "dos")]
    return [*(digits(value) for value in percent), *(digits(1000 * value) for value in energies)]


ERRORS = ["LDOS (%)", "density (%)", "DOS (%)", "F", "F(5 kK) - F(1 kK)", "F(10 kK) - F(1 kK)"]


def main() -> None:
    """Measures, prints tables and writes JSON."""
    parser = options(__doc__, "recipes", 1)
    parser.add_argument("data", type=Path, help="folder of al8_data.py")
    parser.add_argument("--seeds", type=int, default=2, help="number of trainings of each recipe  [2]")
    parser.add_argument("--only", nargs="+", default=list(RECIPES), choices=list(RECIPES), metavar="RECIPE")
    values = parse(parser)
    torch.set_num_threads(1)
    folder = OUTPUT / "recipes"
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[dict[str, Any]]] = {}

    def of(name: str, config: TrainingConfig, structures: int) -> list[dict[str, Any]]:
        seeds = [replace(config, seed=seed) for seed in range(values.seeds)]
        return [
            kept(folder, f"{name}, {structures} structures, seed {c.seed}", values.data, c, structures) for c in seeds
        ]

    for name in values.only:
        found[name] = of(name, TrainingConfig.from_dict(DEFAULT.to_dict() | RECIPES[name]), SIZES[-1])
    rows = [[name, digits(statistics.median(r["seconds"] for r in runs)), *cells(runs)] for name, runs in found.items()]
    tests = len(found[values.only[0]][0]["rows"]) // len(TEMPERATURES)
    note = f"{SIZES[-1]} training structures, {tests} test structures, means over {values.seeds} seeds."
    tables = [Table("recipes", "Recipes, energies in meV/atom", ["recipe", "seconds", *ERRORS], rows, note)]
    curve = [[str(n), *cells(of("default", DEFAULT, n))] for n in SIZES]
    tables.append(Table("curve", "Default recipe, energies in meV/atom", ["structures", *ERRORS], curve))
    taus = sorted({row["ion_temperature"] for row in found[values.only[0]][0]["rows"]})
    by_ion = [
        [name, f"{tau:g}", *cells(runs, tau), digits(1000 * mean(runs, "closure_error", TEMPERATURES[0], tau))]
        for name, runs in list(found.items())[:3]
        for tau in taus
    ]
    columns = ["recipe", "tau_i (K)", *ERRORS, "closure of the data"]
    tables.append(Table("by_ion", "By ionic temperature, energies in meV/atom", columns, by_ion))
    finish(values, tables, {name: [r["seconds"] for r in runs] for name, runs in found.items()})


if __name__ == "__main__":
    main()
