"""Free electrons: sums of the density of states, and incomplete Fermi-Dirac integrals against adaptive quadrature."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit

from fermisea import units
from fermisea.physics.free_electrons import band_edge, quadrature, state_density


def test_states_below_the_fermi_energy_hold_the_electrons():
    volume, electrons = 66.4, 12.0
    fermi_energy = float(band_edge(electrons, volume))
    assert fermi_energy == pytest.approx(units.KINETIC * (3 * math.pi**2 * electrons / volume) ** (2 / 3))
    held, _ = quad(lambda energy: float(state_density(energy, -2.0)), -2.0, -2.0 + fermi_energy)
    assert held * volume == pytest.approx(electrons, rel=1e-9)


@pytest.mark.parametrize("power", [-0.5, 0.5])
@pytest.mark.parametrize(
    ("edge", "bottom", "mu", "kt"),
    [(30.0, -1.0, 8.0, 6.9), (0.0, 0.0, 5.0, 0.1), (5.0, 0.0, -9.0, 2.0), (10.0, 0.0, 60.0, 0.5)],
)
def test_quadrature_gives_incomplete_integrals(edge, bottom, mu, kt, power):
    energies, weights = quadrature(edge, bottom, mu, kt)
    found = np.sum(weights * (energies - bottom) ** power * expit(-(energies - mu) / kt))

    def integrand(wave: float) -> float:
        return 2 * wave ** (2 * power + 1) * expit(-(bottom + wave**2 - mu) / kt)

    ends = [
        math.sqrt(e - bottom) for e in sorted({edge, max(edge, mu), max(edge, mu) + 20 * kt, max(edge, mu) + 45 * kt})
    ]
    expected = sum(quad(integrand, a, b, epsabs=0, epsrel=1e-12, limit=400)[0] for a, b in itertools.pairwise(ends))
    assert found == pytest.approx(expected, rel=1e-10)
