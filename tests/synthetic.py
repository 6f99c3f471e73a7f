"""Snapshots with a smooth, made-up LDOS that depends on the surroundings of each point; no DFT needed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from ase import Atoms
from ase.build import bulk

from fermisea.data.reference import Reference
from fermisea.data.snapshot import Snapshot
from fermisea.grid import EnergyGrid, RealSpaceGrid
from fermisea.model.model import Model
from fermisea.physics.broadening import Broadening
from fermisea.physics.ions import Ion

ENERGIES = EnergyGrid(-6.0, 0.5, 36)
REFERENCE_TEMPERATURE = 1000.0
VALENCE = 3.0


def structure(seed: int, atoms: int = 4, amplitude: float = 0.15, symbol: str = "Al") -> Atoms:
    """A conventional fcc cell (4 atoms) or a primitive one (1 atom) with random displacements, Angstrom."""
    cell = bulk("Al", "fcc", a=4.05, cubic=atoms == 4)
    cell.symbols[:] = symbol
    cell.positions += np.random.default_rng(seed).normal(scale=amplitude, size=cell.positions.shape)
    return cell


def made_up_ldos(atoms: Atoms, grid: RealSpaceGrid) -> np.ndarray:
    """A free-electron-like LDOS, 1/(eV A^3), whose height and energy follow a sum of Gaussians on the atoms."""
    points = grid.points()
    around = np.zeros(grid.shape)
    for shift in np.ndindex(3, 3, 3):
        for position in atoms.positions + (np.array(shift) - 1) @ grid.lattice:
            around += np.exp(-np.sum((points - position) ** 2, axis=-1) / (2 * 0.9**2))
    bottom = -3.0 - 1.5 * around[..., None]
    x = ENERGIES.energies - bottom
    rise = np.sqrt(np.logaddexp(0, 2 * x) / 2)
    height = 0.0075 * (1 + 0.5 * around[..., None])
    return height * rise / (1 + np.exp(-4 * x))


def made_up_snapshot(
    seed: int,
    shape: tuple[int, int, int] = (6, 6, 6),
    electron_temperature: float = REFERENCE_TEMPERATURE,
    **options,
) -> Snapshot:
    """One snapshot; its reference free energy is that of its own LDOS, so its closure error is zero."""
    atoms = structure(seed, **options)
    grid = RealSpaceGrid(atoms.cell.array, shape)
    electrons = VALENCE * len(atoms)
    values = {
        "atoms": atoms,
        "grid": grid,
        "energy_grid": ENERGIES,
        "ldos": made_up_ldos(atoms, grid).astype(np.float32),
        "electron_temperature": electron_temperature,
        "ion_temperature": 300.0,
        "broadening": Broadening("gaussian", 0.5),
        "ions": {symbol: Ion(symbol, VALENCE) for symbol in set(atoms.get_chemical_symbols())},
        "functional": "lda",
        "provenance": {"engine": "synthetic"},
    }

    def reference(free_energy: float, fermi_level: float) -> Reference:
        return Reference(
            free_energy=free_energy,
            parts={"total": free_energy},
            fermi_level=fermi_level,
            electrons=electrons,
            entropy_term=-0.1,
            forces=None,
            stress=None,
        )

    draft = Snapshot(density=np.full(shape, electrons / grid.volume), reference=reference(0.0, 0.0), **values)
    dos = draft.density_of_states
    level = float(dos.fermi_level(electrons, electron_temperature))
    density = values["ldos"].astype(float) @ dos.weights(level, electron_temperature).electrons.weights
    draft = Snapshot(density=density, reference=reference(0.0, level), **values)
    free_energy = float(draft.free_energy(electron_temperature))
    return Snapshot(density=density, reference=reference(free_energy, level), **values)


def with_known_pressure(model: Model) -> Model:
    """A model whose potential is taken to know the pressure, although its made-up data have one volume."""
    assert model.thermal is not None
    zeros = [0.0] * len(model.thermal.provenance["electron_temperatures"])
    provenance = dict(model.thermal.provenance) | {"pressure_errors": zeros}
    return replace(model, thermal=replace(model.thermal, provenance=provenance))
