"""Wavefunctions of all k-points, solved in a pool of threads, and the densities they make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fermisea import units
from fermisea.engines.planewave.basis import PlaneWaves
from fermisea.engines.planewave.eigensolver import Bands, davidson, lowest_plane_waves
from fermisea.engines.planewave.hamiltonian import Hamiltonian
from fermisea.engines.planewave.ions import projectors
from fermisea.engines.planewave.problem import Problem
from fermisea.engines.planewave.workers import Workers


class KPointSolver:
    """Holds the wavefunctions of all k-points between calls; every call continues from the last ones."""

    def __init__(self, problem: Problem, pool: Workers) -> None:
        """Computes the projectors of every k-point once."""
        self._pool = pool
        self._problem = problem
        self._hamiltonians = list(pool.map(self._hamiltonian, problem.waves))
        self._bands: list[Bands] | None = None

    def _hamiltonian(self, waves: PlaneWaves) -> Hamiltonian:
        ions = self._problem.ions
        beta, coupling = projectors(ions, waves)
        kinetic = units.KINETIC * torch.sum(waves.vectors(ions.reciprocal) ** 2, dim=1)
        dtype = self._problem.dtype
        potential = kinetic.new_zeros(self._problem.grid.shape)
        return Hamiltonian(
            waves,
            kinetic.to(dtype.to_real()),
            beta.to(dtype),
            coupling.to(dtype),
            potential.to(dtype.to_real()),
        )

    def solve(
        self,
        potential: Tensor,
        bands: int,
        tolerance: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]],
        max_steps: int,
    ) -> list[Bands]:
        """Returns the lowest eigenstates at each k-point.

        Args:
            potential: effective local potential, (nx, ny, nz), eV.
            bands: how many at each k-point.
            tolerance: residual norms wanted, eV, from a first guess of the eigenvalues (eV; empty in the first call).
            max_steps: expansions of the basis at most.
        """
        shared = potential.to(self._problem.dtype.to_real())

        def one(index: int) -> Bands:
            hamiltonian = replace(self._hamiltonians[index], potential=shared)
            count = min(bands, len(hamiltonian.waves))
            guess = np.empty(0)
            if self._bands is None:
                start = lowest_plane_waves(hamiltonian, count)
            else:
                start = self._bands[index].coefficients[:count]
                guess = self._bands[index].eigenvalues.cpu().numpy()[:count]
                if start.shape[0] < count:
                    start = torch.cat([start, lowest_plane_waves(hamiltonian, count)])
            wanted = np.full(count, float(tolerance(np.array([np.inf]))[0]))
            wanted[: guess.size] = tolerance(guess)
            limits = torch.as_tensor(wanted, dtype=shared.dtype, device=start.device)
            return davidson(hamiltonian, start, limits, max_steps=max_steps)

        self._bands = list(self._pool.map(one, range(len(self._hamiltonians))))
        return self._bands


def weighted_density(
    problem: Problem, states: Sequence[Bands], occupations: Sequence[npt.NDArray[np.float64]], pool: Workers
) -> Tensor:
    """Returns sum_k w_k sum_n 2 f_nk |psi_nk(r)|^2, (nx, ny, nz), 1/Angstrom^3.

    Args:
        problem: supplies k-points, weights and volume.
        states: bands of each k-point.
        occupations: f of each k-point, (bands,), 0 to 1.
        pool: runs the k-points; the sum is in their order, whatever the number of threads.
    """

    def one(index: int) -> Tensor:
        waves, coefficients = problem.waves[index], states[index].coefficients
        filled = 2 * problem.weights[index] / problem.grid.volume * occupations[index]
        chosen = filled > 1e-16
        coefficients, filled = coefficients[torch.as_tensor(chosen)], filled[chosen]
        total = torch.zeros(problem.grid.shape, dtype=torch.float64, device=coefficients.device)
        for batch in waves.batches(len(filled), coefficients.device):
            field = waves.to_grid(coefficients[batch])
            squares = torch.view_as_real(field).double().square_().sum(dim=-1)
            total += torch.einsum("b,bxyz->xyz", torch.as_tensor(filled[batch], device=total.device), squares)
        return total

    total = torch.zeros(problem.grid.shape, dtype=torch.float64, device=problem.ions.cell.device)
    for part in pool.map(one, range(len(states))):
        total += part
    return total
