"""The structure and the models of the benchmarks: 256 aluminium atoms, random weights around a free-electron LDOS."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk

from fermisea.descriptors import Bispectrum, PowerSpectrum
from fermisea.energies import Ion
from fermisea.grid import EnergyGrid
from fermisea.model import Model
from fermisea.network import Mlp
from fermisea.snapshot import Broadening

CUTOFF = 4.67637
"""Cutoff of the descriptors, Angstrom: that of the published aluminium models."""

BISPECTRUM = Bispectrum(10, CUTOFF, {"Al": 1.0})
POWER_SPECTRUM = PowerSpectrum(6, CUTOFF, {"Al": 1.0})
VALENCE = 3.0
FREE_ELECTRON = 0.00681
"""LDOS of free electrons over the root of the energy, 1/(eV^1.5 Angstrom^3)."""


def aluminium(repeats: int = 4) -> Atoms:
    """Returns fcc aluminium, a = 4.05 Angstrom, 4 repeats^3 atoms, with displacements of 0.1 Angstrom."""
    atoms = bulk("Al", "fcc", a=4.05, cubic=True).repeat(repeats)
    atoms.positions += np.random.default_rng(1).normal(scale=0.1, size=atoms.positions.shape)
    atoms.wrap()
    return atoms


def save_structure(path: Path, atoms: Atoms) -> str:
    """Writes what the other codes read, and returns its name."""
    np.savez(path, cell=atoms.cell.array, positions=atoms.positions, symbols=atoms.get_chemical_symbols())
    return str(path)


def random_model(hidden: tuple[int, ...], energies: int) -> Model:
    """Returns a model with the bispectrum and random weights in float32; its mean LDOS is that of free electrons.

    Args:
        hidden: widths of the hidden layers; their activation is LeakyReLU.
        energies: number of energies from 2 eV below the bottom of the band to 23 eV above it.
    """
    grid = EnergyGrid(-2.0, 25.0 / energies, energies)
    network = Mlp(BISPECTRUM.features, hidden, energies, "leaky_relu", seed=1)
    sample = BISPECTRUM.compute(aluminium(), (5, 5, 5)).reshape(-1, BISPECTRUM.features)
    mean = FREE_ELECTRON * np.sqrt(np.clip(grid.energies, 0, None))
    network.set_normalisation(
        torch.from_numpy(sample.mean(0)),
        torch.from_numpy(sample.std(0)),
        torch.from_numpy(mean),
        torch.from_numpy(0.03 * mean + 1e-6),
    )
    return Model(
        network=network.eval().requires_grad_(requires_grad=False),
        descriptor=BISPECTRUM,
        energy_grid=grid,
        broadening=Broadening("gaussian", 0.1),
        ions={"Al": Ion("Al", VALENCE)},
        functional="pbe",
        reference_electron_temperature=1000.0,
        highest_electron_temperature=12000.0,
        grid_spacing=0.2,
        provenance={"made": "random weights"},
    )
