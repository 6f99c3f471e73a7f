"""Kernels of a broadened LDOS."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.integrate import quad

from fermisea.errors import InputError
from fermisea.physics.broadening import gaussian, pp_broadening


def test_the_kernel_of_pp_has_the_standard_deviation_of_its_shape():
    width = 0.7
    kernels = {
        "fermi-dirac": lambda e: 1 / (2 + 2 * math.cosh(e / width)) / width,
        "gaussian": lambda e: math.exp(-((e / width) ** 2)) / math.sqrt(math.pi) / width,
        "methfessel-paxton": lambda e: (
            math.exp(-((e / width) ** 2)) / math.sqrt(math.pi) / width * (1.5 - (e / width) ** 2)
        ),
    }
    for name, shape in kernels.items():
        assert quad(shape, -40 * width, 40 * width, points=[0])[0] == pytest.approx(1, abs=1e-9)
        variance = quad(lambda e, shape=shape: e * e * shape(e), -40 * width, 40 * width, points=[0])[0]
        assert pp_broadening(name, width).standard_deviation ** 2 == pytest.approx(variance, abs=1e-9)
    with pytest.raises(InputError, match="smearing: got 'cold', expected fermi-dirac, gaussian"):
        pp_broadening("cold", width)


def test_gaussian_is_the_normal_distribution():
    energies = torch.linspace(-6.0, 6.0, 4001, dtype=torch.float64)
    values, step = gaussian(energies, 0.4), 12.0 / 4000
    moments = [float((values * energies**power).sum()) * step for power in (0, 1, 2)]
    assert moments == pytest.approx([1.0, 0.0, 0.4**2], abs=1e-12)
