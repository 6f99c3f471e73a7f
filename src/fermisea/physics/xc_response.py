"""Exchange and correlation to second order: changes of energy and potential with density and cell.

With densities rho and q and S = int v_xc[rho] q, the derivative of E_xc along q:

    dS/drho = K q = h_n - 2 div(h_s grad rho + e_s grad q),   (h_n, h_s) = e'' (q, 2 grad rho . grad q),

where e is the energy per volume as a function of rho and s = |grad rho|^2, and e'' is the matrix of its second
derivatives. Under a strain with fixed values on the grid points, the relative change of the gradients is -strain, and
the relative change of the volume is the trace of the strain.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fermisea.physics.fields import FourierGrid
from fermisea.physics.xc import Functional, slopes

_BLOCK = 2**14
"""Number of grid points in a block of derivatives."""


@dataclass(frozen=True)
class XcResponse:
    """Derivatives of E_xc and of S, as defined in the module.

    Attributes:
        potential: v_xc of rho, (nx, ny, nz), eV.
        response: K q, (nx, ny, nz), eV.
        energy_strain: derivative of E_xc with respect to strain at fixed values on the grid points, (3, 3), eV.
        slope_strain: the same derivative of S, (3, 3), eV.
    """

    potential: Tensor
    response: Tensor
    energy_strain: Tensor
    slope_strain: Tensor


def xc_response(density: Tensor, grid: FourierGrid, functional: Functional, direction: Tensor) -> XcResponse:
    """Returns the derivatives of the energy of :func:`fermisea.physics.xc.xc_energy` on the same grid.

    Args:
        density: rho, valence plus core, (nx, ny, nz), 1/Angstrom^3.
        grid: grid of the density.
        functional: exchange-correlation functional.
        direction: q, (nx, ny, nz), 1/Angstrom^3.
    """
    density, direction, grid = density.detach(), direction.detach(), grid.with_cell(grid.cell.detach())
    own, other = list[Tensor](), list[Tensor]()
    fields, change = [density], [direction]
    if functional.needs_gradient:
        own, other = _gradient(density, grid), _gradient(direction, grid)
        fields.append(_dot(own, own))
        change.append(_dot(own, other).mul_(2))
    # results overwrite their inputs, except for the fields of the caller
    first, second = ([torch.empty_like(found[0]), *found[1:]] for found in (fields, change))
    sums = torch.zeros(2, dtype=torch.float64)
    for start in range(0, density.numel(), _BLOCK):
        part = slice(start, start + _BLOCK)
        along = [field.reshape(-1)[part] for field in change]
        with torch.enable_grad():
            block = [field.reshape(-1)[part].clone().requires_grad_() for field in fields]
            value = functional.energy_density(*block).sum()
            by_fields = torch.autograd.grad(value, block, create_graph=True)
        bent = torch.autograd.grad(by_fields, block, along)
        sums[0] += value.item()
        sums[1] += sum(torch.dot(a.detach(), b).item() for a, b in zip(by_fields, along, strict=True))
        for index, (a, b) in enumerate(zip(by_fields, bent, strict=True)):
            first[index].view(-1)[part], second[index].view(-1)[part] = a.detach(), b
    energy_strain, slope_strain = (torch.eye(3, dtype=torch.float64) * value for value in sums)
    potential, response = first[0], second[0]
    if functional.needs_gradient:
        potential.sub_(_divergence((first[1] * a for a in own), grid), alpha=2)
        flows = ((second[1] * a).addcmul_(first[1], b) for a, b in zip(own, other, strict=True))
        response.sub_(_divergence(flows, grid), alpha=2)
        energy_strain -= 2 * _products(first[1], own, own)
        mixed = _products(first[1], own, other)
        slope_strain -= 2 * (_products(second[1], own, own) + mixed + mixed.T)
    strains = grid.total(torch.stack([energy_strain, slope_strain])) * grid.voxel
    return XcResponse(potential, response, *strains)


def xc_potential_and_strain(density: Tensor, grid: FourierGrid, functional: Functional) -> tuple[Tensor, Tensor]:
    """Returns v_xc, (nx, ny, nz), eV, and the strain derivative of E_xc at fixed values on the grid points, (3, 3), eV.

    The results are the same as from :func:`xc_response`, without second derivatives.

    Args:
        density: valence plus core, (nx, ny, nz), 1/Angstrom^3.
        grid: grid of the density.
        functional: exchange-correlation functional.
    """
    density, grid = density.detach(), grid.with_cell(grid.cell.detach())
    own = _gradient(density, grid) if functional.needs_gradient else []
    sigma = _dot(own, own) if own else None
    potential, energy = torch.empty_like(density), 0.0
    for part, value, by_fields in slopes(functional, density, sigma):
        energy += value.item()
        potential.view(-1)[part] = by_fields[0]
        if sigma is not None:  # no longer needed there
            sigma.view(-1)[part] = by_fields[1]
    strain = torch.eye(3, dtype=torch.float64) * energy
    if sigma is not None:
        strain -= 2 * _products(sigma, own, own)
        potential.sub_(_divergence((sigma * a for a in own), grid), alpha=2)
    return potential, grid.total(strain) * grid.voxel


def _gradient(field: Tensor, grid: FourierGrid) -> list[Tensor]:
    coefficients = grid.gradient_coefficients(field)
    return [grid.derivative(coefficients, axis) for axis in range(3)]


def _dot(one: Sequence[Tensor], two: Sequence[Tensor]) -> Tensor:
    """Returns the scalar product of two vector fields at every point, (nx, ny, nz)."""
    total = one[0] * two[0]
    for a, b in zip(one[1:], two[1:], strict=True):
        total.addcmul_(a, b)
    return total


def _divergence(flow: Iterable[Tensor], grid: FourierGrid) -> Tensor:
    """Returns the divergence, (nx, ny, nz), of a vector field given as three components."""
    total = None
    for axis, component in enumerate(flow):
        part = grid.differentiated(grid.gradient_coefficients(component), axis)
        total = part if total is None else total.add_(part)
    assert total is not None  # noqa: S101  # three axes
    return grid.field(total)


def _products(weight: Tensor, one: Sequence[Tensor], two: Sequence[Tensor]) -> Tensor:
    """Returns sums of weight times a component of one field times a component of another, (3, 3)."""
    weighted = ((weight * component).reshape(-1) for component in one)
    return torch.stack([torch.stack([torch.dot(row, b.reshape(-1)) for b in two]) for row in weighted])
