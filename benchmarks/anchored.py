"""Free energies and forces against DFT: anchored, from the LDOS alone, and from the regular model alone.

Uses the data of al8_data.py: test structures at tau_ref, self-consistent runs at other electronic temperatures, the
heat capacity of the crystal and its equation of state. The models are trained with the default recipe, one of them also
with the structures at other volumes. About fifteen minutes on one core, for two seeds.

    python benchmarks/anchored.py DIR
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from al8_data import CRYSTALS, HOT, REFERENCE, TEST, WARM, crystal
from ase.build import bulk
from ase.eos import EquationOfState
from common import OUTPUT, Table, digits, finish, options, parse

import fermisea
from fermisea import units
from fermisea.training import TrainingConfig, train

FORMS = ("anchored", "LDOS alone", "regular alone")
JOULE = units.ELECTRONVOLT / units.METRE_PER_ANGSTROM**3
GRID = {4: (21, 21, 21), 8: (21, 21, 45)}
"""Grid points of the training data by number of atoms."""


def model(data: Sequence[Path], name: str, seed: int) -> fermisea.Model:
    """Returns a model of the default recipe, from a file if it exists."""
    folder = OUTPUT / "anchored"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{seed}.safetensors"
    if not path.exists():
        config = TrainingConfig(validation_fraction=0.0, precision="bfloat16", seed=seed)
        train(fermisea.Dataset.load(data), config).save(path)
        print(f"trained {path.name}", flush=True)
    return fermisea.load_model(path)


def errors(
    found: fermisea.Model, atoms: Any, tau_e: float, free_energy: float, forces: np.ndarray
) -> dict[str, tuple[float, float]]:
    """Returns errors of F (meV/atom) and mean absolute errors of forces (meV/Angstrom) of each form."""
    assert found.anchor is not None  # noqa: S101  # the default recipe has one
    of = dict(
        zip(
            FORMS[:2], (found.predict(atoms, tau_e, GRID[8], forces=True, anchor=a) for a in (True, False)), strict=True
        )
    )
    regular = {FORMS[2]: found.anchor.predict(atoms)}
    return {
        name: (1000 * (p.free_energy - free_energy) / len(atoms), 1000 * float(np.abs(p.forces - forces).mean()))
        for name, p in (of | regular).items()
    }


def mean_and_worst(values: Iterable[float]) -> list[str]:
    """Returns the mean and the largest absolute value."""
    sizes = [abs(value) for value in values]
    return [digits(statistics.mean(sizes)), digits(max(sizes))]


def test_errors(models: Sequence[fermisea.Model], data: Path) -> list[dict[str, Any]]:
    """Returns errors at tau_ref for each model, form and test structure."""
    rows: list[dict[str, Any]] = []
    for snapshot in fermisea.Dataset.load([data / "data" / "test"]):
        reference = snapshot.reference
        for seed, found in enumerate(models):
            of = errors(found, snapshot.atoms, REFERENCE, reference.free_energy, np.asarray(reference.forces))
            rows += [
                {"tau_i": snapshot.ion_temperature, "seed": seed, "form": name, "free_energy": f, "forces": force}
                for name, (f, force) in of.items()
            ]
    return rows


def test_cells(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Returns mean and worst errors of F and mean errors of forces, anchored and of the LDOS alone."""
    cells = []
    for name in FORMS[:2]:
        chosen = [row for row in rows if row["form"] == name]
        cells += mean_and_worst(row["free_energy"] for row in chosen)
        cells.append(digits(statistics.mean(row["forces"] for row in chosen)))
    return cells


TEST_COLUMNS = ["F, anchored", "worst", "forces", "F, LDOS alone", "worst", "forces"]


def test_table(models: Sequence[fermisea.Model], data: Path) -> tuple[Table, list[dict[str, Any]]]:
    """Returns errors at tau_ref by ionic temperature."""
    rows = test_errors(models, data)
    cells = [[f"{tau:g}", *test_cells([row for row in rows if row["tau_i"] == tau])] for tau in TEST]
    cells.append(["all", *test_cells(rows)])
    columns = ["tau_i (K)", *TEST_COLUMNS]
    title = "Unseen structures at tau_ref = 1000 K: errors of F, meV/atom, and of forces, meV/Å"
    note = (
        f"20 structures, {len(models)} seeds; mean absolute errors. At tau_ref, anchored F is F of the regular model."
    )
    return Table("anchored", title, columns, cells, note), rows


def hot_table(models: Sequence[fermisea.Model], data: Path, references: dict[str, Any]) -> tuple[Table, list[Any]]:
    """Returns errors against self-consistent runs at each electronic temperature."""
    rows = []
    for name, runs in references.items():
        if not name.startswith("al8"):
            continue
        atoms = fermisea.Snapshot.load(data / "data" / "test" / f"{name}.nc").atoms
        for tau_e in (REFERENCE, *HOT):
            run = runs[f"{tau_e:g}"]
            change = 1000 * (run["free_energy"] - runs[f"{REFERENCE:g}"]["free_energy"]) / len(atoms)
            for found in models:
                of = errors(found, atoms, tau_e, run["free_energy"], np.asarray(run["forces"]))
                rows += [
                    {
                        "structure": name,
                        "tau_e": tau_e,
                        "form": form,
                        "free_energy": f,
                        "forces": force,
                        "change": change,
                    }
                    for form, (f, force) in of.items()
                ]
    cells = []
    for tau_e in (REFERENCE, *HOT):
        for form in FORMS:
            chosen = [r for r in rows if (r["tau_e"], r["form"]) == (tau_e, form)]
            forces = [r["forces"] for r in chosen]
            change = digits(statistics.mean(r["change"] for r in chosen))
            energies = mean_and_worst(r["free_energy"] for r in chosen)
            cells.append([f"{tau_e:g}", form, *energies, digits(statistics.mean(forces)), digits(max(forces)), change])
    title = "Against self-consistent DFT at other electronic temperatures: errors of F, meV/atom, and of forces, meV/Å"
    columns = ["tau_e (K)", "", "F", "worst", "forces", "worst structure", "F(tau_e) - F(1000 K) of DFT"]
    note = f"One structure at each tau_i, {len(models)} seeds; mean absolute errors."
    return Table("hot", title, columns, cells, note), rows


