"""Spinless exchange-correlation functionals: LDA (PW92 or PZ), PBE, PBEsol; KSDT, corrKSDT, GDSMFB, KDT16.

PW92: J. P. Perdew and Y. Wang, PRB 45, 13244 (1992), with the more precise constants used by PBE (lda_c_pw_mod of
libxc). PZ: J. P. Perdew and A. Zunger, PRB 23, 5048 (1981). PBE: J. P. Perdew, K. Burke, M. Ernzerhof, PRL 77, 3865
(1996). PBEsol: J. P. Perdew et al., PRL 100, 136406 (2008). The last four depend on the electronic temperature; see
:mod:`fermisea.physics.thermal_xc` and :mod:`fermisea.physics.kdt16`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fermisea import units
from fermisea.errors import InputError
from fermisea.physics import kdt16, thermal_xc
from fermisea.physics.fields import FourierGrid

_VACUUM = 1e-16
"""Density in 1/bohr^3 below which exchange and correlation are set to zero, also where the density is negative."""

_BLOCK = 2**14
"""Number of grid points in a block of derivatives."""

_KAPPA = 0.804
_GAMMA = (1 - math.log(2)) / math.pi**2

_FADE = 3e-4
"""Density, 1/Angstrom^3, below which exchange and correlation of the density of an LDOS fade out.

