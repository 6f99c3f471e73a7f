"""MALA on the data of the study of temperature transfer: the same structures to learn from, the same to be tested on.

Exports the training structures of the study's largest combination, lets MALA train on them in its own environment, and
judges its networks as the study judges its models: LDOS, density, F at tau_ref, and F(tau_e) - F(tau_ref) against the
self-consistent runs. What MALA would print is there too: with its quadrature and its form of F. MALA's total energy
module, which it builds from Quantum ESPRESSO, cannot be installed from packages; its terms of F are evaluated here,
which agrees with MALA in everything that it can say without that module (mala_training.py).

    python benchmarks/mala_study.py STUDY      a folder that `fermisea study transfer` wrote; mala.csv goes there
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import Table, Worker, digits, finish, options, parse
from peers import ENVIRONMENT, PYTHON, Peers

import fermisea
from fermisea.evaluation import evaluate
from fermisea.files import write_csv
from fermisea.interop.mala import load_model as load_mala_model
from fermisea.interop.mala_export import write_mala
from fermisea.model import Model
from fermisea.studies.transfer.plans import combined, plans
from fermisea.studies.transfer.settings import TransferSettings

SCRIPT = Path(__file__).with_name("mala_worker.py")

RECIPES: dict[str, dict[str, Any]] = {
    "published recipe, 400-400-400": {"widths": [400, 400, 400], "batch": 1000, "rate": 5e-5, "epochs": 10},
    "same size, 256-256, rate 1e-3": {"widths": [256, 256], "batch": 1024, "rate": 1e-3, "epochs": 10},
}
"""LeakyReLU, Adam, plain mean square in each; sizes, batch and rate are given."""


class Study:
    """A folder that the study wrote."""

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
        name: of code and recipe.
        model: to be judged.
        study: supplies the structures.
        form: of F.
        integration: "sharpened" or "mala".
    """
    reference = study.settings.reference_electron_temperature
    rows = evaluate(model, study.tests, [reference])
    found: dict[str, Any] = {"code": name, "form": form, "integration": integration}
    for column in ("ldos_error_percent", "density_error_percent", "dos_error_percent"):
        found[column] = statistics.fmean(row[column] for row in rows)
    errors: list[float] = []
    changes: dict[float, list[float]] = {}
    seconds = 0.0
    for file, snapshot in zip(study.tests.names, study.tests, strict=True):
        runs = study.references.get(Path(file).stem, {})
        started = time.perf_counter()
        predicted = model.predict(
            snapshot.atoms, [reference, *runs], snapshot.grid, uncertainty=False, integration=integration
        )
        seconds += time.perf_counter() - started
        energies = predicted.free_energy_by(form)
        atoms, start = len(snapshot.atoms), snapshot.reference.free_energy
        errors.append(1000 * abs(energies[0] - start) / atoms)
        for index, (temperature, energy) in enumerate(runs.items(), start=1):
            change = (energies[index] - energies[0]) - (energy - start)
            changes.setdefault(temperature, []).append(1000 * abs(change) / atoms)
    found["free_energy_error"] = statistics.fmean(errors)
    found["free_energy_error_worst"] = max(errors)
    for temperature, values in sorted(changes.items()):
        found[f"change_error_{temperature:g}K"] = statistics.fmean(values)
    found["prediction_seconds_per_structure"] = seconds / len(study.tests)
    return found


def theirs(
    study: Study, folder: Path, names: Sequence[str], worker: Worker, recipe: dict[str, Any]
) -> tuple[Model, float]:
    """Returns the model that MALA trained, and the seconds that its epochs took."""
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


def main() -> None:
    """Runs the comparison and writes mala.csv into the study."""
    parser = options(__doc__, "mala_study", repeat=1)
    parser.add_argument("study", type=Path)
    values = parse(parser)
    study, peers = Study(values.study), Peers.find()
    rows = [judged(f"fermisea, {study.name}", study.ours, study, "second_order", "sharpened")]
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
                for form, integration in (("naive", "mala"), ("second_order", "sharpened")):
                    row = judged(f"MALA, {name}", model, study, form, integration)
                    rows.append(row | {"training_seconds": seconds, "epochs": chosen["epochs"]})
    columns = list(dict.fromkeys(key for row in rows for key in row))
    write_csv(values.study / "mala.csv", [{key: row.get(key) for key in columns} for row in rows])
    cells = [
        [digits(x) if isinstance(x, float) else str(x or "") for x in (row.get(key) for key in columns)] for row in rows
    ]
    table = Table("mala_study", "MALA and fermisea on the same data, mean absolute errors", columns, cells)
    finish(values, [table], {"rows": rows}, **peers.versions)


if __name__ == "__main__":
    main()
