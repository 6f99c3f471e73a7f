"""Tables of the study as plain rows, the source of its figures and text."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from fermisea.data.dataset import Dataset
from fermisea.data.sealed_file import stored_checksum
from fermisea.model.model import Model
from fermisea.physics.error_measures import ERROR_MEASURES
from fermisea.physics.registry import FORMS, milli, with_unit
from fermisea.prediction.plausibility import domain_warnings_ignored
from fermisea.studies.transfer.references import Reference
from fermisea.units import BOLTZMANN, GIGAPASCAL

Rows = list[dict[str, Any]]

_SHOWN = (
    "ldos_error_percent",
    "density_error_percent",
    "dos_error_percent",
    "fermi_level_error",
    "band_energy_error",
    "entropy_term_error",
    "free_energy_error",
    "free_energy_change_error",
    "anchored_free_energy_error",
)
COLUMNS = {
    name: with_unit(measure.symbol, measure.unit if measure.unit == "%" else "")
    for name, measure in ((name, ERROR_MEASURES[name]) for name in _SHOWN)
}
"""Errors that the tables hold, and their titles."""

_COMPARED = {name: measure.unit for name, measure in ERROR_MEASURES.items()} | dict.fromkeys(
    (
        "change",
        "change_spread",
        *(f"change_error_{form}" for form in FORMS),
        "k_mesh_offset",
        "free_energy_error_without_offset",
        "anchored_free_energy_error_without_offset",
    ),
    "eV/atom",
)
"""Units of the comparisons with self-consistent runs and with a cell of another size, by column."""


def provenance_rows(parts: Mapping[str, Dataset]) -> Rows:
    """Returns one row for each snapshot: name, part, tau_i, free energy, closure error and file checksum."""
    rows: Rows = []
    for part, dataset in parts.items():
        for file, snapshot in zip(dataset.names, dataset, strict=True):
            atoms = len(snapshot.atoms)
            rows.append(
                {
                    "name": Path(file).stem,
                    "part": part,
                    "atoms": atoms,
                    "ion_temperature_K": snapshot.ion_temperature,
                    "volume_A3_per_atom": snapshot.grid.volume / atoms,
                    "free_energy_eV_per_atom": snapshot.reference.free_energy / atoms,
                    "fermi_level_eV": snapshot.reference.fermi_level,
                    "closure_error_meV_per_atom": 1000 * snapshot.closure_error() / atoms,
                    "sha256": stored_checksum(file),
                }
            )
    return rows


def error_rows(evaluations: Iterable[Rows]) -> Rows:
    """Returns mean absolute errors of each model at each tau_i and tau_e, and over all tau_i (``all``).

    Energies are in meV, per atom except for mu. NAME_spread is the standard deviation of the mean absolute errors of
    the single networks of the ensemble; NAME_worst is the error at the worst ionic temperature, in the rows of all.
    """
    table: Rows = []
    for rows in evaluations:
        ions = sorted({row["ion_temperature"] for row in rows})
        for electron in sorted({row["electron_temperature"] for row in rows}):
            at = [row for row in rows if row["electron_temperature"] == electron]
            each = [_means([row for row in at if row["ion_temperature"] == ion], ion, electron) for ion in ions]
            whole = _means(at, "all", electron)
            for name in COLUMNS:
                if name in whole:
                    whole[f"{name}_worst"] = max(entry[name] for entry in each)
            table += [*({**entry, **{f"{n}_worst": None for n in COLUMNS if n in entry}} for entry in each), whole]
    return table


def _means(rows: Rows, ion_temperature: float | str, electron_temperature: float) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "model": rows[0]["model"],
        "ion_temperature": ion_temperature,
        "electron_temperature": electron_temperature,
        "structures": len(rows),
    }
    for name in COLUMNS:
        if name in rows[0]:
            factor, _ = milli(ERROR_MEASURES[name].unit)
            entry[name] = factor * statistics.fmean(abs(row[name]) for row in rows)
            members = f"{name.replace('_error', '')}_member_errors"
            if members in rows[0]:
                own = np.abs([row[members] for row in rows]).mean(axis=0)
                entry[f"{name}_spread"] = factor * float(own.std(ddof=1))
    return entry


def side_by_side_rows(errors: Rows, models: Sequence[str]) -> Rows:
    """Returns the mean absolute errors over all tau_i of some models, with the spread over their networks, by tau_e.

    Args:
        errors: rows of :func:`error_rows`.
        models: models to show.
    """
    table: Rows = []
    for row in errors:
        if row["model"] not in models or row["ion_temperature"] != "all":
            continue
        entry = {name: row[name] for name in ("model", "electron_temperature", "structures")}
        for name, title in COLUMNS.items():
            if name in row:
                _, unit = milli(ERROR_MEASURES[name].unit)
                heading = title if unit == "%" else with_unit(title, unit)
                entry[heading] = row[name]
                if f"{name}_spread" in row:
                    entry[f"± {heading}"] = row[f"{name}_spread"]
        table.append(entry)
    return table


def in_mev(rows: Rows) -> Rows:
    """Returns rows of comparisons with energies in meV, per atom except for mu."""
    return [
        {
            name: milli(_COMPARED.get(name, ""))[0] * value if isinstance(value, float) else value
            for name, value in row.items()
        }
        for row in rows
    ]


def transfer_rows(comparisons: Iterable[Rows]) -> Rows:
    """Returns errors against self-consistent runs of each model and tau_e, meV/atom: mean and worst over tau_i."""
    table: Rows = []
    for rows in comparisons:
        for electron in sorted({row["electron_temperature"] for row in rows}):
            at = [row for row in rows if row["electron_temperature"] == electron]
            entry: dict[str, Any] = {
                "model": at[0]["model"],
                "electron_temperature": electron,
                "structures": len(at),
                "change": 1000 * statistics.fmean(row["change"] for row in at),
            }
            if at[0]["change_spread"] is not None:
                entry["change_spread"] = 1000 * statistics.fmean(row["change_spread"] for row in at)
            for name in (
                *(f"change_error_{form}" for form in FORMS),
                "free_energy_error",
                "anchored_free_energy_error",
            ):
                values = [1000 * abs(row[name]) for row in at]
                entry[name], entry[f"{name}_worst"] = statistics.fmean(values), max(values)
            table.append(entry)
    return table


def free_energy_rows(models: Mapping[str, Model], evaluations: Mapping[str, Rows], tests: Dataset) -> Rows:
    """Returns F at tau_ref against tau_i, of DFT and of models, eV/atom, averaged over the test structures.

    Args:
        models: models to show.
        evaluations: rows of each model.
        tests: the test structures, in the order of the rows.
    """
    table: Rows = []
    for ion in tests.ion_temperatures:
        chosen = [(k, s) for k, s in enumerate(tests) if s.ion_temperature == ion]
        entry: dict[str, Any] = {
            "ion_temperature": ion,
            "dft": statistics.fmean(s.reference.free_energy / len(s.atoms) for _, s in chosen),
        }
        for name in models:
            rows = {
                row["snapshot"]: row
                for row in evaluations[name]
                if row["electron_temperature"] == tests.electron_temperature
            }
            for kind in ("anchored_free_energy_error", "reference_error"):
                error = statistics.fmean(rows[k][kind] for k, _ in chosen)
                title = "anchored" if kind.startswith("anchored") else "LDOS"
                entry[f"{name}, {title}"] = entry["dft"] + error
        table.append(entry)
    return table


def force_rows(models: Mapping[str, Model], tests: Dataset) -> Rows:
    """Returns errors of forces and pressure of the anchored F at tau_ref, by tau_i and over all (``all``).

    At tau_ref they are the forces and the pressure of the regular model. Columns: model, ion_temperature, structures,
    force_error (mean absolute, of components, meV/Angstrom), pressure_error_GPa (mean absolute).

    Args:
        models: models with an anchor, by name.
        tests: structures with forces and stress.
    """
    table: Rows = []
    for name, model in models.items():
        if model.anchor is None:
            continue
        errors = []
        for snapshot in tests:
            true = snapshot.reference
            if true.forces is None or true.stress is None:
                continue
            own = model.anchor.predict(snapshot.atoms)
            force = 1000 * float(np.abs(own.forces - true.forces).mean())
            pressure = float(abs(np.trace(own.stress - true.stress))) / 3 / GIGAPASCAL
            errors.append((snapshot.ion_temperature, force, pressure))
        groups: list[float | str] = [*tests.ion_temperatures, "all"]
        for group in groups:
            chosen = [(force, pressure) for ion, force, pressure in errors if group in (ion, "all")]
            if chosen:
                force, pressure = np.mean(chosen, axis=0).tolist()
                table.append(
                    {
                        "model": name,
                        "ion_temperature": group,
                        "structures": len(chosen),
                        "force_error": force,
                        "pressure_error_GPa": pressure,
                    }
                )
    return table


def curve_rows(
    model: Model, atoms: Atoms, references: Sequence[Reference], reference_energy: float, highest: float
) -> Rows:
    """Returns F against tau_e of one structure: DFT where there is a run, the forms of the LDOS, and the regular model.

    All values are in eV/atom and, except for DFT, anchored at tau_ref.

    Args:
        model: model with an anchor.
        atoms: the structure.
        references: self-consistent runs of the structure.
        reference_energy: F of DFT at tau_ref, eV.
        highest: highest tau_e of the curve, K.
    """
    at_reference = model.reference_electron_temperature
    runs = {run.electron_temperature: run.free_energy for run in references} | {at_reference: reference_energy}
    temperatures = sorted({*np.linspace(300.0, highest, 40).tolist(), *runs})
    with domain_warnings_ignored():
        predicted = model.predict(atoms, temperatures, uncertainty=False, anchor=True, allow_outside=True)
    start = temperatures.index(at_reference)
    count = len(atoms)
    regular = float(predicted.anchored_free_energy[start])
    naive = predicted.free_energy_by("naive")
    return [
        {
            "electron_temperature": temperature,
            "dft": runs[temperature] / count if temperature in runs else None,
            "second_order": float(predicted.anchored_free_energy[k]) / count,
            "naive": float(naive[k] - naive[start] + regular) / count,
            "regular": regular / count,
        }
        for k, temperature in enumerate(temperatures)
    ]


def dos_rows(energies: Sequence[float], at_reference: Sequence[float], references: Sequence[Reference]) -> Rows:
    """Returns the DOS of DFT at tau_ref and at other tau_e, 1/eV; empty above the highest bands."""
    columns = {"tau_ref": list(at_reference)} | {f"{run.electron_temperature:g} K": run.dos for run in references}
    return [
        {"energy": energy} | {name: values[k] if k < len(values) else None for name, values in columns.items()}
        for k, energy in enumerate(energies)
    ]


def dos_change_rows(
    energies: np.ndarray[Any, Any],
    at_reference: np.ndarray[Any, Any],
    electrons: float,
    references: Sequence[Reference],
) -> Rows:
    """Returns how much the DOS itself changes with tau_e, below mu + 4 k_B tau_e.

    Columns: electron_temperature; change_percent: integral of |D(tau_e) - D(tau_ref)| over the integral of D(tau_ref);
    shift: shift of the centre of the occupied states, eV.

    Args:
        energies: energies, eV.
        at_reference: DOS at tau_ref, 1/eV.
        electrons: number of electrons in the cell.
        references: self-consistent runs of the same structure.
    """
    rows: Rows = []
    for run in references:
        reach = min(run.fermi_level + 4 * BOLTZMANN * run.electron_temperature, energies[len(run.dos) - 1])
        part = energies <= reach
        one, other = np.asarray(at_reference)[part], np.asarray(run.dos)[: part.sum()]
        filled = np.cumsum(one) * (energies[1] - energies[0]) <= electrons
        centre = [float(np.sum(d[filled] * energies[part][filled]) / np.sum(d[filled])) for d in (other, one)]
        rows.append(
            {
                "electron_temperature": run.electron_temperature,
                "reach": float(reach),
                "change_percent": 100 * float(np.abs(other - one).sum() / one.sum()),
                "shift": centre[0] - centre[1],
            }
        )
    return rows
