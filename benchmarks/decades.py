"""A model of aluminium with four tau_ref, from 300 K to 200,000 K, against self-consistent DFT of unseen structures.

Uses the data of strained_data.py (tau_ref = 1 kK) and decades_data.py (10, 30 and 100 kK). An ensemble of four networks
and a potential are trained at each tau_ref; the model is stored in DIR/decades.safetensors and reused. Compared are
F(tau_e) - F(300 K), S and forces at 15 electronic temperatures, from the LDOS, anchored, and from the potential; and
how smooth F and C_e are where one tau_ref takes over from another. About a quarter of an hour on one core.

    python benchmarks/decades.py STRAINED DIR
"""

from __future__ import annotations

import itertools
import json
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from common import OUTPUT, Table, digits, finish, options, parse
from decades_data import RUNS, SETTINGS, UNSEEN
from strained_data import LDOS, written

import fermisea
from fermisea import Model, TrainingConfig
from fermisea.physics.blend import Share, shares_of
from fermisea.plots import save_figure
from fermisea.plots.style import GREY, INK, MODEL, panels_figure
from fermisea.training import checkpoint_files, train
from fermisea.units import BOLTZMANN

CONFIG = TrainingConfig(validation_fraction=0.0, precision="bfloat16", hidden=(128, 128), ensemble=4)
ORIGINS = ("ldos", "anchored", "potential")
ABSOLUTE, SHARE = 2.0, 1e-3
"""Expected error of F(tau_e) - F(300 K): meV/atom, and a share of its size."""

POINTS = 21
"""Number of electronic temperatures from one tau_ref to the next."""


@dataclass(frozen=True)
class Run:
    """Self-consistent results of a structure at each tau_e.

    Attributes:
        name: name of the structure.
        atoms: the structure.
        electron_temperatures: tau_e, (nT,), K.
        free_energy: F, (nT,), eV.
        entropy: S, (nT,), eV/K.
        forces: (nT, atoms, 3), eV/Angstrom.
    """

    name: str
    atoms: Atoms
    electron_temperatures: np.ndarray
    free_energy: np.ndarray
    entropy: np.ndarray
    forces: np.ndarray


def runs_of(strained: Path, folder: Path) -> list[Run]:
    """Returns the finished self-consistent runs."""
    found = []
    for kind, names in UNSEEN.items():
        structures = written(strained, kind)
        for name in names:
            known = {t: folder / "scf" / f"{kind}-{name}-{t}.json" for t in RUNS}
            known = {t: path for t, path in known.items() if path.exists()}
            if RUNS[0] not in known:
                continue
            results = [json.loads(path.read_text()) for path in known.values()]
            temperatures = np.array(list(known), dtype=float)
            found.append(
                Run(
                    name,
                    structures[name],
                    temperatures,
                    np.array([r["free_energy"] for r in results]),
                    -np.array([r["entropy_term"] for r in results]) / temperatures,
                    np.array([r["forces"] for r in results]),
                )
            )
    return found


def trained(strained: Path, folder: Path) -> Model:
    """Returns the model, trained if it is missing."""
    file = folder / "decades.safetensors"
    if not file.exists():
        data = [strained / LDOS["train"], strained / LDOS["ordered"]]
        data += [folder / f"data-{tau_ref}" for tau_ref in SETTINGS]
        checkpoint = folder / "decades.checkpoint"
        started = time.time()
        model = train(data, CONFIG, checkpoint=checkpoint, resume=True)
        model.provenance["training_seconds"] = time.time() - started
        model.save(file)
        for path in checkpoint_files(checkpoint, model.reference_electron_temperatures):
            path.unlink(missing_ok=True)
    return fermisea.load_model(file)


