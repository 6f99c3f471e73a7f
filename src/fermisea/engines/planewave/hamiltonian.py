"""The Kohn-Sham Hamiltonian at one k-point, applied to rows of plane-wave coefficients."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fermisea.engines.basis import PlaneWaves

_ROWS = 128
"""Number of matrix rows in a block."""


@dataclass(frozen=True)
class Hamiltonian:
    """H = T + V_eff(r) + sum |beta> D <beta|.

    Attributes:
        waves: plane waves of the k-point.
        kinetic: kinetic energies, (npw,), eV.
        projectors: (p, npw), complex.
        coupling: D, (p, p), eV, complex like the projectors.
        potential: effective local potential on the grid, (nx, ny, nz), eV.
    """

    waves: PlaneWaves
    kinetic: Tensor
    projectors: Tensor
    coupling: Tensor
    potential: Tensor

    def apply(self, coefficients: Tensor) -> Tensor:
        """Returns H psi, (bands, npw), eV, for coefficients (bands, npw)."""
        result = coefficients * self.kinetic
        for batch in self.waves.batches(coefficients.shape[0], coefficients.device):
            field = self.waves.to_grid(coefficients[batch])
            result[batch] += self.waves.from_grid(field.mul_(self.potential))
        if self.projectors.shape[0]:
            overlaps = coefficients @ self.projectors.conj().T
            result += (overlaps @ self.coupling) @ self.projectors
        return result

    def matrix(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Returns matrix elements of H between two sets of plane waves, (rows, columns), eV.

        Args:
            rows: indices of plane waves, (rows,).
            columns: indices of plane waves, (columns,); either equal to ``rows`` or disjoint from it.
        """
        coefficients = torch.fft.fftn(self.potential.to(self.projectors.dtype), norm="forward")
        result = self.projectors[:, rows].T @ (self.coupling.T @ self.projectors[:, columns].conj())
        columns_of = self.waves.indices[columns].T
        for first in range(0, len(rows), _ROWS):
            part = slice(first, first + _ROWS)
            place = (
                torch.remainder(own[:, None] - other[None], size)
                for own, other, size in zip(
                    self.waves.indices[rows[part]].T, columns_of, coefficients.shape, strict=True
                )
            )
            result[part] += coefficients[tuple(place)]
        if torch.equal(rows, columns):
            result.diagonal().add_(self.kinetic[rows])
        return result

    def diagonal(self) -> Tensor:
        """Returns the diagonal of H, (npw,), eV."""
        nonlocal_part = torch.sum(self.projectors * (self.coupling.T @ self.projectors.conj()), dim=0).real
        return self.kinetic + self.potential.mean() + nonlocal_part

    def precondition(self, residuals: Tensor, kinetic_energies: Tensor) -> Tensor:
        """Returns residuals (bands, npw) damped at large kinetic energy (Teter, Payne, Allan, PRB 40, 12255, 1989).

        Args:
            residuals: H psi - eps psi.
            kinetic_energies: kinetic energy of each band, (bands,), eV.
        """
        x = self.kinetic / (1.5 * kinetic_energies[:, None])
        numerator = 27 + x * (18 + x * (12 + 8 * x))
        return residuals * (numerator / (numerator + 16 * x**4))


def band_kinetic_energies(kinetic: Tensor, coefficients: Tensor) -> Tensor:
    """Returns the kinetic energy of each normalised band, (bands,), eV."""
    return (coefficients.abs() ** 2) @ kinetic
