"""Strained aluminium: the interatomic potential at every tau_e, and the LDOS on two energy axes, against DFT.

Uses the data of strained_data.py. The potential is fitted in closed form to the training snapshots. Networks for the
LDOS learn it on the axis of the snapshots, and on energies measured from the Fermi level of each structure at tau_ref.
Compared are F(20 kK) - F(1 kK) and its derivatives for structures outside of the training data. About an hour on one
core for three seeds; networks are stored and reused.

    python benchmarks/strained.py DIR [--potential-only]
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from common import OUTPUT, Table, digits, finish, options, parse
from scipy.stats import spearmanr
from strained_data import LATTICE, LDOS, LINE, REFERENCE, RUNS, SMALL, written

import fermisea
from fermisea import units
from fermisea.data.energy_shift import common_grid, shifted
from fermisea.potential import Labels, ThermalPotential, fit_regular, fit_thermal, label_temperatures, labels_of
from fermisea.training import TrainingConfig, train

GPA = 1 / units.GIGAPASCAL
"""GPa in an eV/Angstrom^3."""

HOT = 20_000.0
COMMITTEE = 10
MEMBERS = 4
CONFIG = TrainingConfig(
    validation_fraction=0.0, anchor=False, precision="bfloat16", hidden=(128, 128), ensemble=MEMBERS
)


@dataclass(frozen=True)
class Run:
    """A self-consistent run: structure, name, F (eV), forces (eV/Angstrom), stress (eV/Angstrom^3)."""

    name: str
    atoms: Atoms
    free_energy: float
    forces: np.ndarray
    stress: np.ndarray

    @property
    def pressure(self) -> float:
        """Pressure, GPa."""
        return -float(np.trace(self.stress)) / 3 * GPA


def runs_of(folder: Path, kind: str, tau_e: float) -> list[Run]:
    """Returns the finished runs of a kind at a tau_e."""
    found = []
    for name, atoms in written(folder, kind).items():
        path = folder / "scf" / f"{kind}-{name}-{tau_e:.0f}.json"
        if path.exists():
            run = json.loads(path.read_text())
            found.append(Run(name, atoms, run["free_energy"], np.array(run["forces"]), np.array(run["stress"])))
    return found


def rms(values: Any) -> float:
    """Returns the root mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


def slopes(volumes: np.ndarray, energies: np.ndarray) -> np.ndarray:
    """Returns -dF/dV at the inner volumes from central differences, GPa."""
    return -GPA * np.gradient(energies, volumes)[1:-1]


def moduli(volumes: np.ndarray, energies: np.ndarray) -> np.ndarray:
    """Returns V d2F/dV2 at the inner volumes from second differences, GPa."""
    left, right = np.diff(volumes)[:-1], np.diff(volumes)[1:]
    first = np.diff(energies) / np.diff(volumes)
    return GPA * volumes[1:-1] * 2 * (first[1:] - first[:-1]) / (left + right)


@dataclass(frozen=True)
class Labelled:
    """Training snapshots with the changes of F with tau_e from their LDOS.

    Attributes:
        snapshots: the snapshots.
        temperatures: tau_e of the labels, K.
        labels: changes of F of each snapshot.
    """

    snapshots: Sequence[fermisea.Snapshot]
    temperatures: np.ndarray
    labels: Sequence[Labels]

    @classmethod
    def of(cls, snapshots: Sequence[fermisea.Snapshot], highest: float) -> Labelled:
        """Integrates the LDOS of snapshots for tau_e up to ``highest``, K."""
        temperatures = label_temperatures(snapshots[0].broadening.standard_deviation, highest)
        return cls(snapshots, temperatures, labels_of(fermisea.Dataset(tuple(snapshots)), temperatures))

    def some(self, chosen: Sequence[int]) -> Labelled:
        """Returns some of the snapshots."""
        return Labelled([self.snapshots[i] for i in chosen], self.temperatures, [self.labels[i] for i in chosen])

    def potential(self, stiffness: float | None = None) -> ThermalPotential:
        """Returns the potential, as a training fits it."""
        data = fermisea.Dataset(tuple(self.snapshots))
        regular = fit_regular(data, TrainingConfig().make_anchor_descriptor(["Al"]))
        options = {} if stiffness is None else {"stiffness": stiffness}
        return fit_thermal(regular, self.temperatures, self.labels, **options)


