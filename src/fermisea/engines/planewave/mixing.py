"""Anderson mixing of densities with Kerker preconditioning.

D. G. Anderson, J. ACM 12, 547 (1965); G. P. Kerker, PRB 23, 3082 (1981).
"""

from __future__ import annotations

import torch
from torch import Tensor


class AndersonMixer:
    """Proposes the next input density from the history of inputs and residuals.

    Densities are stored as Fourier coefficients. The scalar product of two residuals is their Coulomb energy, so
    long-wavelength errors, which cost most energy, have the largest weight.
    """

    def __init__(self, squared_momenta: Tensor, screening: float, fraction: float, history: int) -> None:
        """Creates a mixer with an empty history.

        Args:
            squared_momenta: |G|^2 of the grid, (nx, ny, nz), 1/Angstrom^2.
            screening: wave number below which charge is screened, 1/Angstrom.
            fraction: mixing fraction of short-wavelength residuals, 0 to 1.
            history: number of earlier steps used.
        """
        self._metric = torch.where(squared_momenta > 0, 1 / squared_momenta.clamp_min(1e-30), 0.0)
        self._kerker = fraction * squared_momenta / (squared_momenta + screening**2)
        self._history = history
        self._inputs: list[Tensor] = []
        self._residuals: list[Tensor] = []

    def next_input(self, density_in: Tensor, density_out: Tensor) -> Tensor:
        """Returns the next input density, (nx, ny, nz), 1/Angstrom^3, with the electron number of ``density_in``."""
        current = torch.fft.fftn(density_in, norm="forward")
        residual = torch.fft.fftn(density_out, norm="forward") - current
        self._inputs.append(current)
        self._residuals.append(residual)
        del self._inputs[: -self._history - 1], self._residuals[: -self._history - 1]
        best_in, best_residual = current, residual
        if len(self._inputs) > 1:
            steps = torch.stack([residual - r for r in self._residuals[:-1]]).flatten(1)
            moves = torch.stack([current - x for x in self._inputs[:-1]]).flatten(1)
            weighted = steps.conj() * self._metric.flatten()
            gram = (weighted @ steps.T).real
            right = (weighted @ residual.flatten()).real
            scale = torch.diag(gram).clamp_min(1e-300).rsqrt()
            gram = gram * scale[:, None] * scale
            solution = torch.linalg.pinv(gram, rtol=1e-10, hermitian=True) @ (right * scale)
            weights = (solution * scale).to(moves.dtype)
            best_in = current - (weights @ moves).reshape(current.shape)
            best_residual = residual - (weights @ steps).reshape(current.shape)
        return torch.fft.ifftn(best_in + self._kerker * best_residual, norm="forward").real
