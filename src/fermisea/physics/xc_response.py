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

from fermisea.physics.fields import derivative, differentiated, gradient_coefficients, real_field, volume
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


def xc_response(density: Tensor, cell: Tensor, functional: Functional, direction: Tensor) -> XcResponse:
    """Returns the derivatives of the energy of :func:`fermisea.physics.xc.xc_energy` on the same grid.

    Args:
        density: rho, valence plus core, (nx, ny, nz), 1/Angstrom^3.
        cell: lattice vectors as rows, (3, 3), Angstrom.
        functional: exchange-correlation functional.
        direction: q, (nx, ny, nz), 1/Angstrom^3.
    """
    density, cell, direction = density.detach(), cell.detach(), direction.detach()
    own, other = list[Tensor](), list[Tensor]()
    fields, change = [density], [direction]
    if functional.needs_gradient:
        own, other = _gradient(density, cell), _gradient(direction, cell)
        fields.append(_dot(own, own))
        change.append(_dot(own, other).mul_(2))
    # results overwrite their inputs, except for the fields of the caller
    first, second = ([torch.empty_like(found[0]), *found[1:]] for found in (fields, change))
    energy = slope = 0.0
    for start in range(0, density.numel(), _BLOCK):
        part = slice(start, start + _BLOCK)
        along = [field.reshape(-1)[part] for field in change]
        with torch.enable_grad():
            block = [field.reshape(-1)[part].clone().requires_grad_() for field in fields]
            value = functional.energy_density(*block).sum()
            by_fields = torch.autograd.grad(value, block, create_graph=True)
        bent = torch.autograd.grad(by_fields, block, along)
        energy += value.item()
        slope += sum(torch.dot(a.detach(), b).item() for a, b in zip(by_fields, along, strict=True))
        for index, (a, b) in enumerate(zip(by_fields, bent, strict=True)):
            first[index].view(-1)[part], second[index].view(-1)[part] = a.detach(), b
    point = float(volume(cell)) / density.numel()
    energy_strain, slope_strain = (torch.eye(3, dtype=torch.float64) * (value * point) for value in (energy, slope))
    potential, response = first[0], second[0]
    if functional.needs_gradient:
        potential.sub_(_divergence((first[1] * a for a in own), cell), alpha=2)
        flows = ((second[1] * a).addcmul_(first[1], b) for a, b in zip(own, other, strict=True))
        response.sub_(_divergence(flows, cell), alpha=2)
        energy_strain -= 2 * point * _products(first[1], own, own)
        mixed = _products(first[1], own, other)
        slope_strain -= 2 * point * (_products(second[1], own, own) + mixed + mixed.T)
    return XcResponse(potential, response, energy_strain, slope_strain)


def xc_potential_and_strain(density: Tensor, cell: Tensor, functional: Functional) -> tuple[Tensor, Tensor]:
    """Returns v_xc, (nx, ny, nz), eV, and the strain derivative of E_xc at fixed values on the grid points, (3, 3), eV.

    The results are the same as from :func:`xc_response`, without second derivatives.

    Args:
        density: valence plus core, (nx, ny, nz), 1/Angstrom^3.
        cell: lattice vectors as rows, (3, 3), Angstrom.
        functional: exchange-correlation functional.
    """
    density, cell = density.detach(), cell.detach()
    own = _gradient(density, cell) if functional.needs_gradient else []
    sigma = _dot(own, own) if own else None
    potential, energy = torch.empty_like(density), 0.0
    for part, value, by_fields in slopes(functional, density, sigma):
        energy += value.item()
        potential.view(-1)[part] = by_fields[0]
        if sigma is not None:  # no longer needed there
            sigma.view(-1)[part] = by_fields[1]
    point = float(volume(cell)) / density.numel()
    strain = torch.eye(3, dtype=torch.float64) * (energy * point)
    if sigma is not None:
        strain -= 2 * point * _products(sigma, own, own)
        potential.sub_(_divergence((sigma * a for a in own), cell), alpha=2)
    return potential, strain


def _gradient(field: Tensor, cell: Tensor) -> list[Tensor]:
    coefficients, shape = gradient_coefficients(field), _shape(field)
    return [derivative(coefficients, cell, shape, axis) for axis in range(3)]


def _dot(one: Sequence[Tensor], two: Sequence[Tensor]) -> Tensor:
    """Returns the scalar product of two vector fields at every point, (nx, ny, nz)."""
    total = one[0] * two[0]
    for a, b in zip(one[1:], two[1:], strict=True):
        total.addcmul_(a, b)
    return total


def _divergence(flow: Iterable[Tensor], cell: Tensor) -> Tensor:
    """Returns the divergence, (nx, ny, nz), of a vector field given as three components."""
    total, shape = None, (0, 0, 0)
    for axis, component in enumerate(flow):
        shape = _shape(component)
        part = differentiated(gradient_coefficients(component), cell, shape, axis)
        total = part if total is None else total.add_(part)
    assert total is not None  # noqa: S101  # three axes
    return real_field(total, shape)


def _products(weight: Tensor, one: Sequence[Tensor], two: Sequence[Tensor]) -> Tensor:
    """Returns sums of weight times a component of one field times a component of another, (3, 3)."""
    weighted = ((weight * component).reshape(-1) for component in one)
    return torch.stack([torch.stack([torch.dot(row, b.reshape(-1)) for b in two]) for row in weighted])


def _shape(field: Tensor) -> tuple[int, int, int]:
    return field.shape[0], field.shape[1], field.shape[2]