def potential_table(potential: ThermalPotential, folder: Path) -> tuple[Table, list[dict[str, Any]]]:
    """Returns errors of the potential at each tau_e by kind of structure."""
    cells, rows = [], []
    for kind, temperatures in RUNS.items():
        for tau_e in temperatures:
            runs = runs_of(folder, kind, tau_e)
            if not runs:
                continue
            found = [potential.predict(run.atoms, tau_e) for run in runs]
            atoms = np.array([len(run.atoms) for run in runs])
            energy = 1000 * (np.array([p.free_energy for p in found]) - [run.free_energy for run in runs]) / atoms
            spread = 1000 * np.array([p.free_energy_std for p in found]) / atoms
            pressure = [-np.trace(p.stress) / 3 * GPA - run.pressure for p, run in zip(found, runs, strict=True)]
            pulay = [pulay_pressure(potential, run.atoms) for run in runs]
            forces = np.concatenate([(p.forces - r.forces).ravel() for p, r in zip(found, runs, strict=True)])
            cells.append(
                [
                    kind,
                    f"{tau_e:g}",
                    str(len(runs)),
                    digits(rms(energy)),
                    digits(rms(spread)),
                    digits(rms(pressure)),
                    digits(rms(np.add(pressure, pulay))),
                    digits(1000 * rms(forces)),
                ]
            )
            rows += [
                {
                    "kind": kind,
                    "name": run.name,
                    "tau_e": tau_e,
                    "error": e,
                    "spread": s,
                    "pressure_error": p,
                }
                for run, e, s, p in zip(runs, energy.tolist(), spread.tolist(), map(float, pressure), strict=True)
            ]
    columns = (
        "structures",
        "tau_e (K)",
        "number",
        "F (meV/atom)",
        "spread",
        "P (GPa)",
        "P with Pulay part",
        "forces (meV/Å)",
    )
    title = "The potential against self-consistent DFT, structures outside of the training data, rms errors"
    return Table("strained", title, columns, cells), rows


def pulay_pressure(potential: ThermalPotential, atoms: Atoms) -> float:
    """Returns the pressure, GPa, by which the stress of the plane-wave code differs from the derivative of its F."""
    virial = float(potential.regular.provenance["pulay_virial_per_atom"])
    return -virial * len(atoms) / atoms.get_volume() * GPA


def spread_facts(errors: np.ndarray, spreads: np.ndarray) -> dict[str, float]:
    """Returns how well spreads describe errors: rank correlation, and the fraction within 1.96 spreads."""
    return {
        "number": float(len(errors)),
        "rank_correlation": float(spearmanr(np.abs(errors), spreads).statistic),
        "within_95_percent_interval": float(np.mean(np.abs(errors) <= 1.96 * spreads)),
    }


def committee(labelled: Labelled) -> tuple[list[ThermalPotential], float]:
    """Returns potentials of random three quarters of the structures, and the factor that calibrates their spread.

    With this factor, the mean square of the errors over the spreads is 1 for F and F(tau_e) of the structures that a
    potential has not seen.
    """
    random, number = np.random.default_rng(3), len(labelled.snapshots)
    chosen = [np.sort(random.permutation(number)[: round(0.75 * number)]) for _ in range(COMMITTEE)]
    potentials = [labelled.some(part.tolist()).potential() for part in chosen]
    ratios = []
    for index, (snapshot, label) in enumerate(zip(labelled.snapshots, labelled.labels, strict=True)):
        unseen = [k for k, part in enumerate(chosen) if index not in part]
        if len(unseen) < 2:
            continue
        hot = int(np.argmin(np.abs(labelled.temperatures - HOT)))
        asked = [REFERENCE, labelled.temperatures[hot]]
        found = np.array([potentials[k].predict(snapshot.atoms, asked, derivatives=False).free_energy for k in unseen])
        true = snapshot.reference.free_energy + np.array([0.0, label.free_energy[hot]])
        ratios += list((found.mean(0) - true) / found.std(0, ddof=1))
    return potentials, rms(ratios)


