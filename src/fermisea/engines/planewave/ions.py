"""Ionic potentials in the plane-wave basis, differentiable with respect to positions and cell.

Automatic differentiation of these functions gives forces and stress.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fermisea.engines.basis import PlaneWaves
from fermisea.physics.fields import reciprocal_cell, reciprocal_vectors, volume
from fermisea.physics.ions import Ion, structure_factor
from fermisea.pseudopotentials import Pseudopotential


@dataclass(frozen=True)
class Ions:
    """Atoms with their pseudopotentials.

    Attributes:
        symbols: element of each atom.
        potentials: pseudopotential of each element.
        positions: (n, 3), Angstrom.
        cell: lattice vectors as rows, (3, 3), Angstrom.
    """

    symbols: Sequence[str]
    potentials: Mapping[str, Pseudopotential]
    positions: Tensor
    cell: Tensor

    @property
    def reciprocal(self) -> Tensor:
        """Reciprocal vectors as rows, (3, 3), 1/Angstrom."""
        return reciprocal_cell(self.cell)

    @property
    def volume(self) -> Tensor:
        """Cell volume, Angstrom^3."""
        return volume(self.cell)

    @property
    def cores(self) -> dict[str, Ion]:
        """Valence and core charge of each element."""
        return {symbol: Ion(symbol, p.valence, p.core) for symbol, p in self.potentials.items()}

    def of_element(self, symbol: str) -> Tensor:
        """Returns the positions of the atoms of one element, (m, 3)."""
        chosen = [i for i, s in enumerate(self.symbols) if s == symbol]
        return self.positions[chosen]


def _length(vectors: Tensor) -> Tensor:
    # the tiny constant keeps the derivative at the origin finite (and zero)
    return torch.sqrt(torch.sum(vectors**2, dim=-1) + 1e-30)


def local_potential(ions: Ions, shape: tuple[int, int, int]) -> Tensor:
    """Returns the Fourier coefficients of the local ionic potential, (nx, ny, nz), eV, complex.

    The G = 0 coefficient is the average of V_loc + Z e^2/r ("alpha Z"), which is therefore part of the eigenvalues.
    """
    momenta = _length(reciprocal_vectors(ions.cell, shape)).reshape(-1)
    total = torch.zeros(shape, dtype=torch.complex128, device=ions.cell.device)
    for symbol, potential in ions.potentials.items():
        form = _local_form(potential, momenta).reshape(shape)
        total = total + structure_factor(ions.of_element(symbol), ions.cell, shape) * form
    return total / ions.volume


def _local_form(potential: Pseudopotential, momenta: Tensor) -> Tensor:
    # G = 0 is the first entry; _length shifts it by 1e-15, where the term -4 pi Z e^2/q^2 must not be included
    zero = torch.zeros(1, dtype=momenta.dtype)
    head = potential.local(zero).to(momenta.device)
    return torch.cat([head, potential.local(momenta[1:].cpu()).to(momenta.device)])


def solid_harmonics(degree: int, v: Tensor) -> Tensor:
    """Returns the real solid harmonics r^l Y_lm of vectors (n, 3) as (2 l + 1, n), normalised on the sphere, l <= 3."""
    x, y, z = v[:, 0], v[:, 1], v[:, 2]
    if degree == 0:
        return torch.full_like(x, math.sqrt(1 / (4 * math.pi)))[None]
    if degree == 1:
        return math.sqrt(3 / (4 * math.pi)) * torch.stack([y, z, x])
    if degree == 2:
        square = x**2 + y**2 + z**2
        a = math.sqrt(15 / (4 * math.pi))
        zonal = math.sqrt(5 / (16 * math.pi)) * (3 * z**2 - square)
        return torch.stack([a * x * y, a * y * z, zonal, a * z * x, a / 2 * (x**2 - y**2)])
    if degree == 3:
        square = x**2 + y**2 + z**2
        a, b = math.sqrt(35 / (32 * math.pi)), math.sqrt(21 / (32 * math.pi))
        c, d = math.sqrt(105 / (4 * math.pi)), math.sqrt(7 / (16 * math.pi))
        return torch.stack([
            a * y * (3 * x**2 - y**2),
            c * x * y * z,
            b * y * (5 * z**2 - square),
            d * z * (5 * z**2 - 3 * square),
            b * x * (5 * z**2 - square),
            c / 2 * z * (x**2 - y**2),
            a * x * (x**2 - 3 * y**2),
        ])  # fmt: skip
    raise ValueError(f"solid harmonics: got degree {degree}, expected 0 to 3")


def projectors(ions: Ions, waves: PlaneWaves) -> tuple[Tensor, Tensor]:
    """Returns the nonlocal projectors at one k-point and their coupling.

    Returns:
        ``(P, D)``: P (projectors, npw), complex, such that <beta_p|psi> = sum_G conj(P_pG) c_G; D (projectors,
        projectors), eV, real and symmetric; V_nl = sum |beta_p> D_pq <beta_q|.
    """
    reciprocal = ions.reciprocal
    vectors = waves.vectors(reciprocal)
    momenta = _length(vectors).cpu()
    inverse_cell = torch.linalg.inv(ions.cell)
    blocks: list[Tensor] = []
    couplings: list[Tensor] = []
    for symbol, potential in ions.potentials.items():
        if not potential.channels:
            continue
        fractions = ions.of_element(symbol) @ inverse_cell
        phases = torch.exp(-2j * math.pi * (fractions @ (waves.fraction + waves.indices).T))
        forms: list[Tensor] = []
        atom_couplings: list[Tensor] = []
        for channel in potential.channels:
            radial = channel.radial(momenta).to(vectors.device)
            forms.append((solid_harmonics(channel.l, vectors)[:, None] * radial).reshape(-1, len(waves)))
            atom_couplings += [channel.coupling.to(vectors.device)] * (2 * channel.l + 1)
        blocks.append((phases[:, None] * torch.cat(forms)).reshape(-1, len(waves)))
        couplings += atom_couplings * len(fractions)
    if not blocks:
        return vectors.new_zeros((0, len(waves)), dtype=torch.complex128), vectors.new_zeros((0, 0))
    return torch.cat(blocks) / torch.sqrt(ions.volume), torch.block_diag(*couplings)
