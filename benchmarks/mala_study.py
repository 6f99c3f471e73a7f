"""MALA on the data of the study of temperature transfer, with the same training and test structures.

The script exports the training structures of the largest combination of the study, trains MALA on them in its own
environment, and evaluates its networks like the models of the study: LDOS, density, F at tau_ref, and F(tau_e) -
F(tau_ref) against the self-consistent runs. The results with the quadrature and the form of F of MALA are included. The
total-energy module of MALA, which is built from Quantum ESPRESSO, cannot be installed from packages; the terms of F are
evaluated by fermisea, which agrees with MALA in all results available without this module (mala_training.py).
Prediction times are measured with each code, on one thread: descriptors, network, density, DOS, mu, E_b and TS of a
test structure at tau_ref, for networks with the same hidden layers.

    python benchmarks/mala_study.py STUDY      folder of `fermisea study transfer`, to which mala.csv is written

The initial weights of MALA differ in each run, and so do its errors: further runs for the same models write mala-2.csv,
mala-3.csv and so on. The page of the study uses the first file.
"""

from __future__ import annotations

import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from common import Table, Worker, digits, finish, options, parse
from peers import ENVIRONMENT, PYTHON, Peers
from systems import VALENCE, Sizes, random_model, save_network, save_structure

import fermisea
from fermisea.analysis.evaluation import evaluate
from fermisea.interop.mala import load_model as load_mala_model
from fermisea.interop.mala_export import write_mala
from fermisea.model.model import Model
from fermisea.studies.transfer.plans import combined, plans
from fermisea.studies.transfer.settings import TransferSettings
from fermisea.studies.transfer.tables import COLUMNS
from fermisea.utilities.tables import write_csv

SCRIPT = Path(__file__).with_name("mala_worker.py")

RECIPES: dict[str, dict[str, Any]] = {
    "published recipe, 400-400-400": {"widths": [400, 400, 400], "batch": 1000, "rate": 5e-5, "epochs": 10},
    "same size, 256-256, rate 1e-3": {"widths": [256, 256], "batch": 1024, "rate": 1e-3, "epochs": 10},
}
"""Networks with LeakyReLU, Adam and a plain mean square error: sizes, batch size and learning rate."""

HEADINGS = COLUMNS | {
    "form": "form of F",
    "integration": "quadrature",
    "free_energy_error": "F at tau_ref",
    "free_energy_error_worst": "its worst",
    "anchored_free_energy_error": "anchored",
    "training_seconds": "training (s)",
    "prediction_seconds": "prediction (s)",
}
"""Headings of the columns of mala.csv in the table, where they differ from the names."""


class Study:
    """A folder written by the study."""

    def __init__(self, folder: Path) -> None:
        """Reads settings, models, test structures and self-consistent runs."""
        self.folder = folder
        values = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
        values.pop("fermisea")
        self.settings = TransferSettings.from_dict(values)
        self.name = combined(self.settings)[-1]
        plan = next(plan for plan in plans(self.settings) if plan.name == self.name)
        self.training = [folder / "data" / f"{name}.nc" for name in plan.structures]
        self.ours = fermisea.load_model(folder / "models" / f"{self.name}.safetensors")
        times = json.loads((folder / "models" / f"{self.name}.json").read_text(encoding="utf-8"))
        self.training_seconds: float | None = times["training_seconds"]
        self.tests = fermisea.Dataset.load(folder / "data" / "test", verify=False)
        runs = [
            json.loads(path.read_text(encoding="utf-8")) for path in sorted((folder / "references").glob("al*.json"))
        ]
        self.references: dict[str, dict[float, float]] = {}
        for run in runs:
            self.references.setdefault(run["name"], {})[run["electron_temperature"]] = run["free_energy"]


def judged(name: str, model: Model, study: Study, form: str, integration: Any) -> dict[str, Any]:
    """Returns mean absolute errors over the test structures; energies in meV/atom.

    Args:
        name: name of code and recipe.
        model: model to evaluate.
        study: supplies the structures.
        form: form of F.
        integration: "sharpened" or "mala".
    """
    reference = study.settings.reference_electron_temperature
    rows = evaluate(model, study.tests, [reference])
    found: dict[str, Any] = {"code": name, "form": form, "integration": integration}
    for column in ("ldos_error_percent", "density_error_percent", "dos_error_percent"):
        found[column] = statistics.fmean(row[column] for row in rows)
    errors: list[float] = []
    changes: dict[float, list[float]] = {}
    anchored: list[float] = []
    for file, snapshot in zip(study.tests.names, study.tests, strict=True):
        runs = study.references.get(Path(file).stem, {})
        predicted = model.predict(
            snapshot.atoms,
            [reference, *runs],
            snapshot.grid,
            uncertainty=False,
            anchor=False,
            integration=integration,
        )
        energies = predicted.free_energy_by(form)
        atoms, start = len(snapshot.atoms), snapshot.reference.free_energy
        errors.append(1000 * abs(energies[0] - start) / atoms)
        if predicted.anchor is not None:
            anchored.append(1000 * abs(predicted.anchored_free_energy[0] - start) / atoms)
        for index, (temperature, energy) in enumerate(runs.items(), start=1):
            change = (energies[index] - energies[0]) - (energy - start)
            changes.setdefault(temperature, []).append(1000 * abs(change) / atoms)
    found["free_energy_error"] = statistics.fmean(errors)
    found["free_energy_error_worst"] = max(errors)
    if anchored:
        found["anchored_free_energy_error"] = statistics.fmean(anchored)
    for temperature, values in sorted(changes.items()):
        found[f"change_error_{temperature:g}K"] = statistics.fmean(values)
    return found