def spread_table(sets: Sequence[Labelled], folder: Path) -> tuple[Table, dict[str, Any]]:
    """Returns how well two kinds of spread describe the errors: posterior, and committee of fits to some structures.

    Args:
        sets: training structures of each potential.
        folder: folder of the data.
    """
    cells, results, notes = [], {}, []
    for labelled in sets:
        found, facts, factor = _spreads(labelled, folder)
        cells += found
        results[str(len(labelled.snapshots))] = facts
        notes.append(f"{factor:.2f}")
    columns = (
        "training",
        "spread",
        "structures",
        "number",
        "rank correlation",
        "within 95 % (%)",
        "error (meV/atom)",
        "spread (meV/atom)",
    )
    title = "Spread of F of the potential against its error, all tau_e"
    note = f"Committees: {COMMITTEE} fits to three quarters of the structures, spreads times {' and '.join(notes)}."
    return Table("strained_spread", title, columns, cells, note), results


def _spreads(labelled: Labelled, folder: Path) -> tuple[list[list[str]], dict[str, Any], float]:
    """Returns cells, facts and the factor of the committee for the potential of some training structures."""
    rows = potential_table(labelled.potential(), folder)[1]
    potentials, factor = committee(labelled)
    structures = {(kind, name): atoms for kind in RUNS for name, atoms in written(folder, kind).items()}
    found = []
    for row in rows:
        atoms = structures[row["kind"], row["name"]]
        values = [p.predict(atoms, row["tau_e"], derivatives=False).free_energy for p in potentials]
        found.append(1000 * factor * float(np.std(values, ddof=1)) / len(atoms))
    errors, kinds = np.array([row["error"] for row in rows]), np.array([row["kind"] for row in rows])
    spreads = {"posterior": np.array([row["spread"] for row in rows]), "committee": np.array(found)}
    cells, results = [], {}
    for title, spread in spreads.items():
        for kind, part in {"all": kinds != "", **{kind: kinds == kind for kind in RUNS}}.items():
            facts = spread_facts(errors[part], spread[part])
            results[f"{title}_{kind}"] = facts
            cells.append(
                [
                    str(len(labelled.snapshots)),
                    title,
                    kind,
                    f"{facts['number']:.0f}",
                    f"{facts['rank_correlation']:.2f}",
                    f"{100 * facts['within_95_percent_interval']:.0f}",
                    digits(rms(errors[part])),
                    digits(rms(spread[part])),
                ]
            )
    return cells, results, factor


def recipe_table(labelled: Labelled, random: int, folder: Path) -> tuple[Table, dict[str, Any]]:
    """Returns errors of potentials from other training data: the same number of structures, or without strain.

    Args:
        labelled: all training snapshots; the first ``random`` are strained and rattled, the others are crystals.
        random: number of the first.
        folder: folder of the data.
    """
    every = list(range(len(labelled.snapshots)))
    ordered = every[random:]
    recipes = {
        f"{random} strained and rattled": every[:random],
        f"{random - len(ordered)} of these, {len(ordered)} crystals": [*every[: random - len(ordered)], *ordered],
        f"{len(every)}, all": every,
    }
    cells, results = [], {}
    for title, chosen in recipes.items():
        potential = labelled.some(chosen).potential()
        found = change_errors(changes(by_potential(potential), folder), folder)
        worst = [f"{row['worst_to_stress']:.0f}" for row in line_table(potential, folder)[1]]
        results[title] = found
        cells.append([title, *(digits(value, 2) for value in found.values()), "; ".join(worst)])
    names = (name.replace("_", ", ", 1).replace("_", " ") for name in found)
    title = "Potentials from other data: errors as above, and worst error of B along the line at each tau_e (%)"
    return Table("strained_recipes", title, ("training data", *names, "B"), cells), results