Pseudopotentials leave few electrons at a nucleus, and a predicted density may pass through zero there. Without this a
point where it nearly vanishes adds a force of its own, 1 meV/Angstrom and more in aluminium. The squared gradient fades
too, so that the reduced gradient is the one of the density itself.
"""


@dataclass(frozen=True)
class Functional:
    """An exchange-correlation functional.

    Attributes:
        name: "lda", "pz", "pbe", "pbesol", "ksdt", "corrksdt", "gdsmfb" or "kdt16".
        mu: gradient coefficient of exchange; 0 for LDA.
        beta: gradient coefficient of correlation; 0 for LDA.
        fade: density, 1/Angstrom^3, below which the energy is switched off smoothly; 0 keeps the functional as defined,
            whose potential is proportional to the cube root of the density, with an infinite slope at zero density.
        ground_state: for a functional of the electronic temperature, name of the functional that shares its
            pseudopotentials; empty for a functional of the ground state.
        electron_temperature: tau_e of a functional that depends on it, K; None for a functional of the ground state,
            and before :meth:`at`.
    """

    name: str
    mu: float = 0.0
    beta: float = 0.0
    fade: float = 0.0
    ground_state: str = ""
    electron_temperature: float | None = None

    @property
    def needs_gradient(self) -> bool:
        """Whether the energy density depends on the gradient of the density."""
        return self.mu > 0

    @property
    def is_thermal(self) -> bool:
        """Whether the functional depends on the electronic temperature."""
        return bool(self.ground_state)

    def at(self, electron_temperature: float) -> Functional:
        """Returns the functional at tau_e, K; a functional of the ground state is returned as it is.

        Raises:
            InputError: for a temperature that is not a finite number above zero.
        """
        if not self.is_thermal:
            return self
        units.thermal_energy(electron_temperature)  # refuses invalid temperatures
        return replace(self, electron_temperature=float(electron_temperature))

    def energy_density(
        self, density: Tensor, sigma: Tensor | None = None, electron_temperature: Tensor | None = None
    ) -> Tensor:
        """Returns the energy per volume, eV/Angstrom^3; zero where the density is not positive.

        At a finite temperature it is the free energy F_xc.

        Args:
            density: n, 1/Angstrom^3, any shape.
            sigma: |grad n|^2, 1/Angstrom^8, same shape; not used by LDA.
            electron_temperature: tau_e, K, 0-d, for derivatives with respect to it; by default the attribute.

        Raises:
            ValueError: for a functional of tau_e without a temperature, or a GGA without ``sigma``.
        """
        n = density * units.BOHR**3
        if self.fade > 0:  # third power of the density below, unchanged within rounding from six times that density
            factor = -torch.expm1(-((density / self.fade) ** 2))
            n = n * factor
            if sigma is not None:  # keeps the reduced gradient, which would diverge
                sigma = sigma * factor ** (8 / 3)
        present = n > _VACUUM
        n = torch.where(present, n, 1.0)
        if self.needs_gradient:
            if sigma is None:
                raise ValueError(f"functional {self.name}: sigma is missing")
            sigma = torch.where(present, sigma * units.BOHR**8, 0.0)
        if self.is_thermal:
            energy = self._thermal_energy(n, sigma, electron_temperature)
        elif self.needs_gradient:
            assert sigma is not None  # noqa: S101  # checked above
            energy = self._gradient_energy(n, sigma)
        else:
            root = _cube_root(n)
            energy = n * (_exchange(root) + (_correlation_pz(root) if self.name == "pz" else _correlation_pw(root)))
        return torch.where(present, energy, 0.0) * (units.HARTREE / units.BOHR**3)

    def _thermal_energy(self, n: Tensor, sigma: Tensor | None, electron_temperature: Tensor | None) -> Tensor:
        """Returns F_xc per volume, Hartree/bohr^3."""
        if electron_temperature is None:
            if self.electron_temperature is None:
                raise ValueError(f"functional {self.name}: no electronic temperature; choose one with at()")
            electron_temperature = n.new_tensor(self.electron_temperature)
        temperature = electron_temperature * (units.BOLTZMANN / units.HARTREE)
        root = _cube_root(n)
        if sigma is not None and self.needs_gradient:
            return n * kdt16.energy(root, sigma, temperature)
        return n * _UNIFORM_GASES[self.name].free_energy(root, temperature)

    def _gradient_energy(self, n: Tensor, sigma: Tensor) -> Tensor:
        root = _cube_root(n)
        fermi_momentum = (3 * math.pi**2) ** (1 / 3) * root
        s2 = sigma / (2 * fermi_momentum * n) ** 2
        enhancement = 1 + _KAPPA - _KAPPA / (1 + self.mu * s2 / _KAPPA)
        correlation = _correlation_pw(root)
        t2 = sigma * math.pi / (16 * fermi_momentum * n**2)
        a = self.beta / _GAMMA / torch.expm1(-correlation / _GAMMA)
        numerator = self.beta / _GAMMA * t2 * (1 + a * t2)
        h = _GAMMA * torch.log1p(numerator / (1 + a * t2 + (a * t2) ** 2))
        return n * (_exchange(root) * enhancement + correlation + h)


_BETA_PBE = 0.06672455060314922
_FUNCTIONALS = {
    f.name: f
    for f in (
        Functional("lda"),
        Functional("pz"),
        Functional("pbe", mu=_BETA_PBE * math.pi**2 / 3, beta=_BETA_PBE),
        Functional("pbesol", mu=10 / 81, beta=0.046),
        Functional("ksdt", ground_state="lda"),
        Functional("corrksdt", ground_state="lda"),
        Functional("gdsmfb", ground_state="lda"),
        Functional("kdt16", mu=0.21951, beta=0.066725, ground_state="pbe"),
    )
}
_UNIFORM_GASES = {"ksdt": thermal_xc.KSDT, "corrksdt": thermal_xc.CORRKSDT, "gdsmfb": thermal_xc.GDSMFB}

GROUND_STATE = tuple(name for name, f in _FUNCTIONALS.items() if not f.is_thermal)
"""Names of the functionals of the ground state."""

THERMAL = {name: f.ground_state for name, f in _FUNCTIONALS.items() if f.is_thermal}
"""Names of the functionals of the electronic temperature, with the functional of the ground state of each."""


def functional(name: str) -> Functional:
    """Returns the functional called ``name``.

    Raises:
        InputError: for an unknown name, with a list of the known ones.
    """
    try:
        return _FUNCTIONALS[name.lower()]
    except (KeyError, AttributeError):
        raise InputError(f"xc: got {name!r}, expected one of {', '.join(_FUNCTIONALS)}") from None


def _cube_root(n: Tensor) -> Tensor:
    """Returns the cube root of positive numbers; function and derivatives are faster than with a power."""
    return torch.exp(torch.log(n) / 3)


def _exchange(root: Tensor) -> Tensor:
    """Returns Dirac's exchange energy per electron, Hartree, from the cube root of n, 1/bohr."""
    return -0.75 * (3 / math.pi) ** (1 / 3) * root


