"""Change of forces when a structure is shifted against the grid (egg-box effect).

Measures, for one test structure of al8_data.py at each ionic temperature, the largest deviation of any force from its
mean over shifts along (1, 0.6, 0.3) by up to one spacing, on the default grid of each free energy, and for F of the
LDOS alone also with the spacing in training. The model is trained with the default recipe on sixteen structures and
four at other volumes. About five minutes on one core, plus three for the model.

    python benchmarks/egg_box.py DIR
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from al8_data import HOT, REFERENCE, TEST
from anchored import model
from ase import Atoms
from common import Table, digits, finish, options, parse

import fermisea
from fermisea.data.structures import read_structures
from fermisea.grid import RealSpaceGrid

DIRECTION = np.array([1.0, 0.6, 0.3])
TEMPERATURES = (REFERENCE, *HOT)


def deviations(
    found: fermisea.Model, atoms: Atoms, shape: tuple[int, int, int] | None, shifts: int, *, anchor: bool
) -> tuple[tuple[int, int, int], npt.NDArray[np.float64]]:
    """Returns the grid and the largest deviation of a force from its mean over the shifts, (tau_e,), meV/Angstrom."""
    grid = found.predict(atoms, REFERENCE, shape, anchor=anchor, forces=True).grid
    forces = []
    for part in range(shifts):
        moved = atoms.copy()
        moved.positions += DIRECTION * (max(grid.spacing) * part / shifts)
        forces.append(found.predict(moved, TEMPERATURES, grid.shape, forces=True, anchor=anchor).forces)
    return grid.shape, 1000 * np.abs(np.array(forces) - np.mean(forces, axis=0)).max((0, 2, 3))


def main() -> None:
    """Measures, prints a table and writes JSON."""
    parser = options(__doc__, "egg_box", 1)
    parser.add_argument("data", type=Path, help="folder of al8_data.py")
    parser.add_argument("--shifts", type=int, default=8, help="number of shifts  [8]")
    values = parse(parser)
    torch.set_num_threads(1)
    data = values.data / "data"
    found = model([data / "train", data / "volumes"], "volumes", 0)
    structures = read_structures(values.data / "structures" / "test")
    runs: list[dict[str, Any]] = []
    for name, anchor, as_in_training in (
        ("anchored", True, False),
        ("LDOS alone", False, False),
        ("LDOS alone, spaced as in training", False, True),
    ):
        for tau in TEST:
            atoms = structures[f"al8-{tau:g}K-00"]
            asked = RealSpaceGrid.from_spacing(atoms.cell.array, found.grid_spacing).shape if as_in_training else None
            grid, of = deviations(found, atoms, asked, values.shifts, anchor=anchor)
            runs.append({"form": name, "tau_i": tau, "grid": grid, "deviations": of.tolist()})
            print(f"{name}, tau_i = {tau:g} K on {grid} points: {of.round(3)}", flush=True)
    rows = []
    for name in dict.fromkeys(run["form"] for run in runs):
        chosen = [run for run in runs if run["form"] == name]
        for k, tau_e in enumerate(TEMPERATURES):
            of_all = [run["deviations"][k] for run in chosen]
            grid = "x".join(map(str, chosen[0]["grid"]))
            rows.append([name, grid, f"{tau_e:g}", digits(statistics.mean(of_all)), digits(max(of_all))])
    columns = ["F", "grid", "tau_e (K)", "mean", "worst structure"]
    title = f"Largest deviation of a force from its mean over {values.shifts} positions on the grid, Al8, meV/Å"
    note = "One structure at each tau_i. At tau_ref, anchored forces come from the regular model, which has no grid."
    finish(values, [Table("egg_box", title, columns, rows, note)], {"runs": runs})


if __name__ == "__main__":
    main()