def heat_table(models: Sequence[fermisea.Model], runs: dict[str, Any]) -> tuple[Table, list[Any]]:
    """Returns heat capacities of the crystal, from differences of entropies of DFT and of the models."""
    atoms, rows = bulk("Al", "fcc", a=4.05, cubic=True), []
    volume = atoms.get_volume()
    entropies = {t: -runs[f"{t:g}"]["entropy_term"] / t for t in WARM}
    predicted = [found.predict(atoms, list(WARM), GRID[4], density=False, allow_beyond_window=True) for found in models]
    for k in range(0, len(WARM), 2):
        low, high = WARM[k], WARM[k + 1]
        middle = (low + high) / 2
        factor = middle / (high - low) / volume * JOULE
        own = factor * (entropies[high] - entropies[low])
        of = [factor * float(p.entropy[k + 1] - p.entropy[k]) for p in predicted]
        rows.append({"tau_e": middle, "dft": own, "models": of})
    cells = [
        [
            f"{row['tau_e']:g}",
            digits(1e-5 * row["dft"], 4),
            digits(1e-5 * statistics.mean(row["models"]), 4),
            digits(100 * max(abs(value / row["dft"] - 1) for value in row["models"]), 2),
        ]
        for row in rows
    ]
    columns = ["tau_e (K)", "DFT", "model", "worst difference, %"]
    title = "Electronic heat capacity of fcc aluminium, 10⁵ J/(m³ K)"
    note = "C_e = tau_e dS/dtau_e from pairs of self-consistent runs, and from the same pairs of tau_e with the model."
    return Table("heat_capacity", title, columns, cells, note), rows


def volumes_table(
    models: Sequence[fermisea.Model], scaled: fermisea.Model, data: Path, known: list[dict[str, Any]]
) -> tuple[Table, list[dict[str, Any]]]:
    """Returns errors at tau_ref over all test structures, of the models of one volume and the model of several."""
    rows = test_errors([scaled], data)
    cells = [
        [f"16 structures, {len(models)} seeds", *test_cells(known)],
        ["these and 4 at other volumes", *test_cells(rows)],
    ]
    title = (
        "Effect of training data at other volumes on the errors at the volume of the test: F, meV/atom, and forces, "
        "meV/Å"
    )
    return Table("volumes", title, ["trained on", *TEST_COLUMNS], cells), rows


def crystal_table(models: dict[str, fermisea.Model], references: dict[str, Any]) -> tuple[Table, dict[str, Any]]:
    """Returns lattice constant and bulk modulus at tau_ref, of DFT and of anchored models."""
    volumes = [crystal(scale).get_volume() for scale in CRYSTALS]

    def fitted(energies: Sequence[float]) -> tuple[float, float]:
        try:
            volume, _, modulus = EquationOfState(volumes, energies, "birchmurnaghan").fit()
        except (RuntimeError, ValueError):  # no minimum
            return math.nan, math.nan
        return float((volume / 2) ** (1 / 3)), float(modulus / units.GIGAPASCAL)

    results = {"DFT": fitted([references[f"fcc-{scale:g}"][f"{REFERENCE:g}"]["free_energy"] for scale in CRYSTALS])}
    for name, found in models.items():
        energies = [found.predict(crystal(s), REFERENCE, GRID[8], anchor=True).free_energy for s in CRYSTALS]
        results[name] = fitted(energies)
    own = results["DFT"]
    cells = [
        [name, digits(a, 5), digits(100 * (a / own[0] - 1), 2), digits(b, 3), digits(100 * (b / own[1] - 1), 2)]
        if math.isfinite(a)
        else [name, "no minimum", "", "", ""]
        for name, (a, b) in results.items()
    ]
    columns = ["", "lattice constant, Å", "off by, %", "bulk modulus, GPa", "off by, %"]
    return Table("crystal", "Equation of state of fcc aluminium, 0.96 to 1.04 of 4.05 Å", columns, cells), results


def main() -> None:
    """Measures, prints tables and writes JSON."""
    parser = options(__doc__, "anchored", 1)
    parser.add_argument("data", type=Path, help="folder of al8_data.py")
    parser.add_argument("--seeds", type=int, default=2, help="number of trainings  [2]")
    values = parse(parser)
    torch.set_num_threads(1)
    data = values.data / "data"
    models = [model([data / "train"], "train", seed) for seed in range(values.seeds)]
    scaled = model([data / "train", data / "volumes"], "volumes", 0)
    references = json.loads((values.data / "references.json").read_text(encoding="utf-8"))
    test = test_table(models, values.data)
    parts = {
        "test": test,
        "volumes": volumes_table(models, scaled, values.data, test[1]),
        "hot": hot_table(models, values.data, references),
        "heat": heat_table(models, references["cube"]),
        "crystal": crystal_table({"anchored": models[0], "anchored, four more volumes": scaled}, references),
    }
    finish(values, [table for table, _ in parts.values()], {name: found for name, (_, found) in parts.items()})


if __name__ == "__main__":
    main()