def _wigner_seitz(root: Tensor) -> Tensor:
    return (3 / (4 * math.pi)) ** (1 / 3) / root


def _correlation_pw(root: Tensor) -> Tensor:
    rs = _wigner_seitz(root)
    root = torch.sqrt(rs)
    a = 0.0310907
    series = 2 * a * root * (7.5957 + root * (3.5876 + root * (1.6382 + root * 0.49294)))
    return -2 * a * (1 + 0.21370 * rs) * torch.log1p(1 / series)


def _correlation_pz(root: Tensor) -> Tensor:
    rs = _wigner_seitz(root)
    dilute = -0.1423 / (1 + 1.0529 * torch.sqrt(rs) + 0.3334 * rs)
    log = torch.log(rs)
    dense = 0.0311 * log - 0.048 + 0.0020 * rs * log - 0.0116 * rs
    return torch.where(rs >= 1, dilute, dense)


def xc_energy(density: Tensor, grid: FourierGrid, functional: Functional) -> Tensor:
    """Returns the exchange-correlation energy of a density, 0-d, eV; differentiable in density and cell.

    Args:
        density: valence plus core, (nx, ny, nz), 1/Angstrom^3.
        grid: grid of the density.
        functional: exchange-correlation functional.
    """
    sigma = _squared_gradient(density, grid) if functional.needs_gradient else None
    return grid.total(functional.energy_density(density, sigma).sum() * grid.voxel)


def xc_energy_and_potential(density: Tensor, grid: FourierGrid, functional: Functional) -> tuple[Tensor, Tensor]:
    """Returns the energy (0-d, eV) and the potential, (nx, ny, nz), eV: the derivative of this energy on this grid.

    The gradient correction therefore follows White and Bird, PRB 50, 4954 (1994). The energy is the same as from
    :func:`xc_energy`, but the results are not differentiable, and large grids need little memory.

    Args:
        density: valence plus core, (nx, ny, nz), 1/Angstrom^3.
        grid: grid of the density.
        functional: exchange-correlation functional.
    """
    density, grid = density.detach(), grid.with_cell(grid.cell.detach())
    sigma = _squared_gradient(density, grid) if functional.needs_gradient else None
    potential = torch.empty_like(density)
    total = torch.zeros((), dtype=torch.float64, device=density.device)
    for part, energy, by_fields in slopes(functional, density, sigma):
        total += energy
        potential.view(-1)[part] = by_fields[0]
        if sigma is not None:  # free the memory
            sigma.view(-1)[part] = by_fields[1]
    if sigma is not None:
        coefficients = grid.gradient_coefficients(density)
        divergence = torch.zeros_like(coefficients)
        for axis in range(3):
            flow = grid.gradient_coefficients(grid.derivative(coefficients, axis).mul_(sigma))
            grid.add_differentiated(divergence, flow, axis)
            del flow  # before the next one is made
        potential.sub_(grid.field(divergence), alpha=2)
    return grid.total(total) * grid.voxel, potential


