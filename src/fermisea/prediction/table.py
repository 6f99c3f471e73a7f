"""A prediction as rows of numbers, as a pandas table and as a few printed lines."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fermisea.physics.registry import OBSERVABLES, SCALARS, SHORT_CUT_UNIT, per_atom_unit, with_unit
from fermisea.prediction.spread import spreads_of, uncertainty_of
from fermisea.prediction.values import PredictionValues
from fermisea.utilities.counts import counted
from fermisea.utilities.signs import spelt
from fermisea.utilities.tables import data_frame

if TYPE_CHECKING:
    import pandas as pd


_ORIGINS = {
    "potential": "F, S and C_e of the potential",
    "anchored": "F anchored",
    "ldos": "F from the LDOS alone",
}
"""Sentences about the origin of F."""

_PRINTED = 12
"""Largest number of electronic temperatures in the printed form of a prediction."""

_SMALL_TAIL = 1e-5
"""Largest error of the tail that is not printed, eV per atom."""


def rows_of(prediction: PredictionValues, *, per_atom: bool = False) -> list[dict[str, float]]:
    """Returns a row of numbers for each tau_e.

    Rows hold the available observables of the registry, NaN where one is known at other tau_e only, the estimated
    errors of short cuts, the spread of potential or networks as NAME_std, and free_energy_uncertainty.

    Args:
        prediction: observables at one or several tau_e.
        per_atom: whether to divide extensive observables by the number of atoms.
    """
    atoms = len(prediction.atoms)
    spread = spreads_of(prediction)
    uncertainty = uncertainty_of(prediction)
    numbers = [{o.name: float(o.getter(result)) for o in SCALARS if o.written} for result in prediction.results]
    known = [name for name in numbers[0] if not all(math.isnan(values[name]) for values in numbers)]
    rows = []
    for index, values in enumerate(numbers):
        row = {name: values[name] for name in known}
        row |= {name: errors[index] for name, errors in prediction.errors.items()}
        row |= {f"{name}_std": float(deviations[index]) for name, deviations in spread.items()}
        if not math.isnan(uncertainty[index]):
            row["free_energy_uncertainty"] = float(uncertainty[index])
        if per_atom:
            row = {name: value / atoms if _extensive(name) else value for name, value in row.items()}
        rows.append(row)
    return rows


def table_of(prediction: PredictionValues, *, per_atom: bool = False) -> pd.DataFrame:
    """Returns the rows of a prediction as a table with units in the column headings; see :func:`rows_of`."""
    rows = rows_of(prediction, per_atom=per_atom)
    return data_frame(rows, {name: head_of(name, per_atom=per_atom) for name in rows[0]})


def head_of(name: str, *, per_atom: bool = False) -> str:
    """Returns the heading of a column of :func:`rows_of`, such as ``"free_energy_std (eV)"``."""
    return with_unit(name, unit_of(name, per_atom=per_atom))


def unit_of(name: str, *, per_atom: bool = False) -> str:
    """Returns the unit of a column of :func:`rows_of`."""
    observable = OBSERVABLES.get(name.removesuffix("_std"))
    unit = SHORT_CUT_UNIT if observable is None else observable.unit
    return per_atom_unit(unit) if per_atom and _extensive(name) else unit


def described(prediction: PredictionValues) -> str:
    """Returns a prediction in a few lines: structure, grid, anchor, and a small table for the cell."""
    atoms, spread, potential = prediction.atoms, prediction.uncertainty, prediction.origin == "potential"
    grid = " x ".join(map(str, prediction.grid.shape))
    references = (prediction.reference_electron_temperature, *prediction.further_references)
    if prediction.processes.count > 1:
        own = prediction.processes.part(prediction.grid.shape[0])
        grid += f", planes {own.start} to {own.stop - 1} of the density on this process"
    facts = [f"grid {grid}", f"tau_ref = {', '.join(f'{t:g}' for t in references)} K"]
    if spread is not None and not potential:
        facts.append(f"spread of {len(spread.members)} networks as std")
    if prediction.has_free_energy:
        facts.append(_ORIGINS[prediction.origin])
        if prediction.thermal_xc is not None:
            facts.append(f"F at tau_e with {prediction.thermal_xc}, LDOS of {prediction.functional}")
    above = max(prediction.results, key=lambda result: result.tail_error)
    if above.tail_error >= _SMALL_TAIL * len(atoms):
        facts.append(
            f"{above.tail_electrons:.2g} electrons above the energy window at {above.electron_temperature:g} K with an "
            f"error of F of {above.tail_error:.2g} eV"
        )
    energy = "free_energy" if prediction.has_free_energy else "band_energy"
    forms = {"electron_temperature": ":g", energy: ":.4f", f"{energy}_std": ":.1e"}
    forms |= {"entropy": ":.3e", "fermi_level": ":.4f", "heat_capacity": ":.3e"}
    rows = prediction.rows()
    cells = [
        [_symbol(name) for name in forms if name in rows[0]],
        *([f"{{{form}}}".format(row[name]) for name, form in forms.items() if name in row] for row in rows[:_PRINTED]),
    ]
    if prediction.origin == "anchored" and spread is not None:  # networks share F(tau_ref)
        for line, row in zip(cells[1:], rows, strict=False):
            if row["electron_temperature"] in references:
                line[2] = "-"
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [f"Prediction of {atoms.get_chemical_formula()}, {counted(len(atoms), 'atom')}", ", ".join(facts)]
    lines += ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]
    if len(rows) > _PRINTED:
        lines.append(f"... and {len(rows) - _PRINTED} more electronic temperatures")
    lines += [f"warning: {warning}" for warning in prediction.warnings]
    return spelt("\n".join(lines), "ascii")


def _symbol(name: str) -> str:
    observable = OBSERVABLES[name.removesuffix("_std")]
    return f"std ({observable.unit})" if name.endswith("_std") else observable.label()


def _extensive(name: str) -> bool:
    observable = OBSERVABLES.get(name.removesuffix("_std"))
    return observable is None or observable.extensive
