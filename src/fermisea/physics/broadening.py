"""The broadening of an LDOS: kernels that the states of a DFT run are convolved with, and their standard deviations."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fermisea.errors import InputError

GAUSSIAN = "gaussian"
FERMI_DIRAC = "fermi-dirac derivative"
"""Names of the kernels in a :class:`Broadening`."""

FERMI_DIRAC_DEVIATION = math.pi / math.sqrt(3)
"""Standard deviation of the kernel -df/deps = 1 / (2 + exp(x) + exp(-x)) / w, x = eps / w, in units of w."""

_KERNELS = {
    "fermi-dirac": (FERMI_DIRAC, FERMI_DIRAC_DEVIATION),
    "gaussian": (GAUSSIAN, math.sqrt(0.5)),
    "methfessel-paxton": ("methfessel-paxton", 0.0),
}
"""Name and standard deviation over ``degauss_ldos`` of the kernel of ``pp.x``, for the smearing of the SCF run."""


@dataclass(frozen=True)
class Broadening:
    """Kernel with which an LDOS is convolved.

    Attributes:
        kernel: name of the kernel; all symmetric kernels are treated in the same way.
        standard_deviation: standard deviation of the kernel, eV; 0 for a sharp LDOS.
    """

    kernel: str
    standard_deviation: float


def pp_broadening(smearing: str, width: float) -> Broadening:
    """Returns the broadening of an LDOS from ``pp.x`` of Quantum ESPRESSO (``plot_num=3``).

    The kernel is the delta function of the smearing in the SCF run, with the width ``degauss_ldos``. Its standard
    deviation is pi/sqrt(3) w for Fermi-Dirac smearing, 1/(2 + exp(x) + exp(-x))/w; w/sqrt(2) for a Gaussian,
    exp(-x^2)/sqrt(pi)/w; and zero for Methfessel-Paxton smearing. Cold smearing has a kernel that is not symmetric.

    Args:
        smearing: smearing of the SCF run, "fermi-dirac", "gaussian" or "methfessel-paxton".
        width: ``degauss_ldos``, eV.

    Raises:
        InputError: for another smearing.
    """
    if smearing not in _KERNELS:
        raise InputError(f"smearing: got {smearing!r}, expected {', '.join(_KERNELS)}; or give the broadening itself")
    name, deviation = _KERNELS[smearing]
    return Broadening(name, deviation * width)


def gaussian(distances: Tensor, standard_deviation: float) -> Tensor:
    """Returns the normal distribution at distances from its centre (eV), 1/eV, in their shape."""
    x = distances / standard_deviation
    return torch.exp(-(x**2) / 2) / (math.sqrt(2 * math.pi) * standard_deviation)
