"""The Kohn-Sham Hamiltonian at one k-point, applied to rows of plane-wave coefficients."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fermisea.engines.basis import PlaneWaves


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
        """Returns H psi, (bands, npw), eV, of coefficients (bands, npw)."""
        result = coefficients * self.kinetic
        for batch in self.waves.batches(coefficients.shape[0], coefficients.device):
            field = self.waves.to_grid(coefficients[batch])
            result[batch] += self.waves.from_grid(field.mul_(self.potential))
        if self.projectors.shape[0]:
            overlaps = coefficients @ self.projectors.conj().T
            result += (overlaps @ self.coupling) @ self.projectors
        return result

    def matrix(self, chosen: Tensor) -> Tensor:
        """Returns H between some of the plane waves, (m, m), eV.

        Args:
            chosen: their positions, (m,).
        """
        indices, shape = self.waves.indices[chosen], self.potential.shape
        strides = (shape[1] * shape[2], shape[2], 1)
        place = sum(
            stride * torch.remainder(axis[:, None] - axis[None], size)
            for axis, size, stride in zip(indices.T, shape, strides, strict=True)
        )
        coefficients = torch.fft.fftn(self.potential.to(self.projectors.dtype), norm="forward").flatten()
        result = coefficients[place]
        result.diagonal().add_(self.kinetic[chosen])
        projectors = self.projectors[:, chosen]
        return result.addmm_(projectors.T, self.coupling.T @ projectors.conj())

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
