"""Errors of the model for structures outside of its training data, one row for each structure and tau_e."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fermisea.data.snapshot import Snapshot
from fermisea.model.model import Model
from fermisea.physics.error_measures import percent_error
from fermisea.prediction.origin import FreeEnergy
from fermisea.prediction.plausibility import domain_warnings_ignored
from fermisea.prediction.result import Prediction
from fermisea.studies.aluminium.predicted import pulay_part
from fermisea.studies.aluminium.properties import Result, pressure
from fermisea.studies.folder import Rows, stored_rows

ORIGINS: tuple[FreeEnergy, ...] = ("potential", "anchored", "ldos")
"""Origins of F, all of which are compared."""

LEFT_OUT = "left_out"
"""Origin of F in the table of estimated errors: the potential, fitted without the training structure."""


def kind_of(name: str) -> str:
    """Returns the kind of a structure from its name."""
    return name.removeprefix("test-").rsplit("-", 1)[0]


def snapshot_rows(
    model: Model,
    name: str,
    snapshots: Sequence[Snapshot],
    folder: Path,
) -> Rows:
    """Returns a row for each tau_ref of one structure, from the folder if available.

    Energies are in eV per atom, forces in eV/Angstrom, pressures in GPa. Errors are prediction minus DFT. Columns:
        name, kind, atoms, volume, ion_temperature, electron_temperature: the structure, Angstrom^3 per atom, K.
        free_energy, ORIGIN_error, ORIGIN_std: F of DFT, error for each origin of F, estimated standard error.
        force, force_error: root mean square of the components.
        pressure, pressure_error: of DFT without the Pulay part of its stress.
        density_error_percent: mean absolute error over the mean.
        heat_capacity_error_percent: relative error of C_e against the LDOS of the snapshot.
        warnings: kinds of the warnings of the prediction.
        prediction_seconds: CPU time of anchored F and the density at all tau_ref; None in results without it.

    Args:
        model: model of the study, identified by its provenance.
        name: name of the structure.
        snapshots: its snapshots, one for each tau_ref.
        folder: folder of the results.
    """
    key = [model.provenance["study"], [snapshot.reference.free_energy for snapshot in snapshots]]

    def compute() -> Rows:
        return _rows(model, name, snapshots)

    return [{"prediction_seconds": None} | row for row in stored_rows(folder / f"{name}.json", key, compute)]


def _rows(model: Model, name: str, snapshots: Sequence[Snapshot]) -> Rows:
    atoms = snapshots[0].atoms
    number, volume = len(atoms), atoms.get_volume()
    wanted = [snapshot.electron_temperature for snapshot in snapshots]
    with domain_warnings_ignored():
        by_origin: dict[str, Prediction] = {}
        seconds: dict[str, float] = {}
        for origin in ORIGINS:
            start = time.process_time()
            by_origin[origin] = model.predict(
                atoms,
                wanted,
                snapshots[0].grid,
                free_energy=origin,
                forces=origin == "potential",
                allow_outside=True,
            )
            seconds[origin] = time.process_time() - start
    first = by_origin["potential"]
    rows: Rows = []
    for index, snapshot in enumerate(snapshots):
        reference = snapshot.reference
        assert reference.forces is not None and reference.stress is not None  # noqa: S101, PT018  # of this engine
        heat_capacity = snapshot.observables([snapshot.electron_temperature])[0].heat_capacity
        stress = np.asarray(reference.stress) - pulay_part(model, atoms, snapshot.electron_temperature)
        dft = pressure(stress)
        rows.append(
            {
                "name": name,
                "kind": kind_of(name),
                "atoms": number,
                "volume": volume / number,
                "ion_temperature": snapshot.ion_temperature,
                "electron_temperature": snapshot.electron_temperature,
                "free_energy": reference.free_energy / number,
                **{
                    f"{origin}_error": float(p.free_energy[index] - reference.free_energy) / number
                    for origin, p in by_origin.items()
                },
                **{
                    f"{origin}_std": float(p.free_energy_uncertainty[index]) / number for origin, p in by_origin.items()
                },
                "force": rms(reference.forces),
                "force_error": rms(first.forces[index] - reference.forces),
                "pressure": dft,
                "pressure_error": pressure(first.stress[index]) - dft,
                "density_error_percent": percent_error(first.density[index], snapshot.density),
                "heat_capacity_error_percent": 100 * float(first.heat_capacity[index] / heat_capacity - 1),
                "warnings": sorted({text.split(":")[0] for text in first.warnings}),
                "prediction_seconds": seconds["anchored"],
            }
        )
    return rows


def hot_rows(
    model: Model, name: str, snapshots: Sequence[Snapshot], runs: Mapping[float, Result], folder: Path
) -> Rows:
    """Returns rows for each self-consistent run of one test structure, from the folder if available.

    Each run is compared with the snapshot at every lower tau_ref. Columns:
        name, kind, start, electron_temperature: the structure, tau_ref and tau_e, K.
        change, ORIGIN_error: F(tau_e) - F(tau_ref) of DFT, and the error for each origin of F, eV per atom; NaN for
            the potential above its highest tau_e.
        force, force_error: root mean square of the components at tau_e, eV/Angstrom; None above this tau_e.
        tail_error: estimated error of the tail of the LDOS, eV per atom.

    Args:
        model: model of the study.
        name: name of the structure.
        snapshots: its snapshots, by ascending tau_ref.
        runs: self-consistent runs by tau_e.
        folder: folder of the results.
    """
    key = [model.provenance["study"], [[tau_e, run.free_energy] for tau_e, run in runs.items()]]

    def compute() -> Rows:
        temperatures = [*(s.electron_temperature for s in snapshots), *runs]
        atoms = snapshots[0].atoms
        potential = model.potential()
        served = [t for t in runs if t <= potential.highest_electron_temperature]
        with domain_warnings_ignored():
            p = model.predict(
                atoms,
                temperatures,
                snapshots[0].grid,
                free_energy="anchored",
                uncertainty=False,
                allow_outside=True,
            )
            forces = dict(zip(served, potential.predict(atoms, served).forces, strict=True)) if served else {}
        found = {origin: getattr(p, f"{origin}_free_energy") for origin in ORIGINS}
        rows: Rows = []
        pairs = [
            (base, index, tau_e, run)
            for index, (tau_e, run) in enumerate(runs.items(), start=len(snapshots))
            for base, snapshot in enumerate(snapshots)
            if snapshot.electron_temperature < tau_e
        ]
        for base, index, tau_e, run in pairs:
            change = run.free_energy - snapshots[base].reference.free_energy
            rows.append(
                {
                    "name": name,
                    "kind": kind_of(name),
                    "start": temperatures[base],
                    "electron_temperature": tau_e,
                    "change": change / len(atoms),
                    **{
                        f"{origin}_error": float(values[index] - values[base] - change) / len(atoms)
                        for origin, values in found.items()
                    },
                    "force": rms(run.forces),
                    "force_error": rms(forces[tau_e] - run.forces) if tau_e in forces else None,
                    "tail_error": float(p.tail_error[index]) / len(atoms),
                }
            )
        return rows

    return stored_rows(folder / f"{name}-hot.json", key, compute)


def rms(values: Any) -> float:
    """Returns the root mean square."""
    return float(np.sqrt(np.mean(np.square(values))))