def line_table(potential: ThermalPotential, folder: Path) -> tuple[Table, list[dict[str, Any]]]:
    """Returns -dF/dV and local bulk moduli of the fcc line at each tau_e."""
    cells, rows = [], []
    for tau_e in RUNS["line"]:
        runs = runs_of(folder, "line", tau_e)
        if len(runs) < len(LINE):
            continue
        volumes = np.array([run.atoms.get_volume() for run in runs])
        own = np.array([run.free_energy for run in runs])
        found = np.array([potential.predict(run.atoms, tau_e).free_energy for run in runs])
        dft, ours = moduli(volumes, own), moduli(volumes, found)
        smooth = -volumes[1:-1] * np.gradient([run.pressure for run in runs], volumes)[1:-1]
        pressure = slopes(volumes, found) - slopes(volumes, own)
        moduli_of = {"dft": dft, "dft_stress": smooth, "potential": ours, "pressure": pressure}
        worst = {"worst_to_stress": 100 * float(np.abs(ours / smooth - 1).max())}
        rows.append({"tau_e": tau_e} | worst | {name: values.tolist() for name, values in moduli_of.items()})
        cells.append(
            [
                f"{tau_e:g}",
                digits(rms(pressure)),
                f"{dft.min():.0f} to {dft.max():.0f}",
                f"{smooth.min():.0f} to {smooth.max():.0f}",
                f"{ours.min():.0f} to {ours.max():.0f}",
                digits(100 * float(np.abs(ours / dft - 1).max()), 2),
                digits(100 * float(np.abs(ours / smooth - 1).max()), 2),
            ]
        )
    columns = (
        "tau_e (K)",
        "-dF/dV (GPa, rms error)",
        "B, F of DFT (GPa)",
        "B, stress of DFT",
        "B, F of the potential",
        "worst difference to F (%)",
        "to stress",
    )
    title = "fcc line, 17 lattice constants within 4 %: derivatives of F from differences in steps of 0.5 %"
    note = "Second differences of F of DFT scatter, because the number of plane waves changes in steps."
    return Table("strained_line", title, columns, cells, note), rows


def elastic_table(potential: ThermalPotential, folder: Path) -> tuple[Table, dict[str, Any]]:
    """Returns elastic constants of fcc at 4.05 Angstrom from differences of stress."""
    cells, results = [], {}
    for tau_e in RUNS["elastic"]:
        runs = {run.name: run for run in runs_of(folder, "elastic", tau_e)}
        if len(runs) < len(written(folder, "elastic")):
            continue
        ours = {name: potential.predict(run.atoms, tau_e).stress for name, run in runs.items()}
        own = {name: run.stress for name, run in runs.items()}
        pulay = {name: pulay_pressure(potential, run.atoms) / GPA * np.eye(3) for name, run in runs.items()}
        found = {
            "DFT": constants(own),
            "potential": constants(ours),
            "potential with Pulay part": constants({name: ours[name] - pulay[name] for name in ours}),
        }
        results[f"{tau_e:g}"] = found
        cells += [[f"{tau_e:g}", name, *(f"{value:.1f}" for value in values)] for name, values in found.items()]
    title = f"Elastic constants of fcc at {LATTICE} Å from stress at strains of ± {SMALL}, GPa"
    return Table("strained_elastic", title, ("tau_e (K)", "", "C11", "C12", "C44"), cells), results


def constants(stress: Mapping[str, np.ndarray]) -> tuple[float, float, float]:
    """Returns C11, C12 and C44, GPa, from stress by name of the strain."""
    tensile = (stress[f"tet{SMALL:+.3f}"] - stress[f"tet{-SMALL:+.3f}"]) / (2 * SMALL) * GPA
    shear = (stress[f"she{SMALL:+.3f}"] - stress[f"she{-SMALL:+.3f}"]) / (2 * SMALL) * GPA
    return float(tensile[0, 0]), float((tensile[1, 1] + tensile[2, 2]) / 2), float(shear[0, 1])


def on_fermi_levels(snapshots: Sequence[fermisea.Snapshot]) -> list[fermisea.Snapshot]:
    """Returns all snapshots with energies measured from their own Fermi levels, on a common grid."""
    levels = [snapshot.reference.fermi_level for snapshot in snapshots]
    grid = common_grid(snapshots[0].energy_grid, levels)
    return [shifted(snapshot, level, grid) for snapshot, level in zip(snapshots, levels, strict=True)]


def network(
    data: Sequence[fermisea.Snapshot], name: str, seed: int, folder: Path, energy_axis: str = "absolute"
) -> fermisea.Model:
    """Returns an ensemble for the LDOS, from a file if it exists."""
    path = folder / f"{name}-{seed}.safetensors"
    if not path.exists():
        started = time.perf_counter()
        # F of an LDOS with energies from mu_ref is not F of the DFT code
        config = replace(CONFIG, seed=100 * seed, energy_axis=energy_axis, allow_closure_error=True)
        train(fermisea.Dataset(tuple(data)), config).save(path)
        print(f"trained {path.name} in {time.perf_counter() - started:.0f} s", flush=True)
    return fermisea.load_model(path)


