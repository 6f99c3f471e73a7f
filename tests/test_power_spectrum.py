"""The hyperspherical harmonics and their power spectrum."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ase import Atoms
from scipy.special import eval_chebyu, eval_gegenbauer, sph_harm_y

from fermisea.descriptors import PowerSpectrum
from fermisea.descriptors.harmonics import degree_offset, hyperspherical_harmonics


def unit_quaternions(count, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(count, 4))
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_addition_theorem():
    # sum_lm Y_nlm(p) Y_nlm(q) = (n + 1) / (2 pi^2) U_n(p . q)  (Varshalovich et al., section 5.17; U_n: Chebyshev)
    quaternions = np.concatenate([unit_quaternions(8), [[1, 0, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]]])
    harmonics = hyperspherical_harmonics(quaternions, 12)
    for n in range(13):
        part = harmonics[:, degree_offset(n) : degree_offset(n + 1)]
        expected = (n + 1) / (2 * np.pi**2) * eval_chebyu(n, quaternions @ quaternions.T)
        assert np.abs(part @ part.T - expected).max() < 1e-12 * (n + 1) ** 2


def test_harmonics_are_orthonormal():
    # Gauss quadratures: exact for products of two harmonics of degree 4
    u, wu = np.polynomial.legendre.leggauss(60)
    theta0, w0 = np.pi / 2 * (u + 1), np.pi / 2 * wu
    z, wz = np.polynomial.legendre.leggauss(10)
    phi = np.arange(12) * np.pi / 6
    a, b, c = np.meshgrid(theta0, z, phi, indexing="ij")
    weights = (w0 * np.sin(theta0) ** 2)[:, None, None] * wz[None, :, None] * np.full(12, np.pi / 6)
    sine = np.sqrt(1 - b**2)
    quaternions = [np.cos(a), np.sin(a) * sine * np.cos(c), np.sin(a) * sine * np.sin(c), np.sin(a) * b]
    harmonics = hyperspherical_harmonics(np.stack(quaternions, axis=-1), 4)
    overlap = np.einsum("abci,abc,abcj->ij", harmonics, weights, harmonics, optimize=True)
    assert np.abs(overlap - np.eye(degree_offset(5))).max() < 1e-12


@pytest.mark.parametrize(("order", "features"), [(0, 1), (1, 4), (4, 35), (6, 84), (10, 286)])
def test_number_of_features(order, features):
    assert PowerSpectrum(order, 4.0).features == features
    assert sum(j + 1 for j in range(order + 1) for _ in range(j, order + 1)) == features


def slow_power_spectrum(atoms, point, order, cutoff, weights, rfac0, smoothness=1):
    """Straight from the definitions, with scipy's complex spherical harmonics and Gegenbauer polynomials."""
    expansion = {}
    for symbol, position in zip(atoms.symbols, atoms.positions, strict=True):
        for shift in np.ndindex(5, 5, 5):
            x, y, z = position + (np.array(shift) - 2) @ atoms.cell.array - point
            r = math.sqrt(x * x + y * y + z * z)
            if r >= cutoff:
                continue
            theta0 = rfac0 * math.pi * r / cutoff
            weight = weights[symbol] * (0.5 * (math.cos(math.pi * r / cutoff) + 1)) ** smoothness
            for j in range(order + 1):
                for l in range(j + 1):  # noqa: E741
                    norm = math.sqrt(2 * (j + 1) * math.factorial(j - l) / (math.pi * math.factorial(j + l + 1)))
                    radial = 2**l * math.factorial(l) * norm * math.sin(theta0) ** l
                    radial *= eval_gegenbauer(j - l, l + 1, math.cos(theta0))
                    for m in range(-l, l + 1):
                        value = weight * radial * sph_harm_y(l, m, math.acos(z / r), math.atan2(y, x))
                        expansion[j, l, m] = expansion.get((j, l, m), 0) + value
    return np.array(
        [
            sum(expansion[j1, l, m] * np.conj(expansion[j2, l, m]) for m in range(-l, l + 1)).real
            for j1 in range(order + 1)
            for j2 in range(j1, order + 1)
            for l in range(j1 + 1)  # noqa: E741
        ]
    )


@pytest.mark.parametrize("smoothness", [1, 2, 3])
def test_agrees_with_the_definition(smoothness):
    cell = [[5.1, 0.0, 0.0], [1.3, 4.6, 0.0], [-0.9, 1.1, 5.8]]
    atoms = Atoms("AlNiAl", positions=[[0.1, 0.2, 4.0], [2.7, 0.9, 2.5], [2.0, 3.5, 4.3]], cell=cell, pbc=True)
    weights = {"Al": 1.0, "Ni": -0.6}
    descriptor = PowerSpectrum(5, 4.4, weights, rfac0=0.97, smoothness=smoothness)
    points = np.array([[0.3, 0.1, 0.2], [2.0, 1.5, 1.0], [-4.0, 7.0, 3.0]])
    values = descriptor.compute_points(atoms, points)
    for point, value in zip(points, values, strict=True):
        inside = point - np.floor(point @ np.linalg.inv(cell)) @ np.array(cell)
        expected = slow_power_spectrum(atoms, inside, 5, 4.4, weights, 0.97, smoothness)
        assert np.abs(value - expected).max() < 1e-12 * np.abs(expected).max()


def test_one_neighbour_has_its_closed_form():
    # sum_l p_jjl of a single neighbour is f_c^2 times the addition theorem at angle zero, (j + 1)^2 / (2 pi^2)
    atoms = Atoms("Al", positions=[[0, 0, 0]], cell=[20, 20, 20], pbc=True)
    descriptor = PowerSpectrum(4, 5.0)
    value = descriptor.compute_points(atoms, [[1.0, 2.0, -1.5]])[0]
    cut = 0.5 * (math.cos(math.pi * math.sqrt(7.25) / 5) + 1)
    feature = 0
    for j in range(5):
        for other in range(j, 5):
            if other == j:
                total = value[feature : feature + j + 1].sum()
                assert total == pytest.approx(cut**2 * (j + 1) ** 2 / (2 * math.pi**2), rel=1e-12)
            feature += j + 1


def test_nothing_around_gives_zeros():
    atoms = Atoms("Al", positions=[[0, 0, 0]], cell=[20, 20, 20], pbc=True)
    assert not PowerSpectrum(6, 5.0).compute_points(atoms, [[10, 10, 10]]).any()


def test_components_of_a_lower_degree_are_the_lower_power_spectrum():
    atoms = Atoms("Al4", positions=np.random.default_rng(3).uniform(0, 5, (4, 3)), cell=[5, 5.5, 6], pbc=True)
    point = np.array([[0.3, 1.0, 2.0]])
    high, low = PowerSpectrum(5, 4.5), PowerSpectrum(3, 4.5)
    chosen = high.degrees() <= 3
    assert chosen.sum() == low.features
    np.testing.assert_allclose(
        high.compute_points(atoms, point)[:, chosen], low.compute_points(atoms, point), rtol=1e-12, atol=1e-13
    )
