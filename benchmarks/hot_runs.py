"""Structures and stored runs of the benchmarks of hot electrons.

Al4: cubic cell of 4.05 Angstrom, displacements of 0.15, k 2x2x2, PBE, GTH. Be4: all electrons, k shifted by half a
step.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.build import bulk

from fermisea import units
from fermisea.engines import PlaneWave

GPA = 1 / units.GIGAPASCAL
"""GPa in an eV/Angstrom^3."""

ALUMINIUM = PlaneWave(cutoff=400.0, kpts=(2, 2, 2), pseudopotentials="gth", threads=1)
BERYLLIUM = PlaneWave(cutoff=1360.0, kpts=(1, 1, 1), shift=(1, 1, 1), pseudopotentials={"Be": "Be-q4"}, threads=1)


def rattled(atoms: Atoms, distance: float) -> Atoms:
    """Returns atoms displaced at random."""
    atoms.rattle(distance, seed=1)
    return atoms


def aluminium() -> Atoms:
    """Returns the cell of four aluminium atoms that other codes have computed, too."""
    return rattled(bulk("Al", cubic=True, a=4.05), 0.15)


def beryllium() -> Atoms:
    """Returns an orthorhombic cell of four beryllium atoms."""
    a, c = 2.286, 3.584
    places = [[0, 0, 0], [0.5, 0.5, 0], [0.5, 1 / 6, 0.5], [0, 2 / 3, 0.5]]
    return rattled(Atoms("Be4", cell=[a, a * math.sqrt(3), c], scaled_positions=places, pbc=True), 0.1)


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        free_energy: F of the cell, eV.
        entropy_term: -TS, eV.
        pressure: GPa.
        forces: (atoms, 3), eV/Angstrom.
        bands: number of bands.
        iterations: number of SCF iterations.
        seconds: CPU time.
        electrons: integral of the density; NaN for other codes.
        tail_electrons: number of electrons above the bands; NaN for other codes.
        stress: (3, 3), eV/Angstrom^3, positive under tension; only of ABINIT.
    """

    free_energy: float
    entropy_term: float
    pressure: float
    forces: Sequence[Sequence[float]]
    bands: int
    iterations: int
    seconds: float
    electrons: float = math.nan
    tail_electrons: float = math.nan
    stress: Sequence[Sequence[float]] = ()


class Runs:
    """Runs with their results in a folder, which must be deleted after a change of the engine."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def __call__(self, engine: PlaneWave, atoms: Atoms, electron_temperature: float) -> Run:
        """Returns the result of a run, stored or new."""

        def solve() -> Run:
            start = time.process_time()
            state = engine.solve(atoms, electron_temperature)
            seconds = time.process_time() - start
            np.save(self._density_path(engine, atoms, electron_temperature), state.density.astype(np.float32))
            return Run(
                free_energy=state.reference.free_energy,
                entropy_term=state.reference.entropy_term,
                pressure=pressure(state.reference.stress),
                forces=np.asarray(state.reference.forces).tolist(),
                bands=state.eigenvalues.shape[1],
                iterations=len(state.history),
                seconds=seconds,
                electrons=float(state.grid.integrate(state.density)),
                tail_electrons=state.reference.tail_electrons,
            )

        return self.stored("fermisea", engine, atoms, electron_temperature, solve)

    def with_density(
        self, engine: PlaneWave, atoms: Atoms, electron_temperature: float
    ) -> tuple[Run, npt.NDArray[np.float32]]:
        """Returns the result of a run, stored or new, and its density, (nx, ny, nz), 1/Angstrom^3."""
        run = self(engine, atoms, electron_temperature)
        return run, np.load(self._density_path(engine, atoms, electron_temperature))

    def _density_path(self, engine: PlaneWave, atoms: Atoms, electron_temperature: float) -> Path:
        return self._path("fermisea", engine, atoms, electron_temperature).with_suffix(".npy")

    def stored(
        self, code: str, settings: object, atoms: Atoms, electron_temperature: float, make: Callable[[], Run]
    ) -> Run:
        """Returns a stored result, or the result of a new run.

        Args:
            code: name of the code.
            settings: settings of the run, whose ``repr`` identifies them.
            atoms: structure.
            electron_temperature: tau_e, K.
            make: function that runs the code.
        """
        path = self._path(code, settings, atoms, electron_temperature)
        if not path.is_file():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # low cutoffs are the same in all compared runs
                run = make()
            path.write_text(json.dumps(vars(run)), encoding="utf-8")
            formula = atoms.get_chemical_formula()
            print(f"{code} {formula} {electron_temperature:g} K {run.bands} bands {run.seconds:.1f} s", flush=True)
        return Run(**json.loads(path.read_text(encoding="utf-8")))

    def _path(self, code: str, settings: object, atoms: Atoms, electron_temperature: float) -> Path:
        place = (atoms.symbols, atoms.positions.tolist(), atoms.cell.tolist(), electron_temperature)
        key = hashlib.sha256(repr((code, settings, place)).encode()).hexdigest()
        return self._folder / f"{key[:16]}.json"


def pressure(stress: npt.ArrayLike) -> float:
    """Returns the pressure (GPa) of a stress (3, 3), eV/Angstrom^3."""
    return -float(np.trace(np.asarray(stress))) / 3 * GPA


def force_error(one: Run, other: Run) -> float:
    """Returns the largest difference of a force component, meV/Angstrom."""
    return 1000 * float(np.abs(np.subtract(one.forces, other.forces)).max())


def density_error(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    """Returns the mean absolute difference of two densities over their mean, %."""
    return 100 * float(np.abs(one - other).mean() / other.mean())