def printed_table(model: fermisea.Model, folder: Path) -> tuple[Table, dict[str, Any]]:
    """Returns how well the error printed beside F describes the errors of every F of a model with networks."""
    kinds, cells, results = ("test", "odd", "further"), [], {}
    for name in ("potential", "anchored", "ldos"):
        errors, printed = [], []
        for kind in kinds:
            for tau_e in (REFERENCE, HOT):
                for run in runs_of(folder, kind, tau_e):
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore", fermisea.DomainWarning)
                        found = model.predict(run.atoms, tau_e, free_energy=name, allow_outside=True)
                    atoms = len(run.atoms)
                    errors.append(1000 * (found.free_energy - run.free_energy) / atoms)
                    printed.append(1000 * found.free_energy_uncertainty / atoms)
        facts = results[name] = spread_facts(np.array(errors), np.array(printed))
        within = f"{100 * facts['within_95_percent_interval']:.0f}"
        cells.append(
            [
                name,
                f"{len(errors)}",
                f"{facts['rank_correlation']:.2f}",
                within,
                digits(rms(errors)),
                digits(rms(printed)),
            ]
        )
    columns = ("F", "number", "rank correlation", "within 95 % (%)", "error (meV/atom)", "printed error")
    title = f"The printed error of F against its error; {', '.join(kinds)} structures at 1 and 20 kK"
    return Table("strained_printed", title, columns, cells), results


def scaled(atoms: Atoms, strain: float) -> Atoms:
    """Returns a structure with every length multiplied by 1 + strain."""
    other = atoms.copy()
    other.set_cell((1 + strain) * atoms.cell.array, scale_atoms=True)
    return other


def identity_table(potential: ThermalPotential, model: fermisea.Model, folder: Path) -> tuple[Table, dict[str, Any]]:
    """Returns differences between the pressure from the stress and -dF/dV, and the smallest heat capacity.

    Args:
        potential: potential at every tau_e, which is also the anchor of the LDOS.
        model: LDOS without an anchor.
        folder: folder of the data.
    """
    whole = replace(model, anchor=potential.regular, thermal=potential.terms)
    names, cells, results = ("potential", "anchored", "ldos"), [], {}
    structures = list(written(folder, "test").values())[:4]
    for name in names:
        worst = {}
        for kind, step in (("fixed", 1e-3), ("default", 5e-3)):
            found = []
            for atoms in structures:
                shape = whole.predict(atoms, HOT, uncertainty=False).grid.shape
                options: dict[str, Any] = {"free_energy": name, "forces": True, "uncertainty": False}
                options["grid"] = shape if kind == "fixed" else None

                def predicted(strain: float, atoms: Atoms = atoms, options: dict[str, Any] = options) -> Any:
                    return whole.predict(scaled(atoms, strain), HOT, **options)

                low, lower, upper, high = (predicted(k * step).free_energy for k in (-2, -1, 1, 2))
                slope = (low - 8 * lower + 8 * upper - high) / (12 * step)
                from_stress = -float(np.trace(predicted(0.0).stress)) / 3 * GPA
                found.append((from_stress, -slope / (3 * atoms.get_volume()) * GPA))
            pairs = np.array(found)
            differences = np.abs(pairs[:, 0] - pairs[:, 1])
            worst[kind] = float((differences / np.abs(pairs[:, 0])).max() if kind == "fixed" else differences.max())
        results[name] = worst
        cells.append([name, f"{worst['fixed']:.1e}", f"{worst['default']:.1e}"])
    asked = np.geomspace(50.0, potential.highest_electron_temperature, 60)
    unseen = [atoms for kind in ("line", "test", "elastic") for atoms in written(folder, kind).values()]
    heat = [potential.predict(atoms, asked, derivatives=False).heat_capacity for atoms in unseen]
    results["smallest_heat_capacity"] = float(np.min(heat))
    columns = ("F", "fixed relative grid, relative", "default grids (GPa)")
    title = "Largest difference between the pressure from the stress and -dF/dV at 20,000 K, four strained structures"
    note = (
        f"C_e of the potential is positive for {len(unseen)} unseen structures from 50 K to "
        f"{potential.highest_electron_temperature:.0f} K."
        if results["smallest_heat_capacity"] > 0
        else "C_e of the potential is negative somewhere."
    )
    return Table("strained_identities", title, columns, cells, note), results


