"""A norm-conserving pseudopotential in momentum space: a local form and separable projectors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fermisea.physics.ions import CoreCharge, Ion
from fermisea.pseudopotentials.frozen import FrozenShell, frozen_shell
from fermisea.units import COULOMB
from fermisea.utilities.arrays import FloatArray

FAMILIES = {
    "lda": "lda",
    "pz": "lda",
    "pbe": "pbe",
    "pbesol": "pbe",
    "ksdt": "lda",
    "corrksdt": "lda",
    "gdsmfb": "lda",
    "kdt16": "pbe",
}
"""Functional whose pseudopotentials another functional takes, by name.

PW92 and PZ are fits of one functional. PBEsol customarily takes the pseudopotentials of PBE. A functional of the
electronic temperature takes the pseudopotentials of its limit at low temperature.
"""

_ZERO_MOMENTUM = 1e-8

_COULOMB = 0.01
"""Relative difference of the local potential from the potential of a point charge at the core radius."""


@dataclass(frozen=True, eq=False)
class ProjectorChannel:
    """The projectors of one angular momentum.

    With beta_i(q) = 4 pi int r^2 j_l(qr) beta_i(r) dr and real spherical harmonics Y_lm,
    <q|V_nl|q'> = 1/V sum_lm,ij Y_lm(q) beta_i(q) h_ij beta_j(q') Y_lm(q').

    Attributes:
        l: angular momentum, 0 to 3.
        coupling: h_ij, (n, n), symmetric, eV.
        radial: maps momenta (...) in 1/Angstrom to beta_i(q)/q^l, (n, ...), Angstrom^(l + 3/2); finite at q = 0 and
            differentiable.
    """

    l: int  # noqa: E741
    coupling: Tensor
    radial: Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Pseudopotential:
    """Potential of the ions of one element.

    Attributes:
        symbol: element.
        valence: charge Z of the ion in units of e.
        name: name for the provenance, such as "GTH-PBE Al-q3" or a file name.
        digest: SHA-256 of the parameters or the file, hexadecimal.
        functional: exchange-correlation functional of the pseudopotential, None if unknown.
        core: partial core density of the nonlinear core correction, if any.
        core_radius: radius beyond which V_loc(r) is the potential of a point charge within 1 %, Angstrom.
        channels: projectors, one entry for each angular momentum with projectors.
        local: maps momenta (...) in 1/Angstrom to the Fourier transform of V_loc(r), (...), eV Angstrom^3, with its
            -4 pi Z e^2/q^2; at q = 0 the integral of V_loc(r) + Z e^2/r; differentiable.
        cutoff: plane-wave cutoff at which F is converged to 10 meV/atom, eV; None if unknown.
    """

    symbol: str
    valence: float
    name: str
    digest: str
    functional: str | None
    core: CoreCharge | None
    core_radius: float
    channels: tuple[ProjectorChannel, ...]
    local: Callable[[Tensor], Tensor]
    cutoff: float | None = None

    @property
    def ion(self) -> Ion:
        """Ion with valence charge and core density."""
        return Ion(self.symbol, self.valence, self.core)

    @property
    def frozen_shell(self) -> FrozenShell | None:
        """Highest frozen shell with its ionisation energy; None without a core."""
        return frozen_shell(self.symbol, self.valence)


def core_radius(radius: FloatArray, potential: FloatArray, valence: float) -> float:
    """Returns the radius beyond which a local potential is the potential of a point charge within 1 %, Angstrom.

    Args:
        radius: radii, ascending, (n,), Angstrom.
        potential: V_loc at these radii, (n,), eV.
        valence: charge Z of the ion in units of e.
    """
    inside = np.flatnonzero(np.abs(radius * potential / (valence * COULOMB) + 1) > _COULOMB)
    return float(radius[inside[-1]]) if inside.size else 0.0


def screened_coulomb(valence: float, width: float, momenta: Tensor) -> Tensor:
    """Returns the transform of -Z e^2/r erf(r / sqrt(2) a); at q = 0 of the difference from -Z e^2/r.

    Args:
        valence: Z.
        width: a, Angstrom.
        momenta: q, any shape, 1/Angstrom.

    Returns:
        eV Angstrom^3, in the shape of ``momenta``.
    """
    zero = momenta.detach().abs() < _ZERO_MOMENTUM
    square = torch.where(zero, torch.ones_like(momenta), momenta) ** 2
    charge = 4 * math.pi * valence * COULOMB
    limit = torch.full_like(momenta, charge * width**2 / 2)
    return torch.where(zero, limit, -charge * torch.exp(-square * width**2 / 2) / square)
