"""Electrostatic energy of point charges in a neutralising background (P. P. Ewald, Ann. Phys. 369, 253, 1921)."""

from __future__ import annotations

import math

import numpy as np
import torch
from ase.neighborlist import primitive_neighbor_list
from torch import Tensor

from fermisea import units
from fermisea.energies.fields import volume

_DIGITS = 6.0
"""Both sums end where erfc and the Gaussian have fallen to exp(-6^2)."""


def ewald_energy(positions: Tensor, charges: Tensor, cell: Tensor) -> Tensor:
    """Returns the Ewald energy, 0-d, eV, differentiable in positions and cell.

    Args:
        positions: (n, 3), Angstrom.
        charges: (n,), elementary charges; their sum may differ from zero.
        cell: lattice vectors as rows, (3, 3), Angstrom, either handedness.
    """
    size = volume(cell)
    # splits the work between both sums for a moderate number of atoms
    eta = 1.6 * math.sqrt(math.pi) * (len(charges) / float(size.detach()) ** 2) ** (1 / 6)
    energy = _real_space(positions, charges, cell, eta) + _reciprocal_space(positions, charges, cell, eta)
    energy = energy - eta / math.sqrt(math.pi) * torch.sum(charges**2)
    energy = energy - math.pi / (2 * size * eta**2) * torch.sum(charges) ** 2
    return units.COULOMB * energy


def _real_space(positions: Tensor, charges: Tensor, cell: Tensor, eta: float) -> Tensor:
    rows = cell.detach().cpu().numpy()
    first, second, shifts = primitive_neighbor_list(
        "ijS", (True, True, True), rows, positions.detach().cpu().numpy(), _DIGITS / eta, self_interaction=False
    )
    i, j = (torch.as_tensor(x, device=positions.device) for x in (first, second))
    lattice = torch.as_tensor(shifts, dtype=positions.dtype, device=positions.device) @ cell
    distance = torch.linalg.vector_norm(positions[j] - positions[i] + lattice, dim=1)
    return torch.sum(charges[i] * charges[j] * torch.erfc(eta * distance) / distance) / 2


def _reciprocal_space(positions: Tensor, charges: Tensor, cell: Tensor, eta: float) -> Tensor:
    limit = 2 * eta * _DIGITS
    reach = [int(limit * length / (2 * math.pi)) for length in np.linalg.norm(cell.detach().cpu().numpy(), axis=1)]
    axes = [torch.arange(-r, r + 1, device=cell.device, dtype=cell.dtype) for r in reach]
    miller = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 3)
    miller = miller[len(miller) // 2 + 1 :]  # one of G and -G
    inverse = torch.linalg.inv(cell)
    vectors = miller @ (2 * math.pi * inverse.T)
    squared = torch.sum(vectors**2, dim=1)
    near = squared.detach() < limit**2
    miller, squared = miller[near], squared[near]
    fractions = positions @ inverse
    total = positions.new_zeros(())
    block = max(1, 2**22 // len(charges))
    for start in range(0, len(miller), block):
        phase = 2 * math.pi * (miller[start : start + block] @ fractions.T)
        power = (torch.cos(phase) @ charges) ** 2 + (torch.sin(phase) @ charges) ** 2
        g2 = squared[start : start + block]
        total = total + torch.sum(torch.exp(-g2 / (4 * eta**2)) / g2 * power)
    return 4 * math.pi / volume(cell) * total
