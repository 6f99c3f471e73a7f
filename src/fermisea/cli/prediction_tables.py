"""Tables and notes of a prediction, for the terminal and the report."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fermisea.physics.registry import OBSERVABLES, milli, per_atom_unit, with_unit
from fermisea.units import BOLTZMANN, GIGAPASCAL

if TYPE_CHECKING:
    from fermisea.model.model import Model
    from fermisea.prediction.result import Prediction

Columns = tuple[list[str], list[tuple[str, ...]]]
"""Headings and rows of a printed table."""

NONE = "—"
"""Cell of an error that is zero by construction."""

SMALL_TAIL = 0.01
"""Largest estimated error of the tail that is not printed, meV/atom."""


def references_of(prediction: Prediction) -> tuple[float, ...]:
    """Returns every tau_ref that contributes to a prediction, K."""
    return (prediction.reference_electron_temperature, *prediction.further_references)


def energy_rows(prediction: Prediction) -> list[dict[str, Any]]:
    """Returns the most important numbers per atom at each tau_e, by heading.

    These are F (E_b without total energies), its estimated error, transfer error, -TS, mu and C_e. Without total
    energies, the error is the spread over an ensemble. A transfer error that is zero by construction is None.
    """
    atoms, references = len(prediction.atoms), references_of(prediction)
    energy = "free_energy" if prediction.has_free_energy else "band_energy"
    factor, unit = milli(per_atom_unit(OBSERVABLES[energy].unit))
    rows = []
    for result, row in zip(prediction.results, prediction.rows(per_atom=True), strict=True):
        at_reference = row["electron_temperature"] in references
        found: dict[str, Any] = {OBSERVABLES["electron_temperature"].label(): row["electron_temperature"]}
        found[OBSERVABLES[energy].label(per_atom=True)] = row[energy]
        error = "free_energy_uncertainty" if prediction.has_free_energy else "band_energy_std"
        if error in row:
            found[with_unit("error", unit)] = factor * row[error]
        if prediction.has_free_energy:
            value = None if at_reference else factor * row["transfer_error"]
            found[with_unit(OBSERVABLES["transfer_error"].symbol, unit)] = value
        found[OBSERVABLES["entropy_term"].label(per_atom=True)] = result.entropy_term / atoms
        found[OBSERVABLES["fermi_level"].label()] = row["fermi_level"]
        found[with_unit(OBSERVABLES["heat_capacity"].symbol, "k_B/atom")] = row["heat_capacity"] / BOLTZMANN
        rows.append(found)
    return rows


def energy_columns(prediction: Prediction) -> Columns:
    """Returns headings and cells of the table of energies per atom."""
    rows = energy_rows(prediction)
    decimals = {"K": "g", "eV/atom": ".5f", "meV/atom": ".3f", "eV": ".4f", "k_B/atom": ".4f"}
    forms = [decimals[head.rpartition("(")[2].removesuffix(")")] for head in rows[0]]
    cells = [
        tuple(NONE if value is None else format(value, form) for value, form in zip(row.values(), forms, strict=True))
        for row in rows
    ]
    return list(rows[0]), cells


def mechanical_rows(prediction: Prediction) -> list[dict[str, float]]:
    """Returns size and sum of the forces, and the pressure, at each tau_e, by heading."""
    rows = []
    for result, found in zip(prediction.results, prediction.mechanics or (), strict=True):
        lengths = np.linalg.norm(found.forces, axis=1)
        rows.append(
            {
                OBSERVABLES["electron_temperature"].label(): result.electron_temperature,
                "rms force (eV/Å)": math.sqrt(float(np.mean(lengths**2))),
                "largest force (eV/Å)": float(lengths.max()),
                "sum of forces (eV/Å)": float(np.linalg.norm(found.forces.sum(axis=0))),
                "pressure (GPa)": -float(np.trace(found.stress)) / 3 / GIGAPASCAL,
            }
        )
    return rows


def mechanical_columns(prediction: Prediction) -> Columns:
    """Returns headings and cells of the table of forces and stress."""
    rows = mechanical_rows(prediction)
    forms = ("g", ".4f", ".4f", ".1e", ".3f")
    return list(rows[0]), [tuple(map(format, row.values(), forms)) for row in rows]


def notes(prediction: Prediction, model: Model) -> list[str]:
    """Returns explanations of the table of energies."""
    atoms, references = len(prediction.atoms), references_of(prediction)
    found = []
    if prediction.has_free_energy:
        found.append(
            "transfer error: estimated error of F(tau_e) - F(tau_ref) from using the LDOS of tau_ref, without "
            "network errors"
        )
    above = max(prediction.results, key=lambda result: result.tail_error)
    lost, share = 1000 * above.tail_error / atoms, above.tail_electrons / atoms
    if lost >= SMALL_TAIL:
        found.append(
            f"tail: at {above.electron_temperature:g} K, {share:.2g} electrons per atom are free electrons above the "
            f"energy window; estimated error of F: {lost:.2g} meV/atom"
        )
    if len(references) > 1:
        seam = max(prediction.results, key=lambda result: result.blend_error)
        found.append(
            f"blend of tau_ref = {', '.join(f'{t:g}' for t in references)} K"
            + (
                f": the error of F from their difference is at most {1000 * seam.blend_error / atoms:.2g} meV/atom, at "
                f"{seam.electron_temperature:g} K"
                if prediction.has_free_energy and seam.blend_error > 0
                else ""
            )
        )
    if prediction.thermal_xc is not None:
        found.append(
            f"exchange and correlation: F, S and C_e at tau_e with {prediction.thermal_xc}, from an LDOS of "
            f"{prediction.functional}; the transfer error contains an estimate of this difference's second order"
        )
    highest = max(result.electron_temperature for result in prediction.results)
    if not prediction.has_free_energy and model.chosen_origin(None, None, [highest])[0] == "potential":
        found.append(
            "S and C_e come from the LDOS; with a density, they come from the interatomic potential of the model"
        )
    if (error := _error(prediction)) is not None:
        found.append(f"error: {error}")
    if prediction.has_free_energy and any(r.electron_temperature in references for r in prediction.results):
        found.append(f"{NONE}: at tau_e = tau_ref {_at_reference(prediction, model)}")
    if prediction.has_free_energy and prediction.anchor is not None:
        shifts = prediction.anchor_shift
        low, high = (f"{1000 * value / atoms:+.2f}" for value in (np.min(shifts), np.max(shifts)))
        shift = f"{low if len(references) == 1 else f'{low} to {high}'} meV/atom"
        if prediction.origin == "potential":
            differences = [r.potential_free_energy - r.anchored_free_energy for r in prediction.results]
            worst = max(differences, key=abs)
            found.append(
                "F, S and C_e come from the interatomic potential of the model; F with the change with tau_e from the "
                f"LDOS (--free-energy anchored) differs by at most {1000 * abs(worst) / atoms:.2f} meV/atom"
            )
        elif prediction.anchored:
            found.append(f"anchor: shifts F from the LDOS by {shift}{'' if len(references) > 1 else ' at every tau_e'}")
        else:
            found.append(f"F comes from the LDOS alone; --free-energy anchored would shift F by {shift}")
    return found


def _error(prediction: Prediction) -> str | None:
    """Describes the printed error; None if there is none."""
    members = 0 if prediction.uncertainty is None else len(prediction.uncertainty.members)
    if not prediction.has_free_energy:
        return f"standard deviation of E_b over the {members} networks of the model" if members else None
    if "free_energy_uncertainty" not in prediction.rows()[0]:
        return None
    if prediction.origin == "potential":
        return "estimated standard error of F: posterior deviation of the potential and transfer error"
    per_atom = 1000 / len(prediction.atoms)
    tail = any(per_atom * result.tail_error >= SMALL_TAIL for result in prediction.results)
    rest = ", transfer error and tail error" if tail else " and transfer error"
    spread = f"at most {per_atom * float(np.max(prediction.free_energy_std)):.2f} meV/atom"
    better = "the potential" if any(result.potential is not None for result in prediction.results) else "an anchored F"
    if not prediction.anchored:
        least = "" if prediction.anchor is None else f"; at least the difference from {better}"
        return f"estimated standard error of F: deviation over the {members} networks ({spread}{least}){rest}"
    least = f"; at least the difference from {better}" if better == "the potential" else ""
    anchor = f"{per_atom * float(np.max(prediction.anchor_std)):.2f} meV/atom"
    return (
        f"estimated standard error of F: error of the anchor ({anchor}), deviation of F(tau_e) - F(tau_ref) over the "
        f"{members} networks ({spread}{least}){rest}"
    )


def _at_reference(prediction: Prediction, model: Model) -> str:
    """Returns the origin of F(tau_ref) and its error."""
    temperatures = {result.electron_temperature for result in prediction.results}
    anchors = [part.anchor for part in model.parts if part.reference_electron_temperature in temperatures]
    if not prediction.anchored or None in anchors:
        return "there is no transfer error"
    error = max(anchor.left_out_error for anchor in anchors if anchor is not None)
    known = f" (cross-validation error {1000 * error:.2f} meV/atom over the training structures)" if error else ""
    return f"F comes from the interatomic potential alone{known}"
