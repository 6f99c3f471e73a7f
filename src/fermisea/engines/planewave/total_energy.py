"""Free-energy functional of fixed wavefunctions: named parts, forces and stress.

Every part is a differentiable function of the displacement of the atoms and the strain of the cell, at fixed plane-wave
coefficients and occupations. By the Hellmann-Feynman theorem its derivatives are the forces and the stress
(Nielsen and Martin, PRB 32, 3780, 1985), at a fixed number of plane waves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fermisea import units
from fermisea.engines.planewave.ions import Ions, local_potential, projectors
from fermisea.engines.planewave.problem import Problem
from fermisea.engines.planewave.scf import ScfState
from fermisea.physics.ewald import ewald_energy
from fermisea.physics.fields import FourierGrid
from fermisea.physics.hartree import hartree_energy
from fermisea.physics.ions import core_density
from fermisea.physics.xc import xc_energy
from fermisea.utilities.threads import Workers


@dataclass(frozen=True)
class TotalEnergy:
    """Free energy and its derivatives.

    Attributes:
        parts: kinetic, local, nonlocal, hartree, xc, ewald, entropy_term (-TS), eV, and with a tail tail_kinetic;
            their sum is the free energy.
        forces: (n, 3), eV/Angstrom, without net force.
        stress: (3, 3), eV/Angstrom^3, positive under tension, as in ASE.
    """

    parts: dict[str, float]
    forces: np.ndarray[tuple[int, int], np.dtype[np.float64]]
    stress: np.ndarray[tuple[int, int], np.dtype[np.float64]]

    @property
    def free_energy(self) -> float:
        """Sum of the parts, eV."""
        return sum(self.parts.values())


def total_energy(problem: Problem, state: ScfState, pool: Workers) -> TotalEnergy:
    """Returns the Mermin free energy of a state with forces and stress."""
    parts: dict[str, float] = {"entropy_term": state.filling.entropy_term}
    stress_of_tail = 0.0
    if state.filling.tail_electrons:
        parts["tail_kinetic"] = state.filling.tail_kinetic
        stress_of_tail = -2 / 3 * state.filling.tail_kinetic / problem.grid.volume
    gradients = torch.zeros(len(problem.ions.symbols) + 3, 3, dtype=torch.float64, device=problem.ions.cell.device)

    def work(term: tuple[str, int | None]) -> tuple[str, float, Tensor]:
        name, k = term
        strained = _Strained(problem.ions)
        energy = (
            _density_part(name, problem, state, strained.ions)
            if k is None
            else _band_part(name, k, problem, state, strained.ions)
        )
        return name, float(energy.detach()), strained.gradient(energy)

    for name, energy, gradient in pool.map(work, _terms(problem)):
        parts[name] = parts.get(name, 0.0) + energy
        gradients += gradient
    forces = -gradients[:-3].cpu().numpy()
    stress = gradients[-3:].cpu().numpy() / problem.grid.volume + stress_of_tail * np.eye(3)
    return TotalEnergy(parts, forces - forces.mean(axis=0), (stress + stress.T) / 2)


class _Strained:
    """Ions whose positions and cell depend on a displacement and a strain, both zero."""

    def __init__(self, ions: Ions) -> None:
        self._displacement = torch.zeros_like(ions.positions, requires_grad=True)
        self._strain = torch.zeros_like(ions.cell, requires_grad=True)
        deformation = torch.eye(3, dtype=ions.cell.dtype, device=ions.cell.device) + self._strain
        positions = (ions.positions + self._displacement) @ deformation
        self.ions = replace(ions, positions=positions, cell=ions.cell @ deformation)

    def gradient(self, energy: Tensor) -> Tensor:
        """Returns dE/d(displacement, strain), (n + 3, 3); zero for an energy without such dependence."""
        leaves = (self._displacement, self._strain)
        if not energy.requires_grad:  # an element without projectors has no nonlocal energy
            return torch.cat([torch.zeros_like(x) for x in leaves])
        grads = torch.autograd.grad(energy, leaves, allow_unused=True)
        return torch.cat([torch.zeros_like(x) if g is None else g for g, x in zip(grads, leaves, strict=True)])


def _terms(problem: Problem) -> Iterator[tuple[str, int | None]]:
    for name in ("local", "hartree", "xc", "ewald"):
        yield name, None
    for k in range(len(problem.waves)):
        yield "kinetic", k
        yield "nonlocal", k


def _density_part(name: str, problem: Problem, state: ScfState, ions: Ions) -> Tensor:
    """Returns a part that depends on the density only, eV; the electrons in each voxel are fixed under strain."""
    shape = problem.grid.shape
    density = state.density * (problem.grid.volume / ions.volume)
    if name == "local":
        coefficients = torch.fft.fftn(state.density, norm="forward") * problem.grid.volume
        return torch.sum(coefficients.conj() * local_potential(ions, shape)).real
    if name == "hartree":
        return hartree_energy(density, FourierGrid(ions.cell, shape))
    if name == "xc":
        grid = FourierGrid(ions.cell, shape)
        core = core_density(ions.cores, ions.symbols, ions.positions, grid)
        return xc_energy(density + core, grid, problem.functional)
    charges = [ions.potentials[symbol].valence for symbol in ions.symbols]
    return ewald_energy(ions.positions, torch.tensor(charges, dtype=torch.float64, device=ions.cell.device), ions.cell)


def _band_part(name: str, k: int, problem: Problem, state: ScfState, ions: Ions) -> Tensor:
    """Returns the kinetic or nonlocal energy of the bands of one k-point, eV."""
    waves, bands = problem.waves[k], state.states[k]
    filled = 2 * problem.weights[k] * state.filling.weights[k]
    chosen = np.abs(filled) > 1e-12
    coefficients = bands.coefficients[torch.as_tensor(chosen)].to(torch.complex128)
    weights = torch.as_tensor(filled[chosen], device=coefficients.device)
    if name == "kinetic":
        occupied = weights @ (coefficients.abs() ** 2)
        return units.KINETIC * torch.sum(occupied * torch.sum(waves.vectors(ions.reciprocal) ** 2, dim=1))
    beta, coupling = projectors(ions, waves)
    overlaps = coefficients @ beta.conj().T
    return torch.einsum(
        "b,bp,pq,bq->", weights.to(overlaps.dtype), overlaps.conj(), coupling.to(overlaps.dtype), overlaps
    ).real
