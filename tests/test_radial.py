"""Radial integrals against closed forms, tables against the functions they tabulate."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch
from scipy.special import spherical_jn

from fermisea.errors import InputError
from fermisea.physics.radial import RadialTable, radial_transform, reduced_bessel, simpson_weights


@pytest.mark.parametrize("degree", range(5))
def test_reduced_bessel_is_the_spherical_bessel_function(degree):
    x = np.concatenate([np.linspace(0.02, 3, 150), np.linspace(3, 400, 1000)])
    expected = spherical_jn(degree, x)
    assert np.abs(reduced_bessel(degree, x) * x**degree - expected).max() < 1e-14


@pytest.mark.parametrize("degree", range(5))
@pytest.mark.parametrize("x", [0.0, 1e-9, 1e-3, 0.7, 1 - 1e-12, 1.0, 1.3, 2.9])
def test_reduced_bessel_keeps_its_digits_near_zero(degree, x):
    with mpmath.workdps(40):
        exact = 1 / mpmath.fac2(2 * degree + 1)
        if x:
            bessel = mpmath.sqrt(mpmath.pi / (2 * mpmath.mpf(x))) * mpmath.besselj(degree + mpmath.mpf(1) / 2, x)
            exact = bessel / mpmath.mpf(x) ** degree
        assert float(reduced_bessel(degree, x)) == pytest.approx(float(exact), rel=3e-12)


def test_simpson_is_exact_for_cubics_on_any_smooth_mesh_of_odd_size():
    r = np.linspace(0, 2, 11)
    assert simpson_weights(np.full(11, 0.2)) @ (r**3 - r) == pytest.approx(4 - 2, abs=1e-13)
    logarithmic = np.exp(np.linspace(-9, 4, 1301))
    weights = simpson_weights(logarithmic * 0.01)
    assert weights @ (logarithmic**2 * np.exp(-logarithmic)) == pytest.approx(2, rel=1e-9)


@pytest.mark.parametrize("size", [1, 4])
def test_simpson_refuses_meshes_that_it_cannot_pair(size):
    with pytest.raises(InputError, match="odd number"):
        simpson_weights(np.ones(size))


@pytest.mark.parametrize("degree", range(4))
def test_transform_of_a_gaussian(degree):
    width, r = 0.6, np.linspace(0, 8, 1601)
    weights = simpson_weights(np.full(1601, 0.005))
    momenta = np.array([0.0, 1e-6, 0.1, 1.0, 4.0, 9.0])
    got = radial_transform(degree, momenta, r, [weights * r ** (2 + degree) * np.exp(-(r**2) / (2 * width**2))])[0]
    exact = (2 * math.pi) ** 1.5 * width ** (2 * degree + 3) * np.exp(-((momenta * width) ** 2) / 2)
    np.testing.assert_allclose(got, exact, rtol=0, atol=1e-10 * exact[0])


def _function(q):
    return torch.stack([torch.exp(-(q**2) / 2), torch.cos(3 * q)])


def _table(step=0.025, highest=6.0):
    q = torch.arange(0, highest + step / 2, step, dtype=torch.float64)
    return RadialTable(step, _function(q).numpy())


def test_table_returns_the_tabulated_functions_between_its_points():
    q = torch.rand(5000, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 5.9
    error = (_table()(q) - _function(q)).abs().amax(dim=1)
    assert error[0] < 1e-11
    assert error[1] < 1e-10


def test_table_derivative_is_that_of_the_function_and_vanishes_at_zero():
    q = torch.linspace(0, 5.9, 2000, dtype=torch.float64, requires_grad=True)
    table, exact = _table()(q), _function(q)
    for row in range(2):
        (got,) = torch.autograd.grad(table[row].sum(), q, retain_graph=True)
        (want,) = torch.autograd.grad(exact[row].sum(), q, retain_graph=True)
        assert (got - want).abs().max() < 2e-8
        assert abs(float(got[0])) < 1e-10


def test_table_passes_gradcheck_and_keeps_shapes():
    q = torch.tensor([[0.0, 0.013, 0.025], [1.0, 2.3456, 6.0]], dtype=torch.float64, requires_grad=True)
    table = _table()
    assert table(q).shape == (2, 2, 3)
    assert torch.autograd.gradcheck(table, (q[:, 1:].detach().clone().clamp(max=5.9).requires_grad_(),))
    assert table(torch.zeros(0, dtype=torch.float64)).shape == (2, 0)


def test_table_converges_with_the_sixth_power_of_its_step():
    q = torch.rand(2000, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) * 5
    coarse, fine = ((_table(step)(q)[1] - _function(q)[1]).abs().max() for step in (0.1, 0.05))
    assert 45 < float(coarse / fine) < 85


def test_table_refuses_momenta_beyond_its_end():
    with pytest.raises(InputError, match=r"got a momentum of 7.00 1/Angstrom, expected at most 6.00"):
        _table()(torch.tensor([1.0, 7.0], dtype=torch.float64))


@pytest.mark.parametrize(
    ("step", "values"), [(0.0, np.ones(9)), (0.1, np.ones(3)), (0.1, np.full(9, np.nan)), (0.1, np.ones((1, 2, 9)))]
)
def test_table_refuses_what_is_not_a_table(step, values):
    with pytest.raises(InputError, match="table"):
        RadialTable(step, values)
