"""Exchange and correlation without spin: LDA (PW92 or PZ), PBE, PBEsol.

PW92: J. P. Perdew and Y. Wang, PRB 45, 13244 (1992), with the digits that PBE uses (lda_c_pw_mod of libxc). PZ: J. P.
Perdew and A. Zunger, PRB 23, 5048 (1981). PBE: J. P. Perdew, K. Burke, M. Ernzerhof, PRL 77, 3865 (1996). PBEsol: J. P.
Perdew et al., PRL 100, 136406 (2008).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fermisea import units
from fermisea.energies.fields import gradient, volume
from fermisea.errors import InputError

_VACUUM = 1e-16
"""Density in 1/bohr^3 below which (and where ringing makes it negative) exchange and correlation vanish."""

_BLOCK = 2**16
"""Grid points whose derivatives are taken at once."""

_KAPPA = 0.804
_GAMMA = (1 - math.log(2)) / math.pi**2


@dataclass(frozen=True)
class Functional:
    """An exchange-correlation functional.

    Attributes:
        name: "lda", "pz", "pbe" or "pbesol".
        mu: gradient coefficient of exchange; 0 for LDA.
        beta: gradient coefficient of correlation; 0 for LDA.
    """

    name: str
    mu: float = 0.0
    beta: float = 0.0

    @property
    def needs_gradient(self) -> bool:
        """Whether the energy density depends on the gradient of the density."""
        return self.mu > 0

    def energy_density(self, density: Tensor, sigma: Tensor | None = None) -> Tensor:
        """Returns the energy per volume, eV/Angstrom^3; zero where the density is not positive.

        Args:
            density: n, 1/Angstrom^3, any shape.
            sigma: |grad n|^2, 1/Angstrom^8, same shape; not used by LDA.
        """
        n = density * units.BOHR**3
        present = n > _VACUUM
        n = torch.where(present, n, 1.0)
        if self.needs_gradient:
            if sigma is None:
                raise ValueError(f"functional {self.name}: sigma is missing")
            energy = self._gradient_energy(n, torch.where(present, sigma * units.BOHR**8, 0.0))
        else:
            energy = n * (_exchange(n) + (_correlation_pz(n) if self.name == "pz" else _correlation_pw(n)))
        return torch.where(present, energy, 0.0) * (units.HARTREE / units.BOHR**3)

    def _gradient_energy(self, n: Tensor, sigma: Tensor) -> Tensor:
        fermi_momentum = (3 * math.pi**2 * n) ** (1 / 3)
        s2 = sigma / (2 * fermi_momentum * n) ** 2
        enhancement = 1 + _KAPPA - _KAPPA / (1 + self.mu * s2 / _KAPPA)
        correlation = _correlation_pw(n)
        t2 = sigma * math.pi / (16 * fermi_momentum * n**2)
        a = self.beta / _GAMMA / torch.expm1(-correlation / _GAMMA)
        numerator = self.beta / _GAMMA * t2 * (1 + a * t2)
        h = _GAMMA * torch.log1p(numerator / (1 + a * t2 + (a * t2) ** 2))
        return n * (_exchange(n) * enhancement + correlation + h)


_BETA_PBE = 0.06672455060314922
_FUNCTIONALS = {
    f.name: f
    for f in (
        Functional("lda"),
        Functional("pz"),
        Functional("pbe", mu=_BETA_PBE * math.pi**2 / 3, beta=_BETA_PBE),
        Functional("pbesol", mu=10 / 81, beta=0.046),
    )
}


def functional(name: str) -> Functional:
    """Returns the functional of that name.

    Raises:
        InputError: for an unknown name, listing the known ones.
    """
    try:
        return _FUNCTIONALS[name.lower()]
    except KeyError:
        raise InputError(f"xc: got {name!r}, expected one of {', '.join(_FUNCTIONALS)}") from None


def _exchange(n: Tensor) -> Tensor:
    """Returns Dirac's exchange energy per electron, Hartree; n in 1/bohr^3."""
    return -0.75 * (3 / math.pi) ** (1 / 3) * n ** (1 / 3)


def _wigner_seitz(n: Tensor) -> Tensor:
    return (3 / (4 * math.pi * n)) ** (1 / 3)


def _correlation_pw(n: Tensor) -> Tensor:
    rs = _wigner_seitz(n)
    root = torch.sqrt(rs)
    a = 0.0310907
    series = 2 * a * root * (7.5957 + root * (3.5876 + root * (1.6382 + root * 0.49294)))
    return -2 * a * (1 + 0.21370 * rs) * torch.log1p(1 / series)


def _correlation_pz(n: Tensor) -> Tensor:
    rs = _wigner_seitz(n)
    dilute = -0.1423 / (1 + 1.0529 * torch.sqrt(rs) + 0.3334 * rs)
    log = torch.log(rs)
    dense = 0.0311 * log - 0.048 + 0.0020 * rs * log - 0.0116 * rs
    return torch.where(rs >= 1, dilute, dense)


def xc_energy(density: Tensor, cell: Tensor, functional: Functional) -> Tensor:
    """Returns the exchange-correlation energy of a density on a grid, 0-d, eV; differentiable in density and cell.

    Args:
        density: valence plus core, (nx, ny, nz), 1/Angstrom^3.
        cell: lattice vectors as rows, (3, 3), Angstrom.
        functional: which.
    """
    sigma = _squared_gradient(density, cell) if functional.needs_gradient else None
    return functional.energy_density(density, sigma).sum() * (volume(cell) / density.numel())


def xc_energy_and_potential(density: Tensor, cell: Tensor, functional: Functional) -> tuple[Tensor, Tensor]:
    """Returns the energy (0-d, eV) and the potential, (nx, ny, nz), eV: the derivative of that energy on that grid.

    The gradient correction is thus the one of White and Bird, PRB 50, 4954 (1994). Same energy as :func:`xc_energy`,
    but derivatives are taken over blocks of points so that large grids need little memory.

    Args:
        density: valence plus core, (nx, ny, nz), 1/Angstrom^3.
        cell: lattice vectors as rows, (3, 3), Angstrom.
        functional: which.
    """
    cell = cell.detach()
    variable = density.detach().requires_grad_()
    total = density.new_zeros(())
    with torch.enable_grad():
        local = [variable.detach().flatten()]
        if functional.needs_gradient:
            sigma = _squared_gradient(variable, cell)
            local.append(sigma.detach().flatten())
        slopes = [torch.empty_like(field) for field in local]
        for start in range(0, density.numel(), _BLOCK):
            these = slice(start, start + _BLOCK)
            block = [field[these].detach().requires_grad_() for field in local]
            energy = functional.energy_density(*block).sum()
            total += energy.detach()
            for slope, part in zip(slopes, torch.autograd.grad(energy, block), strict=True):
                slope[these] = part
        potential = slopes[0].reshape(density.shape)
        if functional.needs_gradient:
            potential = potential + torch.autograd.grad(sigma, variable, slopes[1].reshape(density.shape))[0]
    return total * (volume(cell) / density.numel()), potential


def _squared_gradient(density: Tensor, cell: Tensor) -> Tensor:
    return torch.sum(gradient(density, cell) ** 2, dim=-1)