def heading(column: str) -> str:
    """Returns the heading of a column of mala.csv in the table."""
    if column.startswith("change_error_"):
        temperature = column.removeprefix("change_error_").removesuffix("K")
        return f"F({temperature} K) - F(tau_ref)"
    return HEADINGS.get(column, column)


def own_seconds(model: Model, study: Study, repeat: int = 3) -> float:
    """Returns the time of a prediction with fermisea, s: the median of several after a first one."""
    snapshot, seconds = study.tests[0], []
    for _ in range(repeat + 1):
        started = time.perf_counter()
        model.predict(snapshot.atoms, model.reference_electron_temperature, snapshot.grid)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])


def their_seconds(widths: Sequence[int], study: Study, worker: Worker, folder: Path) -> float:
    """Returns the time of MALA for the same structure and grid, s, with a network of random weights."""
    snapshot, tau = study.tests[0], study.settings.reference_electron_temperature
    network = random_model(Sizes(tuple(widths), study.ours.energy_grid.size))
    found = worker.call(
        "predict",
        structure=save_structure(folder / "structure.npz", snapshot.atoms),
        network=save_network(folder / "network.npz", network, VALENCE),
        shape=list(snapshot.grid.shape),
        electron_temperatures=[tau],
    )
    return float(sum(found["seconds"].values()))


def theirs(
    study: Study, folder: Path, names: Sequence[str], worker: Worker, recipe: dict[str, Any]
) -> tuple[Model, float]:
    """Returns the model trained by MALA, and the duration of its epochs, s."""
    trained = worker.call("train", folder=str(folder), training=list(names), validation=[names[0]], **recipe)
    print("  validation loss: " + " ".join(f"{loss:.3e}" for loss in trained["losses"]), flush=True)
    model = load_mala_model(
        folder / "run.zip",
        info=folder / f"{names[0]}.info.json",
        broadening=study.ours.broadening,
        layer_activations="current",
        dtype="float32",
    )
    known = {
        name: getattr(study.ours, name)
        for name in (
            "ions",
            "functional",
            "reference_electron_temperature",
            "energy_grid",
            "highest_electron_temperature",
        )
    }
    return replace(model, total_energy_obstacle=None, **known), trained["seconds"]


def free_name(folder: Path, made_from: str) -> Path:
    """Returns mala.csv, or the first of mala-2.csv, ... with other models."""
    paths = (folder / ("mala.csv" if number == 1 else f"mala-{number}.csv") for number in itertools.count(1))
    return next(path for path in paths if not path.exists() or made_from not in path.read_text(encoding="utf-8"))


def main() -> None:
    """Runs the comparison and writes its table into the study."""
    parser = options(__doc__, "mala_study", repeat=1)
    parser.add_argument("study", type=Path)
    values = parse(parser)
    study, peers = Study(values.study), Peers.find()
    torch.set_num_threads(1)
    one = replace(study.ours, network=study.ours.network.members[0])
    rows = [
        judged(f"fermisea, {study.name}", study.ours, study, "second_order", "sharpened")
        | {"training_seconds": study.training_seconds, "prediction_seconds": own_seconds(study.ours, study)},
        judged(f"fermisea, {study.name}, the first network of it", one, study, "second_order", "sharpened")
        | {"prediction_seconds": own_seconds(one, study)},
    ]
    if "mala" in peers.versions:
        with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
            folder = Path(scratch)
            snapshots = {path.stem: fermisea.Snapshot.load(path, verify=False) for path in study.training}
            names = write_mala(snapshots, folder)
            for name, recipe in RECIPES.items():
                print(f"MALA, {name}", flush=True)
                worker = stack.enter_context(Worker(SCRIPT, 1, PYTHON, ENVIRONMENT))
                chosen = recipe | ({"epochs": 5, "batch": 20, "rate": 1e-3} if values.quick else {})
                model, seconds = theirs(study, folder, names, worker, chosen)
                with ExitStack() as inner:
                    prediction = their_seconds(recipe["widths"], study, peers.worker(inner), folder)
                for form, integration in (("naive", "mala"), ("second_order", "sharpened")):
                    row = judged(f"MALA, {name}", model, study, form, integration)
                    rows.append(
                        row
                        | {
                            "training_seconds": seconds,
                            "epochs": chosen["epochs"],
                            "prediction_seconds": prediction,
                        }
                    )
    columns = list(dict.fromkeys(key for row in rows for key in row))
    if "mala" in peers.versions and not values.quick:
        made_from = study.ours.provenance["study"]
        write_csv(
            free_name(values.study, made_from),
            [{"study": made_from} | {key: row.get(key) for key in columns} for row in rows],
        )
    cells = [
        [digits(x) if isinstance(x, float) else str(x or "") for x in (row.get(key) for key in columns)] for row in rows
    ]
    title = (
        "MALA and fermisea on the same data: mean absolute errors, energies in meV/atom; training in s of all networks "
        "of a row, prediction on one thread"
    )
    table = Table("mala_study", title, [heading(column) for column in columns], cells)
    finish(values, [table], {"rows": rows}, **peers.versions)


if __name__ == "__main__":
    main()
