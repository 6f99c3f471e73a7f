"""Quantities that are fixed during the self-consistency cycle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fermisea import units
from fermisea.engines.basis import PlaneWaves
from fermisea.engines.planewave.ions import Ions
from fermisea.engines.planewave.slater import valence_gaussians
from fermisea.grid import RealSpaceGrid
from fermisea.physics.fields import reciprocal_vectors
from fermisea.physics.ions import structure_factor
from fermisea.physics.xc import Functional


@dataclass(frozen=True)
class Problem:
    """Quantities that are fixed during the self-consistency cycle.

    Attributes:
        ions: atoms and pseudopotentials.
        grid: real-space grid of density and potential.
        waves: plane waves of each k-point.
        weights: weights of the k-points, which sum to one.
        functional: exchange-correlation functional.
        core: core density of the pseudopotentials, (nx, ny, nz), 1/Angstrom^3.
        electrons: number of valence electrons.
        ion_energy: Ewald energy, eV.
        electron_temperature: tau_e, K.
        dtype: type of the wavefunctions.
        cutoff: plane-wave cutoff, eV.
        kpts: k-mesh.
        shift: shift of the k-mesh, 0 or 1 along each axis.
    """

    ions: Ions
    grid: RealSpaceGrid
    waves: Sequence[PlaneWaves]
    weights: npt.NDArray[np.float64]
    functional: Functional
    core: Tensor
    electrons: float
    ion_energy: float
    electron_temperature: float
    dtype: torch.dtype
    cutoff: float
    kpts: tuple[int, int, int]
    shift: tuple[int, int, int]

    @property
    def squared_momenta(self) -> Tensor:
        """|G|^2 on the grid, (nx, ny, nz), 1/Angstrom^2."""
        return torch.sum(reciprocal_vectors(self.ions.cell, self.grid.shape) ** 2, dim=-1)

    @property
    def fermi_momentum(self) -> float:
        """Fermi wave number of free electrons at the mean density, 1/Angstrom: k_F^3 = 3 pi^2 n."""
        return float((3 * math.pi**2 * self.electrons / self.grid.volume) ** (1 / 3))

    @property
    def screening(self) -> float:
        """Thomas-Fermi wave number at the mean density, 1/Angstrom: k_TF^2 = 4 k_F / (pi a_0)."""
        return math.sqrt(4 * self.fermi_momentum / (math.pi * units.BOHR))


def starting_density(problem: Problem) -> Tensor:
    """Returns the sum of Gaussian valence shells of all atoms, (nx, ny, nz), 1/Angstrom^3."""
    ions = problem.ions
    squared = problem.squared_momenta
    total = torch.zeros(problem.grid.shape, dtype=torch.complex128, device=squared.device)
    for symbol, potential in ions.potentials.items():
        shells = valence_gaussians(symbol, potential.valence)
        form = torch.stack([count * torch.exp(-squared * width**2 / 2) for count, width in shells]).sum(dim=0)
        total = total + form * structure_factor(ions.of_element(symbol), ions.cell, problem.grid.shape)
    return torch.fft.ifftn(total / ions.volume, norm="forward").real
