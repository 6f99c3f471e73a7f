"""KDT16: a generalized gradient approximation for exchange and correlation at a finite electronic temperature, no spin.

V. V. Karasiev, J. W. Dufty, S. B. Trickey, PRL 120, 076401 (2018), eqs 3 to 12, with its supplement, eqs S2 to S8. In
the limit of low temperature it is PBE, with corrKSDT in place of PW92 for the uniform gas.

With t = k_B T / E_F of the local density, exchange of the uniform gas is multiplied by A_x(t), and the squared reduced
gradients s^2 (exchange) and q^2 (correlation) by B_x(t)/A_x(t) and B_c(rs, t). A_x and B_x are combinations of the
Fermi-Dirac integrals I_k(eta), with I_{1/2}(eta) = 2/(3 t^{3/2}):

    A_x = t^2/2 int_{-inf}^eta I_{-1/2}^2
    B_x = (3/2 I_{1/2})^{4/3} [(I'_{-1/2}/I_{-1/2})^2 - 3 I''_{-1/2}/I_{-1/2}],

here in the fits of V. V. Karasiev, D. Chakraborty, S. B. Trickey, Comput. Phys. Commun. 192, 114 (2015).

Every function is finite with its first three derivatives from t = 1e-9 to 1e16.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fermisea.physics.thermal_xc import CORRKSDT, reduced_temperature

_NU = 0.21951
_ALPHA = _NU / 0.804
_BETA = 0.066725
_GAMMA = (1 - math.log(2)) / math.pi**2

_A_LOG, _A_HALF = -0.0475410604245741, -0.1065378473507800
"""Coefficients of y^4 ln y and of y^(5/3) in the numerator of A_x, where y = I_{1/2}."""
_A_UP = (
    0.5823869764908659,
    -0.0068339509356661,
    11.5469239288490009,
    -0.8465428870889800,
    -0.1212525366470300,
    1.9902818786101000,
    0.0,
    0.0744389046707120,
)
_A_DOWN = (19.9256144707979992, 5.1663994545590004, 2.0463164858237000, 0.0744389046707120)
"""Coefficients of powers of y^(2/3) and of y^(4/3), from the first, in numerator and denominator of A_x."""

_B_UP = (
    0.0,
    -3.4341427276599950,
    -0.9066069544311700,
    2.2386316137237001,
    2.4232553178542000,
    -0.1339278564306200,
    0.4392739633708200,
    -0.0497109675177910,
    0.0,
    0.0028609701106953,
)
_B_DOWN = (
    0.7098198258073800,
    4.6311326377185997,
    -2.9243190977647000,
    6.1688157841895004,
    -1.3435764191535999,
    0.1576046383295400,
    0.4365792821186800,
    -0.0620444574606262,
    0.0,
    0.0028609701106953,
)
"""Coefficients of powers of y^(2/3), from the first, in numerator and denominator of B_x."""

_C_UP = (
    (300.47773, -111.66044, 32.175261),
    (-387.06401, -45.327975, 61.853048),
    (2511.2237, -1450.7109, 335.85054),
    (522.43427, -30.665095, 128.74241),
)
_C_DOWN = (
    (110.77393, 1.2854960, 4.1006057e-3),
    (323.55494, 13.482659, 1.8933118e-2),
    (455.09212, 23.416018, 2.4295413e-5),
    (1088.4352, 24.480831, 1.8369776e-8),
    (0.36112605, 3.2161372e-9, 6.9274681e-11),
)
"""Coefficients of B_c: for each power of t^(13/4) from the first, factors of 1, rs^(1/2), rs in the numerator and of
1, rs^(3/2), rs^3 in the denominator (table S1)."""


def energy(root: Tensor, sigma: Tensor, temperature: Tensor) -> Tensor:
    """Returns the free energy per electron, Hartree.

    Args:
        root: cube root of the density, 1/bohr, positive.
        sigma: squared gradient of the density, 1/bohr^8.
        temperature: k_B T, Hartree, 0-d.
    """
    t = reduced_temperature(root, temperature)
    radius = (3 / (4 * math.pi)) ** (1 / 3) / root
    fermi_momentum = (3 * math.pi**2) ** (1 / 3) * root
    ratio = exchange_factor(t)
    local_exchange = -0.75 * (3 / math.pi) ** (1 / 3) * root * ratio
    local_correlation = CORRKSDT.free_energy(root, temperature) - local_exchange
    s2 = sigma / (2 * fermi_momentum * root**3) ** 2 * (exchange_gradient_factor(t) / ratio)
    enhancement = 1 + _NU * s2 / (1 + _ALPHA * s2.abs())
    q2 = sigma * math.pi / (16 * fermi_momentum * root**6) * correlation_gradient_factor(radius, t)
    return local_exchange * enhancement + local_correlation + _gradient_correlation(local_correlation, q2)


def exchange_factor(t: Tensor) -> Tensor:
    """Returns A_x(t): exchange of the uniform gas relative to T = 0; 1 at t = 0, proportional to 1/t for large t."""
    hot, u, inverse = _powers(t)
    log = 1.5 * torch.log(u)  # of y
    high = (_polynomial(_A_UP, u) + _A_LOG * u**6 * log + _A_HALF * u**2.5) / (1 + _polynomial(_A_DOWN, u**2))
    log = -1.5 * torch.log(inverse)
    up = _reversed(_A_UP, inverse, 8) + _A_LOG * inverse**2 * log + _A_HALF * inverse**5.5
    low = up / (inverse**8 + _reversed(_A_DOWN, inverse**2, 4))
    return torch.where(hot, high, low)


def exchange_gradient_factor(t: Tensor) -> Tensor:
    """Returns B_x(t): the gradient term of exchange relative to T = 0; 1 at t = 0, and negative for large t."""
    hot, u, inverse = _powers(t)
    high = _polynomial(_B_UP, u) / (1 + _polynomial(_B_DOWN, u))
    low = _reversed(_B_UP, inverse, 10) / (inverse**10 + _reversed(_B_DOWN, inverse, 10))
    return torch.where(hot, high, low)


def correlation_gradient_factor(radius: Tensor, t: Tensor) -> Tensor:
    """Returns B_c(rs, t): the gradient term of correlation relative to T = 0; 1 at t = 0.

    Args:
        radius: rs, bohr.
        t: reduced temperature.
    """
    root = torch.sqrt(radius)
    up = [p + q * root + r * radius for p, q, r in _C_UP]
    down = [p + q * radius * root + r * radius**3 for p, q, r in _C_DOWN]
    hot = t > 1
    u, inverse = torch.where(hot, 1.0, t) ** 3.25, torch.where(hot, t, 1.0) ** -3.25
    low = (1 + _polynomial(up, u)) / (1 + _polynomial(down, u))
    high = inverse * (inverse**4 + _reversed(up, inverse, 4)) / (inverse**5 + _reversed(down, inverse, 5))
    return torch.where(hot, high, low)


def _gradient_correlation(local: Tensor, q2: Tensor) -> Tensor:
    """Returns PBE's H for the correlation of the uniform gas, negative, and the squared reduced gradient.

    With E = exp(-f/gamma) - 1 and Q = beta q2/gamma, it is gamma ln(1 + E Q (E + Q) / (E^2 + E Q + Q^2)); written in
    Q/(E + Q), it is finite for all values.
    """
    excess = torch.expm1(-local / _GAMMA)
    q = _BETA / _GAMMA * q2
    share = q / (excess + q)
    return _GAMMA * torch.log1p(excess * share / (1 - share + share**2))


def _powers(t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns whether t is above 1, and u = I_{1/2}^{2/3} there and 1/u elsewhere; 1 in place of the other one."""
    hot = t > 1
    scale = (2 / 3) ** (2 / 3)
    return hot, scale / torch.where(hot, t, 1.0), torch.where(hot, 1.0, t) / scale


def _polynomial(coefficients: Sequence[float | Tensor], x: Tensor) -> Tensor:
    """Returns the sum of c_i x^i, i = 1, 2, ..."""
    total = torch.zeros_like(x)
    for c in reversed(coefficients):
        total = (total + c) * x
    return total


def _reversed(coefficients: Sequence[float | Tensor], x: Tensor, degree: int) -> Tensor:
    """Returns the sum of c_i x^(degree - i), i = 1, 2, ..., degree."""
    total = torch.zeros_like(x)
    for c in coefficients:
        total = total * x + c
    return total * x ** (degree - len(coefficients))
