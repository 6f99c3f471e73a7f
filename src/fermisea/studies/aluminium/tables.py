"""Tables of the study: data, errors by kind of structure, properties of DFT and model beside each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from fermisea.data.sealed_file import stored_checksum
from fermisea.data.snapshot import Snapshot
from fermisea.model.model import Model
from fermisea.studies.aluminium.errors import LEFT_OUT, ORIGINS, kind_of, rms
from fermisea.studies.aluminium.probes import COLD_AND_HOT, ELASTIC, LINE_TEMPERATURES, Probe
from fermisea.studies.aluminium.properties import (
    Key,
    Result,
    elastic_constants,
    lattice_energies,
    line,
    phonons,
    pressure,
    vacancy_energies,
)
from fermisea.studies.folder import Rows

_WITHIN = 1.96
"""Number of standard deviations of a 95 % interval."""

_MEASURED = {
    **{f"{origin}_error": 1000.0 for origin in ORIGINS},
    "force": 1000.0,
    "force_error": 1000.0,
    "pressure_error": 1.0,
    "density_error_percent": 1.0,
    "heat_capacity_error_percent": 1.0,
}
"""Columns of errors that are summarised, with the factors of their units."""


def data_rows(parts: Mapping[str, Mapping[Path, Snapshot]]) -> Rows:
    """Returns one row for each snapshot: structure, tau_ref, free energy, pressure, closure error, checksum."""
    return [
        {
            "name": path.stem,
            "part": part,
            "kind": kind_of(path.stem),
            "electron_temperature_K": snapshot.electron_temperature,
            "atoms": len(snapshot.atoms),
            "ion_temperature_K": snapshot.ion_temperature,
            "volume_A3_per_atom": snapshot.grid.volume / len(snapshot.atoms),
            "free_energy_eV_per_atom": snapshot.reference.free_energy / len(snapshot.atoms),
            "pressure_GPa": None
            if snapshot.reference.stress is None
            else pressure(np.array(snapshot.reference.stress)),
            "fermi_level_eV": snapshot.reference.fermi_level,
            "closure_error_meV_per_atom": 1000 * snapshot.closure_error() / len(snapshot.atoms),
            "sha256": stored_checksum(path),
        }
        for part, snapshots in parts.items()
        for path, snapshot in snapshots.items()
    ]


def cost_rows(times: Rows, errors: Rows) -> Rows:
    """Returns the median time of DFT calculations with an LDOS by number of atoms and tau_e, and of predictions, s.

    A few calculations that waited for other work on the machine do not change a median. Predictions are of anchored F
    and the density at every tau_ref, by all networks of the model.

    Args:
        times: atoms, electron_temperature and seconds of each DFT calculation; a time of zero is not recorded.
        errors: rows of the test structures, with the CPU times of their predictions.
    """
    rows: Rows = []
    known = [row for row in times if row["seconds"] > 0]
    for atoms, tau_e in sorted({(row["atoms"], row["electron_temperature"]) for row in known}):
        own = [row["seconds"] for row in known if (row["atoms"], row["electron_temperature"]) == (atoms, tau_e)]
        predicted = {row["name"]: row["prediction_seconds"] for row in errors if row["atoms"] == atoms}
        measured = [seconds for seconds in predicted.values() if seconds is not None]
        rows.append(
            {
                "atoms": atoms,
                "electron_temperature": tau_e,
                "calculations": len(own),
                "dft_seconds": float(np.median(own)),
                "predictions": len(measured),
                "prediction_seconds": float(np.median(measured)) if measured else None,
            }
        )
    return rows


def error_summary(rows: Rows) -> Rows:
    """Returns root mean square errors over the test structures of each kind at each tau_ref, and over all kinds.

    Energies are in meV/atom, forces in meV/Angstrom, pressures in GPa, the rest in percent; ``with_warnings`` is the
    number of structures with warnings.
    """
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    temperatures = sorted({row["electron_temperature"] for row in rows})
    found: Rows = []
    for kind in [*kinds, "all"]:
        for tau_e in temperatures:
            chosen = [r for r in rows if kind in (r["kind"], "all") and r["electron_temperature"] == tau_e]
            if not chosen:
                continue
            values = {name: np.array([row[name] for row in chosen], dtype=float) for name in _MEASURED}
            found.append(
                {"kind": kind, "electron_temperature": tau_e, "structures": len(chosen)}
                | {name: factor * rms(values[name]) for name, factor in _MEASURED.items()}
                | {"largest_anchored_error": 1000 * float(np.abs(values["anchored_error"]).max())}
                | {"with_warnings": sum(bool(row["warnings"]) for row in chosen)}
            )
    return found


def change_rows(rows: Rows) -> Rows:
    """Returns errors of F(tau_e) - F(tau_ref) between the lowest tau_ref and the others, by kind, meV/atom."""
    lowest = min(row["electron_temperature"] for row in rows)
    first = {row["name"]: row for row in rows if row["electron_temperature"] == lowest}
    found: Rows = []
    for kind in dict.fromkeys(row["kind"] for row in rows):
        chosen = [r for r in rows if r["kind"] == kind and r is not first[r["name"]]]
        for tau_e in sorted({row["electron_temperature"] for row in chosen}):
            members = [row for row in chosen if row["electron_temperature"] == tau_e]
            found.append(
                {"kind": kind, "electron_temperature": tau_e, "structures": len(members)}
                | {
                    f"{origin}_error": 1000
                    * rms([row[f"{origin}_error"] - first[row["name"]][f"{origin}_error"] for row in members])
                    for origin in ORIGINS
                }
            )
    return found


def left_out_rows(model: Model) -> Rows:
    """Returns F errors of the training structures at each tau_ref, each left out of the fit of the potential in turn.

    Errors and estimated standard errors are in eV/atom, tau_e and tau_i in K, and volumes per atom in Angstrom^3.
    """
    found: Rows = []
    for part in model.parts:
        known = {} if part.anchor is None else part.anchor.provenance.get("left_out_free_energies", {})
        if not known:
            continue
        structures = part.provenance["snapshots"]  # in the order of the fit
        for structure, error, std in zip(structures, known["errors"], known["stds"], strict=True):
            found.append(
                {
                    "formula": structure["formula"],
                    "volume": structure["volume_per_atom"],
                    "ion_temperature": structure["ion_temperature"],
                    "electron_temperature": part.reference_electron_temperature,
                    "left_out_error": error,
                    "left_out_std": std,
                }
            )
    return found


def spread_rows(rows: Rows, left_out: Rows) -> Rows:
    """Returns how well the estimated standard errors of F describe its errors, for each origin of F.

    Args:
        rows: errors of the test structures.
        left_out: errors of the training structures from :func:`left_out_rows`.
    """
    found: Rows = []
    for origin in (*ORIGINS, LEFT_OUT):
        chosen = left_out if origin == LEFT_OUT else rows
        if not chosen:
            continue
        errors = np.abs([row[f"{origin}_error"] for row in chosen])
        spreads = np.array([row[f"{origin}_std"] for row in chosen])
        found.append(
            {
                "origin": origin,
                "number": len(chosen),
                "rank_correlation": float(spearmanr(errors, spreads).statistic),
                "within_95_percent_interval": 100 * float(np.mean(errors <= _WITHIN * spreads)),
            }
        )
    return found


def line_rows(dft: Mapping[Key, Result], model: Mapping[Key, Result], probes: list[Probe]) -> Rows:
    """Returns properties of the line of fcc crystals for each volume and tau_e, of DFT and model, if they ran."""
    found: Rows = []
    if not any(probe.group == "line" for probe in probes):
        return found
    for tau_e in LINE_TEMPERATURES:
        ours, theirs = line(model, probes, tau_e), line(dft, probes, tau_e)
        inner = {name: np.pad(theirs[name], 1, constant_values=np.nan) for name in ("slope", "modulus")}
        own = {name: np.pad(ours[name], 1, constant_values=np.nan) for name in ("slope", "modulus")}
        for k, volume in enumerate(ours["volume"]):
            row: dict[str, Any] = {"electron_temperature": tau_e, "volume": float(volume)}
            row |= {"free_energy": float(theirs["free_energy"][k]), "free_energy_model": float(ours["free_energy"][k])}
            row |= {"pressure": float(theirs["pressure"][k]), "pressure_model": float(ours["pressure"][k])}
            for name in ("slope", "modulus"):
                row |= {name: float(inner[name][k]), f"{name}_model": float(own[name][k])}
            found.append(row)
    return found


def line_summary(rows: Rows) -> Rows:
    """Returns errors along the line: F(tau_e) - F(lowest tau_e), P from stress and from F, bulk modulus."""
    by_tau_e: dict[float, Rows] = {}
    for row in rows:
        by_tau_e.setdefault(row["electron_temperature"], []).append(row)
    start = by_tau_e[min(by_tau_e)] if by_tau_e else []
    found: Rows = []
    for tau_e, members in by_tau_e.items():
        changes = [
            (r["free_energy_model"] - s["free_energy_model"]) - (r["free_energy"] - s["free_energy"])
            for r, s in zip(members, start, strict=True)
        ]
        inner = members[1:-1]
        found.append(
            {
                "electron_temperature": tau_e,
                "free_energy_change_error": 1000 * rms(changes),
                "largest_free_energy_change_error": 1000 * float(np.abs(changes).max()),
                "pressure_error": rms([r["pressure_model"] - r["pressure"] for r in members]),
                "slope_error": rms([r["slope_model"] - r["slope"] for r in inner]),
                "largest_modulus_error_percent": 100
                * float(np.abs([r["modulus_model"] / r["modulus"] - 1 for r in inner]).max()),
            }
        )
    return found


def property_rows(
    dft: Mapping[Key, Result], model: Mapping[Key, Result], probes: Sequence[Probe], lattice_constant: float
) -> dict[str, Rows]:
    """Returns elastic constants (GPa), phonons (THz), energies of the vacancy and other lattices, if they ran."""
    groups = {probe.group for probe in probes}
    displaced = next((probe for probe in probes if probe.group == "phonons"), None)

    def at_x_and_l(found: Mapping[Key, Result], tau_e: float) -> dict[str, float]:
        return {} if displaced is None else phonons(found, displaced, tau_e, lattice_constant)

    return {
        "elastic": _beside(elastic_constants, dft, model, ELASTIC if "elastic" in groups else ()),
        "phonons": _beside(at_x_and_l, dft, model, ELASTIC),
        "differences": [
            *_beside(vacancy_energies, dft, model, COLD_AND_HOT if "vacancy" in groups else ()),
            *_beside(lattice_energies, dft, model, COLD_AND_HOT if "lattices" in groups else ()),
        ],
    }


def _beside(
    function: Callable[[Mapping[Key, Result], float], dict[str, float]],
    dft: Mapping[Key, Result],
    model: Mapping[Key, Result],
    temperatures: Sequence[float],
) -> Rows:
    found: Rows = []
    for tau_e in temperatures:
        ours, theirs = function(model, tau_e), function(dft, tau_e)
        found += [
            {"quantity": name, "electron_temperature": tau_e, "dft": theirs[name], "model": ours[name]}
            for name in theirs
        ]
    return found
