"""The structure and the models of the benchmarks: 256 aluminium atoms, random weights around a free-electron LDOS."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk

from fermisea.descriptors import Bispectrum, PowerSpectrum
from fermisea.grid import EnergyGrid
from fermisea.model.model import Model
from fermisea.networks.mlp import Mlp
from fermisea.physics.broadening import Broadening
from fermisea.physics.ions import Ion

CUTOFF = 4.67637
"""Cutoff of the descriptors in the published aluminium models, Angstrom."""

BISPECTRUM = Bispectrum(10, CUTOFF, {"Al": 1.0})
POWER_SPECTRUM = PowerSpectrum(6, CUTOFF, {"Al": 1.0})
VALENCE = 3.0
FREE_ELECTRON = 0.00681
"""LDOS of free electrons divided by the square root of the energy, 1/(eV^1.5 Angstrom^3)."""


def aluminium(repeats: int = 4) -> Atoms:
    """Returns fcc aluminium, a = 4.05 Angstrom, 4 repeats^3 atoms, with displacements of 0.1 Angstrom."""
    atoms = bulk("Al", "fcc", a=4.05, cubic=True).repeat(repeats)
    atoms.positions += np.random.default_rng(1).normal(scale=0.1, size=atoms.positions.shape)
    atoms.wrap()
    return atoms


def save_structure(path: Path, atoms: Atoms) -> str:
    """Writes the input of the other codes and returns its name."""
    np.savez(path, cell=atoms.cell.array, positions=atoms.positions, symbols=atoms.get_chemical_symbols())
    return str(path)


@dataclass(frozen=True)
class Sizes:
    """Sizes of a network on the bispectrum.

    Attributes:
        hidden: widths of the hidden layers; their activation is LeakyReLU.
        energies: number of energies.
    """

    hidden: tuple[int, ...]
    energies: int
    inputs: ClassVar[int] = BISPECTRUM.features

    @property
    def name(self) -> str:
        """All sizes as text."""
        return "-".join(map(str, (self.inputs, *self.hidden, self.energies)))


def random_model(sizes: Sizes) -> Model:
    """Returns a bispectrum model with random weights in float32 and the mean LDOS of free electrons.

    The energies reach from 2 eV below the bottom of the band to 23 eV above it.
    """
    grid = EnergyGrid(-2.0, 25.0 / sizes.energies, sizes.energies)
    network = Mlp(sizes.inputs, sizes.hidden, sizes.energies, "leaky_relu", seed=1)
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


def save_network(path: Path, model: Model, electrons_per_atom: float) -> str:
    """Writes a model's network for the other codes, and returns its name."""
    network = model.network
    tensors = {
        f"{name}_{k}": getattr(layer, name).numpy()
        for k, layer in enumerate(network.layers)
        for name in ("weight", "bias")
    }
    normalisation = {
        name: getattr(network, name).numpy() for name in ("input_mean", "input_scale", "output_mean", "output_scale")
    }
    np.savez(
        path,
        sizes=(network.inputs, *network.widths, network.outputs),
        energies=model.energy_grid.energies,
        electrons_per_atom=electrons_per_atom,
        **tensors,
        **normalisation,
    )
    return str(path)
