"""Eigensolver for the wavefunctions of all k-points in a pool of threads, and their density."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fermisea import units
from fermisea.engines.basis import PlaneWaves
from fermisea.engines.planewave.eigensolver import Bands, Tolerance, all_bands, davidson, first_guess, outside_span
from fermisea.engines.planewave.hamiltonian import Hamiltonian
from fermisea.engines.planewave.ions import projectors
from fermisea.engines.planewave.problem import Problem
from fermisea.utilities.threads import Workers

_WAVES_PER_BAND = 5
"""Number of plane waves for each band up to which dense diagonalisation takes less time than the iteration, whose
basis would be nearly as large."""


class KPointSolver:
    """Stores the wavefunctions of all k-points between calls; every call starts from the last ones."""

    def __init__(self, problem: Problem, pool: Workers) -> None:
        """Computes the projectors of all k-points."""
        self._pool = pool
        self._problem = problem
        self._exact = list(pool.map(self._hamiltonian, problem.waves))
        self._hamiltonians = self._exact
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

    def cast(self, dtype: torch.dtype) -> None:
        """Changes the precision of the following calls and converts the stored wavefunctions."""
        if self._hamiltonians[0].projectors.dtype == dtype:
            return
        real = dtype.to_real()
        self._hamiltonians = [
            replace(h, kinetic=h.kinetic.to(real), projectors=h.projectors.to(dtype), coupling=h.coupling.to(dtype))
            for h in self._exact
        ]
        if self._bands is not None:
            self._bands = [replace(b, coefficients=b.coefficients.to(dtype)) for b in self._bands]

    def solve(
        self,
        potential: Tensor,
        bands: int,
        tolerance: Tolerance,
        max_steps: int,
        max_blocks: int = 4,
        *,
        whole: bool = False,
    ) -> list[Bands]:
        """Returns the lowest eigenstates at each k-point.

        Args:
            potential: effective local potential, (nx, ny, nz), eV.
            bands: number of bands at each k-point.
            tolerance: function of eigenvalues (eV) that returns the required residual norms (eV).
            max_steps: largest number of expansions of the basis.
            max_blocks: as for ``davidson``.
            whole: whether to return all states of the basis, by dense diagonalisation, whatever the other arguments.
        """
        shared = potential.to(self._hamiltonians[0].kinetic.dtype)

        def one(index: int) -> Bands:
            hamiltonian = replace(self._hamiltonians[index], potential=shared)
            count = min(bands, len(hamiltonian.waves))
            if whole:
                return all_bands(hamiltonian)
            if _WAVES_PER_BAND * count >= len(hamiltonian.waves):
                return all_bands(hamiltonian, count)
            if self._bands is None:
                start = first_guess(hamiltonian, count)
            else:
                start = self._bands[index].coefficients[:count]
                if start.shape[0] < count:
                    # additional rows are orthogonalised to the converged ones, which stay unchanged
                    start = torch.cat([start, outside_span(start, first_guess(hamiltonian, count))])
            return davidson(hamiltonian, start, count, tolerance, max_steps=max_steps, max_blocks=max_blocks)

        self._bands = list(self._pool.map(one, range(len(self._hamiltonians))))
        return self._bands


def weighted_density(
    problem: Problem, states: Sequence[Bands], occupations: Sequence[npt.NDArray[np.float64]], pool: Workers
) -> Tensor:
    """Returns sum_k w_k sum_n 2 f_nk |psi_nk(r)|^2, (nx, ny, nz), 1/Angstrom^3.

    Args:
        problem: problem with k-points, weights and volume.
        states: bands of each k-point.
        occupations: weight of each band at each k-point, (bands,); its occupation f without a tail, with a tail
            possibly negative.
        pool: thread pool for the k-points; the sum is in their order for any number of threads.
    """

    def one(index: int) -> Tensor:
        waves, coefficients = problem.waves[index], states[index].coefficients
        filled = 2 * problem.weights[index] / problem.grid.volume * occupations[index]
        chosen = np.abs(filled) > 1e-16
        coefficients, filled = coefficients[torch.as_tensor(chosen)], filled[chosen]
        # real and imaginary parts are summed separately, which makes each band one fused operation
        total = torch.zeros((*problem.grid.shape, 2), dtype=coefficients.dtype.to_real(), device=coefficients.device)
        for band, weight in enumerate(filled):
            field = torch.view_as_real(waves.to_grid(coefficients[band : band + 1])[0])
            total.addcmul_(field, field, value=float(weight))
        return total.double().sum(dim=-1)

    total = torch.zeros(problem.grid.shape, dtype=torch.float64, device=problem.ions.cell.device)
    for part in pool.map(one, range(len(states))):
        total += part
    return total