def rms(values: np.ndarray) -> float:
    """Returns the root mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


def error_tables(model: Model, runs: Sequence[Run]) -> tuple[list[Table], list[dict[str, object]]]:
    """Returns errors of F(tau_e) - F(300 K), S and forces by origin of F, at each tau_e, and the same as plain data."""
    errors: dict[float, list[dict[str, float]]] = {}
    for run in runs:
        atoms, wanted = len(run.atoms), run.electron_temperatures.tolist()
        change = 1000 * (run.free_energy - run.free_energy[0]) / atoms
        found: list[dict[str, float]] = [{"size": abs(value)} for value in change]
        for k, entry in enumerate(found):
            entry["typical force"] = 1000 * rms(run.forces[k])
        for origin in ORIGINS:
            p = model.predict(run.atoms, wanted, free_energy=origin, forces=origin != "ldos", uncertainty=True)
            energy = 1000 * (p.free_energy - p.free_energy[0]) / atoms - change
            for k, entry in enumerate(found):
                entry[origin] = float(energy[k])
                entry[f"{origin} S"] = 100 * float(p.entropy[k] / run.entropy[k] - 1)
                entry[f"{origin} blend"] = 1000 * float(p.blend_error[k]) / atoms
                entry[f"{origin} estimate"] = 1000 * float(p.free_energy_uncertainty[k]) / atoms
                if p.mechanics is not None:
                    entry[f"{origin} forces"] = 1000 * rms(p.forces[k] - run.forces[k])
        for t, entry in zip(wanted, found, strict=True):
            errors.setdefault(t, []).append(entry)
    energies, others, plain = [], [], []
    for t, entries in errors.items():
        names = {name: np.array([entry[name] for entry in entries]) for name in entries[0]}
        size = float(names["size"].mean())
        plain.append({"electron_temperature": t} | {name: values.tolist() for name, values in names.items()})
        energies.append(
            [
                f"{t:g}",
                str(len(entries)),
                f"{size:.1f}",
                *(f"{rms(names[origin]):.2f} ({np.abs(names[origin]).max():.2f})" for origin in ORIGINS),
                f"{ABSOLUTE + SHARE * size:.2f}",
                *(
                    f"{names[f'{origin} blend'].max():.2f}; {np.median(names[f'{origin} estimate']):.2f}"
                    for origin in ORIGINS[1:]
                ),
            ]
        )
        others.append(
            [
                f"{t:g}",
                *(f"{rms(names[f'{origin} S']):.2f}" for origin in ORIGINS[1:]),
                f"{rms(names['typical force']):.0f}",
                *(f"{rms(names[f'{origin} forces']):.0f}" for origin in ORIGINS[1:]),
            ]
        )
    columns = [
        "tau_e (K)",
        "structures",
        "change",
        *ORIGINS,
        "expected",
        "anchored: blend; all",
        "potential: blend; all",
    ]
    title = "F(tau_e) - F(300 K) of unseen structures, meV/atom: root mean square (largest) error by origin of F"
    note = (
        "change: its size; expected: 2 meV/atom and 0.1 % of it; last columns: largest estimated error of the blend, "
        "and median of the estimated error of F."
    )
    tables = [Table("decades_errors", title, columns, energies, note)]
    columns = ["tau_e (K)", "S, anchored (%)", "S, potential (%)", "forces (meV/Å)", "anchored", "potential"]
    title = "Root mean square errors of S and of forces, and size of the forces, for the same structures"
    tables.append(Table("decades_others", title, columns, others))
    return tables, plain


def seam_table(model: Model, runs: Sequence[Run]) -> tuple[Table, list[dict[str, float | str]]]:
    """Returns how smoothly one tau_ref takes over from the next, for the anchored F and F of the potential."""
    cells, rows = [], []
    references = model.reference_electron_temperatures
    for origin in ("anchored", "potential"):
        for index, (low, high) in enumerate(itertools.pairwise(references)):
            x = np.geomspace(low, high, POINTS)
            around = [low * (1 - 1e-6), low * (1 + 1e-6), high * (1 - 1e-6), high * (1 + 1e-6)]
            worst = np.zeros(5)
            for run in runs[:2]:
                atoms, options = len(run.atoms), {"free_energy": origin, "uncertainty": False}
                p = model.predict(run.atoms, [*x.tolist(), *around], **options)
                cold, hot = (part.predict(run.atoms, x.tolist(), **options) for part in model.parts[index : index + 2])
                free, entropy, heat = (value / atoms for value in (p.free_energy, p.entropy, p.heat_capacity))
                jumps = [
                    free[k + 1] - free[k] + entropy[k] * (around[k + 1 - POINTS] - around[k - POINTS])
                    for k in (POINTS, POINTS + 2)
                ]
                kinks = [heat[k + 1] / heat[k] - 1 for k in (POINTS, POINTS + 2)]
                weight = np.array([shares_of((low, high), t).get(1, Share(0.0)).weight for t in x])
                mean = ((1 - weight) * cold.heat_capacity + weight * hot.heat_capacity) / atoms
                apart = np.abs(hot.free_energy - cold.free_energy) / atoms
                numbers = [
                    1000 * np.abs(jumps).max(),
                    100 * np.abs(kinks).max(),
                    1000 * apart.max(),
                    1000 * p.blend_error[:POINTS].max() / atoms,
                    100 * np.abs(heat[:POINTS] / mean - 1).max(),
                ]
                worst = np.maximum(worst, numbers)
            cells.append([origin, f"{low:g} to {high:g}", *(digits(value, 2) for value in worst)])
            names = ("jump", "kink_percent", "difference", "blend_error", "heat_capacity_percent")
            rows.append({"origin": origin, "low": low, "high": high} | dict(zip(names, worst.tolist(), strict=True)))
    columns = [
        "F",
        "tau_ref (K)",
        "jump of F (meV/atom)",
        "jump of C_e (%)",
        "difference of F (meV/atom)",
        "blend error (meV/atom)",
        "C_e (%)",
    ]
    note = (
        "Jumps at both tau_ref; between them, the largest difference between F of both, the error that a prediction "
        "states for it, and the share of C_e from the change of the weights."
    )
    title = "From one tau_ref to the next, two structures"
    return Table("decades_seams", title, columns, cells, note), rows


def draw(model: Model, runs: Sequence[Run], path: Path) -> None:
    """Draws C_e and the errors of F(tau_e) - F(300 K) of the potential against tau_e, with every tau_ref marked."""
    temperatures, run = np.geomspace(RUNS[0], RUNS[-1], 121), runs[0]
    atoms = len(run.atoms)
    p = model.predict(run.atoms, temperatures.tolist(), free_energy="potential", uncertainty=False)
    with panels_figure(2, (1, 1), 5.2) as (figure, axes):
        axes[0].plot(temperatures, p.heat_capacity / BOLTZMANN / atoms, color=MODEL, label="model")
        middle = np.sqrt(run.electron_temperatures[1:] * run.electron_temperatures[:-1])
        heat = np.diff(run.entropy) / np.diff(np.log(run.electron_temperatures)) / BOLTZMANN / atoms
        axes[0].plot(middle, heat, "o", color=INK, label="DFT, differences of S")
        axes[0].set_ylabel(r"$C_e$ ($k_B$/atom)")
        axes[0].legend()
        for other in runs:
            wanted = other.electron_temperatures.tolist()
            found = model.predict(other.atoms, wanted, free_energy="potential", uncertainty=False).free_energy
            error = 1000 * (found - found[0] - (other.free_energy - other.free_energy[0])) / len(other.atoms)
            axes[1].plot(wanted, error, "o-", color=MODEL, ms=3)
        limit = ABSOLUTE + SHARE * 1000 * np.abs(run.free_energy - run.free_energy[0]) / atoms
        axes[1].fill_between(run.electron_temperatures, -limit, limit, color=GREY, alpha=0.25, lw=0)
        axes[1].set_ylabel("error of\n" + r"$F(\tau_e) - F(300\,\mathrm{K})$ (meV/atom)")
        axes[1].set_yscale("symlog", linthresh=2)
        axes[1].set_xlabel(r"$\tau_e$ (K)")
        for axis in axes:
            axis.set_xscale("log")
            for tau_ref in model.reference_electron_temperatures:
                axis.axvline(tau_ref, color=GREY, lw=0.8, ls=":")
    save_figure(figure, path)


def main() -> None:
    """Trains the model and writes tables and figure."""
    parser = options(__doc__, "decades", 1)
    parser.add_argument("strained", type=Path, help="folder of strained_data.py")
    parser.add_argument("folder", type=Path, help="folder of decades_data.py")
    values = parse(parser)
    warnings.filterwarnings("ignore", message="frozen core")
    model, runs = trained(values.strained, values.folder), runs_of(values.strained, values.folder)
    tables, results = error_tables(model, runs)
    seams, rows = seam_table(model, runs)
    draw(model, runs, OUTPUT / "decades")
    finish(values, [*tables, seams], {"errors": results, "seams": rows})


if __name__ == "__main__":
    main()