@dataclass(frozen=True)
class Change:
    """F(20 kK) - F(1 kK) of a structure, eV, its estimated error, eV, and the change of the forces, eV/Angstrom."""

    free_energy: float
    spread: float
    forces: np.ndarray


def by_potential(potential: ThermalPotential) -> Callable[[Atoms], Change]:
    """Returns the change of F and forces by the potential."""

    def predict(atoms: Atoms) -> Change:
        found = potential.predict(atoms, [REFERENCE, HOT])
        cold, hot = np.asarray(found.free_energy)
        own, whole = np.asarray(found.free_energy_std)
        return Change(float(hot - cold), float(np.sqrt(whole**2 - own**2)), found.forces[1] - found.forces[0])

    return predict


def by_network(model: fermisea.Model) -> Callable[[Atoms], Change]:
    """Returns the change of F and forces by the LDOS of a model."""

    def predict(atoms: Atoms) -> Change:
        found = model.predict(atoms, [REFERENCE, HOT], forces=True, anchor=False, allow_outside=True)
        cold, hot = np.asarray(found.ldos_free_energy)
        assert found.uncertainty is not None  # noqa: S101  # an ensemble
        spread = float(found.uncertainty.free_energy_change[1])
        return Change(float(hot - cold), spread, found.forces[1] - found.forces[0])

    return predict


Changes = Mapping[str, Sequence[Change]]
"""Changes by kind of structure, in the order of the runs."""


def changes(predict: Callable[[Atoms], Change], folder: Path) -> Changes:
    """Returns the changes of the structures with runs at both electronic temperatures."""
    kinds = ("line", "test", "odd")
    return {kind: [predict(run.atoms) for run in runs_of(folder, kind, HOT)] for kind in kinds}


def weighted(one: Changes, other: Changes) -> Changes:
    """Returns the means of two changes of each structure, with weights of one over the square of the spread."""
    found = {}
    for kind, pairs in ((kind, zip(one[kind], other[kind], strict=True)) for kind in one):
        found[kind] = []
        for a, b in pairs:
            share = b.spread**2 / (a.spread**2 + b.spread**2)
            spread = a.spread * b.spread / float(np.hypot(a.spread, b.spread))
            mean = share * a.free_energy + (1 - share) * b.free_energy
            found[kind].append(Change(mean, spread, share * a.forces + (1 - share) * b.forces))
    return found


def change_errors(found: Changes, folder: Path) -> dict[str, float]:
    """Returns errors of F(20 kK) - F(1 kK), of its derivatives along the line, and of its forces."""
    errors: dict[str, float] = {}
    for kind, ours in found.items():
        pairs = list(zip(runs_of(folder, kind, REFERENCE), runs_of(folder, kind, HOT), strict=True))
        own = np.array([hot.free_energy - cold.free_energy for cold, hot in pairs])
        energies = np.array([change.free_energy for change in ours])
        atoms = np.array([len(hot.atoms) for _, hot in pairs])
        errors[f"{kind}_free_energy"] = 1000 * rms((energies - own) / atoms)
        if kind == "line":
            volumes = np.array([hot.atoms.get_volume() for _, hot in pairs])
            errors["line_pressure"] = rms(slopes(volumes, energies) - slopes(volumes, own))
            differences = moduli(volumes, energies) - moduli(volumes, own)
            errors["line_modulus"] = float(np.abs(differences).max())
        else:
            wrong = [c.forces - (hot.forces - cold.forces) for c, (cold, hot) in zip(ours, pairs, strict=True)]
            errors[f"{kind}_forces"] = 1000 * rms(np.concatenate([e.ravel() for e in wrong]))
    return errors


