"""Errors of each model against test structures and self-consistent runs, stored in one file for each model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from fermisea.analysis.evaluation import evaluate
from fermisea.data.dataset import Dataset
from fermisea.model.model import Model
from fermisea.physics.registry import FORMS
from fermisea.prediction.plausibility import domain_warnings_ignored
from fermisea.studies.folder import Rows, stored_rows
from fermisea.studies.transfer.references import Reference

MEMORY = 2**30
"""Memory for hidden layers, bytes; enough for five networks on the grid of a 32-atom cell."""


def evaluated(
    name: str,
    model: Model,
    tests: Dataset,
    electron_temperatures: Sequence[float],
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> Rows:
    """Returns the rows of :func:`fermisea.evaluate` with the name of the model, from the folder if available.

    Args:
        name: name of the model.
        model: model of the study, identified by its provenance.
        tests: test structures.
        electron_temperatures: tau_e, K.
        folder: folder of the results.
        progress: callback with the number of structures done and the total number.
    """
    key = [model.provenance["study"], list(map(float, electron_temperatures)), len(tests)]
    return stored_rows(
        folder / f"{name}.json",
        key,
        lambda: [
            {"model": name} | row
            for row in evaluate(model, tests, electron_temperatures, memory=MEMORY, progress=progress)
        ],
    )


def transferred(
    name: str, model: Model, tests: Dataset, references: Sequence[Reference], reference_temperature: float, folder: Path
) -> Rows:
    """Returns errors of F(tau_e) - F(tau_ref) and of F against self-consistent runs, for each form of F.

    Columns: model, name, ion_temperature, electron_temperature, change (of DFT), change_error_FORM, change_spread (of
    the members, second-order form), anchored_free_energy_error, free_energy_error, fermi_level_error,
    entropy_term_error; eV per atom, K.

    Args:
        name: name of the model.
        model: model of the study.
        tests: test structures, including the first one of each ionic temperature.
        references: self-consistent runs, excluding runs at tau_ref.
        reference_temperature: tau_ref, K.
        folder: folder of the results.
    """
    key = [model.provenance["study"], [[r.name, r.electron_temperature, r.free_energy] for r in references]]
    starts = {Path(file).stem: snapshot for file, snapshot in zip(tests.names, tests, strict=True)}

    def compute() -> Rows:
        rows: Rows = []
        for structure in dict.fromkeys(r.name for r in references):
            chosen = [r for r in references if r.name == structure]
            snapshot, atoms = starts[structure], len(starts[structure].atoms)
            temperatures = [reference_temperature, *(r.electron_temperature for r in chosen)]
            with domain_warnings_ignored():
                predicted = model.predict(
                    snapshot.atoms, temperatures, snapshot.grid, anchor=False, allow_outside=True, memory=MEMORY
                )
            start = snapshot.reference.free_energy
            for index, run in enumerate(chosen, start=1):
                change = run.free_energy - start
                forms = {form: predicted.free_energy_by(form) for form in FORMS}
                spread = predicted.uncertainty
                anchored = np.asarray(predicted.anchored_free_energy)
                rows.append(
                    {
                        "model": name,
                        "name": structure,
                        "ion_temperature": run.ion_temperature,
                        "electron_temperature": run.electron_temperature,
                        "change": change / atoms,
                        **{
                            f"change_error_{form}": float(values[index] - values[0] - change) / atoms
                            for form, values in forms.items()
                        },
                        "change_spread": None if spread is None else float(spread.free_energy_change[index]) / atoms,
                        "anchored_free_energy_error": float(anchored[index] - run.free_energy) / atoms,
                        "free_energy_error": float(forms["second_order"][index] - run.free_energy) / atoms,
                        "fermi_level_error": float(predicted.fermi_level[index] - run.fermi_level),
                        "entropy_term_error": float(
                            -run.electron_temperature * predicted.entropy[index] - run.entropy_term
                        )
                        / atoms,
                    }
                )
        return rows

    return stored_rows(folder / f"{name}.json", key, compute)
