"""Exchange and correlation to second order: how energy and potential change with density and cell.

With rho a density, q another one and S = int v_xc[rho] q, the derivative of E_xc along q:

    dS/drho = K q = h_n - 2 div(h_s grad rho + e_s grad q),   (h_n, h_s) = e'' (q, 2 grad rho . grad q),

e being the energy per volume as a function of rho and s = |grad rho|^2, e'' the matrix of its second derivatives. Under
a strain with fixed values on the grid the gradients change by -strain times themselves, and the volume by its trace.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fermisea.energies.fields import derivative, differentiated, gradient_coefficients, real_field, volume
from fermisea.energies.xc import Functional

_BLOCK = 2**14
"""Grid points whose derivatives are taken at once."""


@dataclass(frozen=True)
class XcResponse:
    """Derivatives of E_xc and of S, see the module.

    Attributes:
        potential: v_xc of rho, (nx, ny, nz), eV.
        response: K q, (nx, ny, nz), eV.
        energy_strain: of E_xc by the strain at fixed values on the grid, (3, 3), eV.
        slope_strain: of S, likewise.
    """

    potential: Tensor
    response: Tensor
    energy_strain: Tensor
    slope_strain: Tensor


def xc_response(density: Tensor, cell: Tensor, functional: Functional, direction: Tensor) -> XcResponse:
    """Returns the derivatives of the energy that :func:`fermisea.energies.xc_energy` gives on the same grid.

    Args:
        density: rho, valence plus core, (nx, ny, nz), 1/Angstrom^3.
        cell: lattice vectors as rows, (3, 3), Angstrom.
        functional: which.
        direction: q, (nx, ny, nz), 1/Angstrom^3.
    """
    density, cell, direction = density.detach(), cell.detach(), direction.detach()
    point = float(volume(cell)) / density.numel()
    own, other = list[Tensor](), list[Tensor]()
    fields, change = [density], [direction]
    if functional.needs_gradient:
        own, other = _gradient(density, cell), _gradient(direction, cell)
        fields.append(torch.stack([a * a for a in own]).sum(0))
        change.append(2 * torch.stack([a * b for a, b in zip(own, other, strict=True)]).sum(0))
    first, second = ([torch.empty_like(field) for field in fields] for _ in range(2))
    energy = slope = 0.0
    for start in range(0, density.numel(), _BLOCK):
        part = slice(start, start + _BLOCK)
        with torch.enable_grad():
            block = [field.reshape(-1)[part].requires_grad_() for field in fields]
            value = functional.energy_density(*block).sum()
            slopes = torch.autograd.grad(value, block, create_graph=True)
        along = [field.reshape(-1)[part] for field in change]
        bent = torch.autograd.grad(slopes, block, along)
        energy += value.item()
        slope += sum(torch.dot(a.detach(), b).item() for a, b in zip(slopes, along, strict=True))
        for index, (a, b) in enumerate(zip(slopes, bent, strict=True)):
            first[index].view(-1)[part], second[index].view(-1)[part] = a.detach(), b
    energy_strain, slope_strain = (torch.eye(3, dtype=torch.float64) * (value * point) for value in (energy, slope))
    potential, response = first[0], second[0]
    if functional.needs_gradient:
        potential = potential - 2 * _divergence([first[1] * a for a in own], cell)
        flows = [second[1] * a + first[1] * b for a, b in zip(own, other, strict=True)]
        response = response - 2 * _divergence(flows, cell)
        energy_strain -= 2 * point * _products(first[1], own, own)
        mixed = _products(first[1], own, other)
        slope_strain -= 2 * point * (_products(second[1], own, own) + mixed + mixed.T)
    return XcResponse(potential, response, energy_strain, slope_strain)


def _gradient(field: Tensor, cell: Tensor) -> list[Tensor]:
    coefficients, shape = gradient_coefficients(field), _shape(field)
    return [derivative(coefficients, cell, shape, axis) for axis in range(3)]


def _divergence(flow: list[Tensor], cell: Tensor) -> Tensor:
    shape = _shape(flow[0])
    total = None
    for axis, component in enumerate(flow):
        part = differentiated(gradient_coefficients(component), cell, shape, axis)
        total = part if total is None else total.add_(part)
    assert total is not None  # noqa: S101  # three axes
    return real_field(total, shape)


def _products(weight: Tensor, one: list[Tensor], two: list[Tensor]) -> Tensor:
    """Returns sums of weight times a component of one field times a component of another, (3, 3)."""
    weighted = [weight * component for component in one]
    rows = [[torch.dot(a.reshape(-1), b.reshape(-1)) for b in two] for a in weighted]
    return torch.stack([torch.stack(row) for row in rows])


def _shape(field: Tensor) -> tuple[int, int, int]:
    return field.shape[0], field.shape[1], field.shape[2]