def comparison(
    potential: ThermalPotential, snapshots: Sequence[fermisea.Snapshot], folder: Path, seeds: int
) -> tuple[Table, dict[str, Any]]:
    """Returns errors of F(20 kK) - F(1 kK) by the potential, by networks on both axes, and by weighted means."""
    place = OUTPUT / "strained"
    place.mkdir(parents=True, exist_ok=True)
    ours = changes(by_potential(potential), folder)
    results: dict[str, list[dict[str, float]]] = {"potential": [change_errors(ours, folder)]}
    moved = on_fermi_levels(snapshots)
    for name, (title, data) in {
        "absolute": ("LDOS, absolute energies", snapshots),
        "fermi": ("LDOS, energies from mu_ref", moved),
        "density": ("LDOS, energies from e_ref(n)", snapshots),
    }.items():
        axis = "density" if name == "density" else "absolute"
        networks = [changes(by_network(network(data, name, seed, place, axis)), folder) for seed in range(seeds)]
        results[title] = [change_errors(found, folder) for found in networks]
        both = title.replace("LDOS", "potential and LDOS")
        results[both] = [change_errors(weighted(ours, found), folder) for found in networks]
    names = list(results["potential"][0])
    cells = [
        [title, *("; ".join(digits(found[name], 2) for found in runs) for name in names)]
        for title, runs in results.items()
    ]
    title = "Errors of F(20 kK) - F(1 kK): F (meV/atom), pressure and worst local modulus (GPa), forces (meV/Å)"
    note = f"Ensembles of {MEMBERS}, one number for each seed. Potential and LDOS: means weighted by spreads."
    return Table(
        "strained_change", title, ("", *(name.replace("_", ", ", 1).replace("_", " ") for name in names)), cells, note
    ), results


def axis_table(snapshots: Sequence[fermisea.Snapshot], folder: Path, seeds: int) -> Table:
    """Returns errors of LDOS, DOS, density and Fermi level of the test structures on absolute energies and e_ref(n)."""
    unseen = list(fermisea.Dataset.load([folder / LDOS["test"]]))
    names = ("ldos_error_percent", "dos_error_percent", "density_error_percent", "fermi_level_error")
    cells = []
    for axis in ("absolute", "density"):
        errors = []
        for seed in range(seeds):
            model = network(snapshots, axis, seed, OUTPUT / "strained", axis)
            rows = fermisea.evaluate(model, unseen, [REFERENCE])
            errors.append([rms([row[name] for row in rows]) for name in names])
        means = np.array(errors)
        cells.append([f"LDOS, {axis}", *("; ".join(digits(float(v), 3) for v in column) for column in means.T)])
    columns = ("energies", "LDOS (%)", "DOS (%)", "density (%)", "mu (eV)")
    title = "Strained and rattled test structures at tau_ref: rms errors on two energy axes"
    return Table("strained_axis", title, columns, cells, f"Ensembles of {MEMBERS}, one number for each seed.")


def main() -> None:
    """Fits, compares, prints tables and writes JSON."""
    parser = options(__doc__, "strained", 3)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--potential-only", action="store_true", help="no networks")
    values = parse(parser)
    torch.set_num_threads(1)
    first = list(fermisea.Dataset.load([values.folder / LDOS["train"]]))
    crystals = list(fermisea.Dataset.load([values.folder / LDOS["ordered"]]))
    highest = min(snapshot.highest_electron_temperature for snapshot in (*first, *crystals))
    labelled = Labelled.of([*first, *crystals], highest)
    potential = labelled.potential()
    table, rows = potential_table(potential, values.folder)
    lines, line_rows = line_table(potential, values.folder)
    elastic, elastic_results = elastic_table(potential, values.folder)
    spread, spread_results = spread_table([labelled.some(range(len(first))), labelled], values.folder)
    recipes, recipe_results = recipe_table(labelled, len(first), values.folder)
    tables = [table, lines, elastic, spread, recipes]
    results: dict[str, Any] = {
        "structures": rows,
        "line": line_rows,
        "elastic": elastic_results,
        "spread": spread_results,
        "recipes": recipe_results,
        "left_out": dict(potential.terms.provenance) | {"regular": dict(potential.regular.provenance)},
    }
    if not values.potential_only:
        same = labelled.some(range(len(first))).potential()
        changed, results["change"] = comparison(same, first, values.folder, values.repeat)
        model = network(first, "density", 0, OUTPUT / "strained", "density")
        identities, results["identities"] = identity_table(potential, model, values.folder)
        printed, results["printed"] = printed_table(
            replace(model, anchor=same.regular, thermal=same.terms), values.folder
        )
        tables += [changed, identities, axis_table(first, values.folder, values.repeat), printed]
    finish(values, tables, results)


if __name__ == "__main__":
    main()
