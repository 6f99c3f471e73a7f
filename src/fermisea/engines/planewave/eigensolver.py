"""Block Davidson iteration for the lowest bands (Davidson, J. Comput. Phys. 17, 87, 1975)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fermisea.engines.planewave.hamiltonian import Hamiltonian, band_kinetic_energies

_GAP = 1.0
"""Smallest energy distance, eV, assumed between plane waves of the initial guess and the folded ones."""

Tolerance = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Bands:
    """Lowest eigenstates of one k-point.

    Attributes:
        eigenvalues: (bands,), ascending, eV, float64.
        coefficients: (bands, npw), orthonormal rows.
        residuals: norm of H psi - eps psi for each band, eV.
    """

    eigenvalues: Tensor
    coefficients: Tensor
    residuals: Tensor


def first_guess(hamiltonian: Hamiltonian, bands: int) -> Tensor:
    """Returns initial rows: the lowest eigenstates in the space of plane waves of lowest kinetic energy.

    The space has two plane waves for each band, at least forty. The others are included by Loewdin partitioning (J.
    Chem. Phys. 19, 1396 (1951)), neglecting their mutual coupling; this saves two of four steps.
    """
    order = torch.argsort(hamiltonian.kinetic)
    chosen, others = order.tensor_split([max(2 * bands, 40)])
    bands = min(bands, len(chosen))
    matrix, coupling = hamiltonian.matrix(chosen, chosen), hamiltonian.matrix(chosen, others)
    high = hamiltonian.diagonal()[others]
    middle = matrix.diagonal().real[:bands].mean()
    matrix -= (coupling / (high - middle).clamp_min(_GAP)) @ coupling.conj().T
    values, vectors = torch.linalg.eigh(matrix)
    vectors = vectors[:, :bands]
    start = hamiltonian.projectors.new_empty((bands, len(order)))
    start[:, chosen] = vectors.T
    start[:, others] = vectors.T @ coupling.conj() / (values[:bands, None] - high).clamp_max(-_GAP)
    return start


def davidson(
    hamiltonian: Hamiltonian, start: Tensor, bands: int, tolerance: Tolerance, *, max_steps: int, max_blocks: int = 4
) -> Bands:
    """Returns the lowest bands, iterated until each residual norm is below its tolerance or ``max_steps`` is reached.

    Args:
        hamiltonian: Hamiltonian of one k-point.
        start: rows that span an initial guess, at least as many as bands, (rows, npw).
        bands: number of bands.
        tolerance: function of eigenvalues (eV) that returns the required residual norms (eV).
        max_steps: largest number of expansions of the basis.
        max_blocks: size of the basis, in units of ``bands``, above which it is restarted from the bands.
    """
    basis = _orthonormal(start)
    image = hamiltonian.apply(basis)
    matrix = _gram(basis, image)
    values, psi, h_psi = _ritz(matrix, basis, image, bands)
    for step in range(max_steps + 1):
        residual = h_psi - values[:, None] * psi
        norms = _norms(residual)
        wanted = torch.as_tensor(tolerance(values.double().cpu().numpy()), device=norms.device)
        open_bands = torch.nonzero(norms > wanted).flatten()
        if step == max_steps or open_bands.numel() == 0:
            break
        if basis.shape[0] + open_bands.numel() > min(max_blocks * bands, psi.shape[1]):
            basis, image = psi, h_psi
            matrix = torch.diag(values).to(psi.dtype)
        kinetic = band_kinetic_energies(hamiltonian.kinetic, psi[open_bands])
        new = hamiltonian.precondition(residual[open_bands], kinetic)
        new = outside_span(basis, new)
        if new.shape[0] == 0:
            break
        h_new = hamiltonian.apply(new)
        corner = _gram(basis, h_new)
        matrix = torch.cat(
            [torch.cat([matrix, corner], dim=1), torch.cat([corner.conj().T, _gram(new, h_new)], dim=1)], dim=0
        )
        basis, image = torch.cat([basis, new]), torch.cat([image, h_new])
        values, psi, h_psi = _ritz(matrix, basis, image, bands)
    return Bands(values.double(), psi, norms.double())


def all_bands(hamiltonian: Hamiltonian, bands: int | None = None) -> Bands:
    """Returns all eigenstates of the basis, or the lowest ones, by diagonalisation of the whole matrix."""
    waves = torch.arange(len(hamiltonian.waves), device=hamiltonian.kinetic.device)
    matrix = hamiltonian.matrix(waves, waves)
    values, vectors = torch.linalg.eigh((matrix + matrix.conj().T) / 2)
    values, vectors = values[:bands].double(), vectors[:, :bands]
    return Bands(values, vectors.T.contiguous(), torch.zeros_like(values))


def _norms(rows: Tensor) -> Tensor:
    # the norm of the real view is several times faster than the norm of complex numbers
    return torch.linalg.vector_norm(torch.view_as_real(rows).flatten(1), dim=1)


def _gram(left: Tensor, right: Tensor) -> Tensor:
    return left.conj() @ right.T


def _ritz(matrix: Tensor, basis: Tensor, image: Tensor, bands: int) -> tuple[Tensor, Tensor, Tensor]:
    values, rotation = torch.linalg.eigh((matrix + matrix.conj().T) / 2)
    rotation = rotation[:, :bands]
    return values[:bands], rotation.T @ basis, rotation.T @ image


def _orthonormal(rows: Tensor) -> Tensor:
    """Returns orthonormal rows of the same span (dependent directions are dropped)."""
    rows = rows / _norms(rows)[:, None].clamp_min(1e-30)
    values, vectors = torch.linalg.eigh(_gram(rows, rows))
    keep = values > (1e-10 if rows.dtype == torch.complex128 else 1e-5)
    return (vectors[:, keep] / torch.sqrt(values[keep])).T @ rows


def outside_span(basis: Tensor, new: Tensor) -> Tensor:
    """Returns orthonormal rows that span the part of ``new`` outside of the orthonormal ``basis``; both (rows, npw)."""
    new = new / _norms(new)[:, None].clamp_min(1e-30)
    new = new - (new @ basis.conj().T) @ basis
    new = _orthonormal(new)
    new = new - (new @ basis.conj().T) @ basis
    return _orthonormal(new)