def xc_energy_and_slope(
    density: Tensor, grid: FourierGrid, functional: Functional, direction: Tensor
) -> tuple[Tensor, Tensor]:
    """Returns the energy and its derivative along a density change (integral of v_xc times the change); 0-d, eV.

    The results are the same as from :func:`xc_energy_and_potential`, without storing the potential on the grid.

    Args:
        density: valence plus core, (nx, ny, nz), 1/Angstrom^3.
        grid: grid of the density.
        functional: exchange-correlation functional.
        direction: density change, (nx, ny, nz), 1/Angstrom^3; passing ``density`` itself saves time.
    """
    same = direction is density
    density, direction, grid = density.detach(), direction.detach(), grid.with_cell(grid.cell.detach())
    sigma, product = None, None
    if functional.needs_gradient:
        sigma = _squared_gradient(density, grid)
        product = sigma if same else _gradient_product(density, direction, grid)
    total, slope = sums = torch.zeros((2,), dtype=torch.float64, device=density.device)
    for part, energy, by_fields in slopes(functional, density, sigma):
        total += energy
        slope += torch.dot(by_fields[0], direction.view(-1)[part].double())
        if product is not None:
            slope += 2 * torch.dot(by_fields[1], product.view(-1)[part].double())
    total, slope = grid.total(sums) * grid.voxel
    return total, slope


def xc_entropy(density: Tensor, grid: FourierGrid, functional: Functional) -> float:
    """Returns S_xc = -dF_xc/dtau_e at fixed density, eV/K; 0 for a functional of the ground state.

    Args:
        density: valence plus core, (nx, ny, nz), 1/Angstrom^3.
        grid: grid of the density.
        functional: exchange-correlation functional, at the electronic temperature.
    """
    if not functional.is_thermal or functional.electron_temperature is None:
        return 0.0
    density, grid = density.detach(), grid.with_cell(grid.cell.detach())
    sigma = _squared_gradient(density, grid) if functional.needs_gradient else None
    slope = 0.0
    for start in range(0, density.numel(), _BLOCK):
        part = slice(start, start + _BLOCK)
        second = None if sigma is None else sigma.reshape(-1)[part].double()
        with torch.enable_grad():
            temperature = torch.tensor(functional.electron_temperature, dtype=torch.float64).requires_grad_()
            energy = functional.energy_density(density.reshape(-1)[part].double(), second, temperature).sum()
        slope += float(torch.autograd.grad(energy, temperature)[0])
    return -float(grid.total(torch.tensor(slope, dtype=torch.float64)) * grid.voxel)


def slopes(
    functional: Functional, density: Tensor, sigma: Tensor | None
) -> Iterator[tuple[slice, Tensor, tuple[Tensor, ...]]]:
    """Yields blocks of points with the energy and its derivatives with respect to density and, for a GGA, sigma.

    The results have double precision. The caller may overwrite the input fields with them, block by block.
    """
    fields = [field.reshape(-1) for field in (density, sigma) if field is not None]
    for start in range(0, density.numel(), _BLOCK):
        part = slice(start, start + _BLOCK)
        with torch.enable_grad():
            block = [field[part].detach().double().requires_grad_() for field in fields]
            energy = functional.energy_density(*block).sum()
        yield part, energy.detach(), torch.autograd.grad(energy, block)


def _squared_gradient(density: Tensor, grid: FourierGrid) -> Tensor:
    return _gradient_product(density, density, grid)


def _gradient_product(one: Tensor, two: Tensor, grid: FourierGrid) -> Tensor:
    left = grid.gradient_coefficients(one)
    right = left if two is one else grid.gradient_coefficients(two)
    total = torch.zeros_like(one)
    for axis in range(3):
        first = grid.derivative(left, axis)
        total.addcmul_(first, first if two is one else grid.derivative(right, axis))
        del first  # before the next one is made
    return total


def smooth_functional(name: str) -> Functional:
    """Returns a functional that is smooth where a density passes through zero, as a predicted one may.

    Raises:
        InputError: for an unknown name.
    """
    return replace(functional(name), fade=_FADE)
