"""Summary of a set of snapshots, and its problems for training."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from fermisea.data.closure import CLOSURE, closure_error_per_atom
from fermisea.data.dataset import OF_TAU_REF, by_tau_ref, differences
from fermisea.data.snapshot import Snapshot
from fermisea.errors import InputError

SCF_TOLERANCE = 1e-8
"""Required SCF tolerance, eV per atom; a larger one changes F from the LDOS by more than 0.05 meV/atom (aluminium)."""

K_SPACING = 0.25
"""Largest k-point spacing, 1/Angstrom; on 32 aluminium atoms 2 x 2 x 2 (0.39) is off by 7 to 41 meV/atom, 4 x 4 x 4
(0.19) is accurate."""

HOT, HOT_K_SPACING = 20_000.0, 0.5
"""tau_ref, K, above which the larger spacing is enough; on four aluminium atoms at 30 kK 4 x 4 x 4 (0.39) is off by
0.7 meV/atom."""

LOWEST_WINDOW = 5000.0
"""Lowest useful limit of tau_e, K; a smaller window leaves no range for the transfer."""


def describe(snapshots: Sequence[Snapshot]) -> dict[str, Any]:
    """Returns a summary of the snapshots as plain data; ranges as pairs, temperatures in K, energies in eV."""
    formulas = Counter(snapshot.atoms.get_chemical_formula() for snapshot in snapshots)
    ions = Counter(snapshot.ion_temperature for snapshot in snapshots)
    points = [snapshot.grid.size for snapshot in snapshots]
    first = snapshots[0].energy_grid
    return {
        "snapshots": len(snapshots),
        "formulas": dict(formulas),
        "ion_temperatures": {"unknown" if t is None else f"{t:g} K": n for t, n in _sorted(ions)},
        "electron_temperatures": sorted({snapshot.electron_temperature for snapshot in snapshots}),
        "functionals": sorted({snapshot.functional for snapshot in snapshots}),
        "engines": sorted({str(snapshot.provenance.get("engine", "unknown")) for snapshot in snapshots}),
        "energies_eV": {"start": first.start, "stop": first.stop, "spacing": first.spacing, "size": first.size},
        "broadening_eV": snapshots[0].broadening.standard_deviation,
        "highest_electron_temperature": min(map(_highest, snapshots)),
        "grid_spacing_A": [
            min(min(s.grid.spacing) for s in snapshots),
            max(max(s.grid.spacing) for s in snapshots),
        ],
        "points": sum(points),
        "bytes": sum(4 * n * s.energy_grid.size for n, s in zip(points, snapshots, strict=True)),
    }


def warnings(snapshots: Sequence[Snapshot], names: Sequence[str], *, closure: bool = True) -> list[str]:
    """Returns the problems of a data set in words: inconsistencies, loose SCF cycles, coarse k-meshes, small windows.

    Args:
        snapshots: the snapshots, in order.
        names: names of the snapshots.
        closure: whether F of each LDOS is computed and compared too, which reads the complete LDOS.
    """
    found = [f"mixed {difference}" for difference in differences(snapshots, names, ignored=OF_TAU_REF)]
    for own, called in by_tau_ref(snapshots, names):  # each tau_ref may have its own energies
        found += [text for difference in differences(own, called) if (text := f"mixed {difference}") not in found]
    found += _each(names, snapshots, _loose_scf, "loose SCF cycle")
    found += _each(names, snapshots, _coarse_mesh, "coarse k-mesh")
    found += _each(names, snapshots, _small_window, "small energy window")
    found += _each(names, snapshots, _unknown_ion_temperature, "ion temperature")
    if closure:
        found += _each(names, snapshots, _closure, "LDOS")
    return found


def _each(names: Sequence[str], snapshots: Sequence[Snapshot], problem: Any, title: str) -> list[str]:
    """Returns one line for all snapshots with a problem, in the words of the first one."""
    hit = [(name, text) for name, s in zip(names, snapshots, strict=True) if (text := problem(s)) is not None]
    if not hit:
        return []
    others = f" and {len(hit) - 1} more" if len(hit) > 1 else ""
    return [f"{title}: {hit[0][0]}{others}: {hit[0][1]}"]


def _loose_scf(snapshot: Snapshot) -> str | None:
    tolerance = snapshot.provenance.get("scf_tolerance_eV_per_atom")
    if tolerance is None or tolerance <= SCF_TOLERANCE:
        return None
    return (
        f"converged to {tolerance:g} eV/atom, expected {SCF_TOLERANCE:g} or less; the LDOS is not consistent with the "
        "energy"
    )


def _coarse_mesh(snapshot: Snapshot) -> str | None:
    mesh = snapshot.provenance.get("kpts")
    if mesh is None:
        return None
    steps = np.linalg.norm(snapshot.grid.reciprocal, axis=1) / np.array(mesh)
    largest = HOT_K_SPACING if snapshot.electron_temperature > HOT else K_SPACING
    if steps.max() <= largest:
        return None
    better = [max(1, math.ceil(float(n * step / largest))) for n, step in zip(mesh, steps, strict=True)]
    return (
        f"{' '.join(map(str, mesh))} has a spacing of {steps.max():.2f} 1/Angstrom, expected {largest} or less "
        f"({' '.join(map(str, better))}); an LDOS on a coarse k-mesh is not local"
    )


def _small_window(snapshot: Snapshot) -> str | None:
    highest = _highest(snapshot)
    needed = max(LOWEST_WINDOW, snapshot.electron_temperature)
    if (
        highest >= needed or snapshot.reference.tail_bottom is not None
    ):  # the bands of a hot run end below free electrons
        return None
    return f"valid for tau_e up to {highest:.0f} K, expected {needed:g} K; use a window with a higher top"


def _highest(snapshot: Snapshot) -> float:
    try:
        return snapshot.highest_electron_temperature
    except InputError:  # a window too small for the electrons
        return 0.0


def _unknown_ion_temperature(snapshot: Snapshot) -> str | None:
    return "unknown, so errors cannot be listed by ion temperature" if snapshot.ion_temperature is None else None


def _closure(snapshot: Snapshot) -> str | None:
    if snapshot.total_energy_obstacle is not None:
        return f"no total free energy: {snapshot.total_energy_obstacle}"
    try:
        error = closure_error_per_atom(snapshot)
    except InputError as refusal:
        return str(refusal)
    if error is None or abs(error) <= CLOSURE:
        return None
    return (
        f"F from the LDOS differs from F of the DFT code by {1000 * error:+.2f} meV/atom, expected at most "
        f"{1000 * CLOSURE:g}"
    )


def _sorted(counts: Counter[float | None]) -> list[tuple[float | None, int]]:
    return sorted(counts.items(), key=lambda item: math.inf if item[0] is None else item[0])
