"""Exchange and correlation of the uniform electron gas at a finite temperature: free energies per electron, no spin.

They are functions of the Wigner-Seitz radius rs (bohr) and of the reduced temperature t = k_B T / E_F of the
uniform gas. KSDT: V. V. Karasiev, T. Sjostrom, J. Dufty, S. B. Trickey, PRL 112, 076403 (2014), eqs 9 to 14. corrKSDT
(the same form with other numbers): V. V. Karasiev, J. W. Dufty, S. B. Trickey, PRL 120, 076401 (2018), supplement.
GDSMFB: S. Groth, T. Dornheim, T. Sjostrom, F. D. Malone, W. M. C. Foulkes, M. Bonitz, PRL 119, 135001 (2017).

Every function is smooth in its arguments, and finite with its derivatives, from t = 1e-9 to 1e16.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_LAMBDA = (4 / (9 * math.pi)) ** (1 / 3)
_WIGNER_SEITZ = (3 / (4 * math.pi)) ** (1 / 3)
_DIRAC = 0.75 * (3 / math.pi) ** (1 / 3)
_TANH = 18.0
"""Argument at which a hyperbolic tangent is 1 within rounding."""


@dataclass(frozen=True)
class UniformGas:
    """Parameters of the free energy of exchange and correlation of the uniform gas, f_xc(rs, t).

    Attributes:
        b: b1 to b4; b5 follows from the limit of high temperature.
        c: c1 to c3.
        d: d1 to d5.
        e: e1 to e5.
    """

    b: tuple[float, float, float, float]
    c: tuple[float, float, float]
    d: tuple[float, float, float, float, float]
    e: tuple[float, float, float, float, float]

    def free_energy(self, root: Tensor, temperature: Tensor) -> Tensor:
        """Returns f_xc per electron, Hartree.

        Args:
            root: cube root of the density, 1/bohr, positive.
            temperature: k_B T, Hartree, 0-d.
        """
        t = reduced_temperature(root, temperature)
        radius = _WIGNER_SEITZ / root
        sqrt_radius = torch.sqrt(radius)
        slow = _tanh_inverse(torch.sqrt(t))
        fast = _tanh_inverse(t)
        a = _DIRAC * _WIGNER_SEITZ * fast * _exchange_ratio(t)
        b = slow * _ratio(t, *self.b, math.sqrt(1.5) / _LAMBDA * self.b[2])
        d = slow * _ratio(t, *self.d)
        e = fast * _ratio(t, *self.e)
        c = (self.c[0] + self.c[1] * torch.exp(-self.c[2] / t)) * e
        return -(a + sqrt_radius * b + radius * c) / (radius * (1 + sqrt_radius * d + radius * e))


KSDT = UniformGas(
    b=(0.283997, 48.932154, 0.370919, 61.095357),
    c=(0.870089, 0.193077, 2.414644),
    d=(0.579824, 94.537454, 97.839603, 59.939999, 24.388037),
    e=(0.212036, 16.731249, 28.485792, 34.028876, 17.235515),
)
"""PRL 112, 076403, table I."""

CORRKSDT = UniformGas(
    b=(0.342554, 9.141315, 0.448483, 18.553096),
    c=(0.875130, -0.256320, 0.953988),
    d=(0.725917, 2.237347, 0.280748, 4.185911, 0.692183),
    e=(0.255415, 0.931933, 0.115398, 17.234117, 0.451437),
)
"""PRL 120, 076401, table S2."""

GDSMFB = UniformGas(
    b=(0.3436902, 7.82159531356, 0.300483986662, 15.8443467125),
    c=(0.8759442, -0.230130843551, 1.0),
    d=(0.72700876, 2.38264734144, 0.30221237251, 4.39347718395, 0.729951339845),
    e=(0.25388214, 0.815795138599, 0.0646844410481, 15.0984620477, 0.230761357474),
)
"""PRL 119, 135001, supplement."""


def reduced_temperature(root: Tensor, temperature: Tensor) -> Tensor:
    """Returns t = k_B T / E_F of the uniform gas with the density at each point.

    Args:
        root: cube root of the density, 1/bohr.
        temperature: k_B T, Hartree.
    """
    return 2 * temperature / ((3 * math.pi**2) ** (1 / 3) * root) ** 2


def _tanh_inverse(x: Tensor) -> Tensor:
    """Returns tanh(1/x) for positive x; exactly 1, with vanishing derivatives, for small x."""
    small = x < 1 / _TANH
    return torch.where(small, 1.0, torch.tanh(1 / torch.where(small, 1.0, x)))


def _ratio(t: Tensor, p1: float, p2: float, p3: float, p4: float, p5: float) -> Tensor:
    """Returns (p1 + p2 t^2 + p3 t^4) / (1 + p4 t^2 + p5 t^4), for large t in powers of 1/t."""
    large = t > 1
    x = torch.where(large, 1 / t, t) ** 2
    low = (p1 + x * (p2 + x * p3)) / (1 + x * (p4 + x * p5))
    high = (p3 + x * (p2 + x * p1)) / (p5 + x * (p4 + x))
    return torch.where(large, high, low)


def _exchange_ratio(t: Tensor) -> Tensor:
    """Returns the rational part of exchange of the uniform gas, relative to T = 0.

    The fit is from F. Perrot and M. W. C. Dharma-wardana, PRA 30, 2619 (1984); its constant 0.75 is one of Dirac's.
    """
    large = t > 1
    x = torch.where(large, 1 / t, t)
    low = (1 + x**2 * (3.04363 + x * (-0.09227 + x * 1.7035)) / 0.75) / (1 + x**2 * (8.31051 + x**2 * 5.1105))
    high = (1.7035 + x * (-0.09227 + x * (3.04363 + x**2 * 0.75))) / 0.75 / (5.1105 + x**2 * (8.31051 + x**2))
    return torch.where(large, high, low)
