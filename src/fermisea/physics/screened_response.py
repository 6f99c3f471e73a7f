"""Second-order energy of free electrons in a weak potential at a finite temperature.

The static response chi_0(q) of free electrons is J. Lindhard's function, averaged over the thermal distribution of the
Fermi level (P. F. Maldague, Surface Science 73, 296, 1978). Electrons that interact screen the potential:
chi = chi_0 / (1 - K chi_0), where K(q) = 4 pi e^2/q^2 + f_xc, with f_xc of the uniform gas.

Where the density n(r) is not uniform, the response follows it: for short waves every electron answers alone, and chi is
-2 n/(hbar^2 q^2/2m). The potential is therefore multiplied with the root of n(r) over its mean. In aluminium
with three electrons, whose density is small near the nuclei where exchange and correlation change most, the energy at
30 kK is within a factor of two of the exact one, and five times too large without these weights. The weights were
chosen with these data; other materials were not tested.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from fermisea import units
from fermisea.physics.fermi_dirac import occupation_derivatives
from fermisea.physics.fields import FourierGrid
from fermisea.physics.free_electrons import STATES, fermi_level, quadrature
from fermisea.physics.xc import Functional
from fermisea.utilities.arrays import FloatArray

_MOMENTA = 256
"""Number of wave numbers at which the response is tabulated."""


def lindhard(momenta: FloatArray, density: float, electron_temperature: float) -> FloatArray:
    """Returns -chi_0(q) of free electrons, in the shape of ``momenta``, 1/(eV Angstrom^3).

    Args:
        momenta: q above zero, 1/Angstrom.
        density: 1/Angstrom^3, above zero.
        electron_temperature: tau_e, K.
    """
    kt = units.thermal_energy(electron_temperature)
    level = fermi_level(density, electron_temperature)
    energies, weights = quadrature(0.0, 0.0, level, kt)
    slope = -occupation_derivatives((energies - level) / kt, 1)[1] / kt
    x = np.asarray(momenta)[..., None] / (2 * np.sqrt(energies / units.KINETIC))
    apart = np.where(x == 1, np.inf, np.abs(1 - x))
    shape = 0.5 + (1 - x**2) / (4 * x) * np.log(np.where(x == 1, 1.0, (1 + x) / apart))
    shape = np.where(x > 1e3, 1 / (3 * x**2), shape)  # cancellation
    return np.asarray(shape @ (weights * slope * STATES * np.sqrt(energies)))


def second_order_energy(
    potential: Tensor, density: Tensor, grid: FourierGrid, functional: Functional, electron_temperature: float
) -> float:
    """Returns -1/2 int dv chi dv, eV, not negative: the fall of the free energy to second order in a potential.

    Args:
        potential: dv, (nx, ny, nz), eV; its average over the electrons does not count.
        density: n of the electrons, (nx, ny, nz), 1/Angstrom^3.
        grid: grid of potential and density.
        functional: exchange and correlation of the electrons, at tau_e.
        electron_temperature: tau_e, K.
    """
    density = density.clamp(min=0.0)
    electrons = grid.total(density.sum(dtype=torch.float64))
    mean = float(electrons) / grid.size
    if mean == 0:
        return 0.0
    average = grid.total(torch.sum(potential * density, dtype=torch.float64)) / electrons
    coefficients = grid.transform((potential - average.to(potential.dtype)) * torch.sqrt(density / mean)).div_(
        grid.size
    )
    own = max(float(grid.squares(part).max()) for part in grid.blocks())
    momenta = np.linspace(0.0, math.sqrt(grid.processes.largest(own)), _MOMENTA + 1)[1:]
    bare = lindhard(momenta, mean, electron_temperature)
    kernel = 4 * math.pi * units.COULOMB / momenta**2 + _local_kernel(functional, mean)
    # a uniform gas of low density is unstable where the kernel attracts
    response = bare / (1 + np.maximum(kernel, 0.0) * bare)
    columns = torch.zeros(coefficients.shape[2], dtype=torch.float64)
    for part in grid.blocks():
        lengths = grid.squares(part).sqrt().numpy()
        strength = np.interp(lengths, np.append(0.0, momenta), np.append(0.0, response))  # screened out at q = 0
        columns += torch.sum(torch.from_numpy(strength) * coefficients[part].abs() ** 2, dim=(0, 1))
    return 0.5 * float(grid.total(grid.both_halves(columns)) * grid.volume)


def _local_kernel(functional: Functional, density: float) -> float:
    """Returns f_xc of the uniform gas, eV Angstrom^3."""
    with torch.enable_grad():
        n = torch.tensor(density, dtype=torch.float64, requires_grad=True)
        energy = functional.energy_density(n, torch.zeros_like(n))
        (slope,) = torch.autograd.grad(energy, n, create_graph=True)
        (second,) = torch.autograd.grad(slope, n)
    return float(second)
