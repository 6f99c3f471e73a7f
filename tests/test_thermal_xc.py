"""Exchange and correlation at a finite temperature: identities first, then libxc (through PySCF)."""

from __future__ import annotations

import ctypes
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from pyscf import lib
from pyscf.dft import libxc
from scipy.integrate import quad

from fermisea import units
from fermisea.errors import InputError
from fermisea.physics import kdt16, thermal_xc
from fermisea.physics.fields import FourierGrid
from fermisea.physics.xc import functional, smooth_functional, xc_energy, xc_energy_and_potential, xc_entropy
from fermisea.physics.xc_response import xc_response

CODES = {"ksdt": 259, "corrksdt": 318, "gdsmfb": 577}
NAMES = (*CODES, "kdt16")
KELVIN = units.HARTREE / units.BOLTZMANN
"""One Hartree of k_B tau_e, K."""

CELL = torch.tensor([[4.0, 0.3, -0.2], [1.5, 3.5, 0.4], [-0.6, 0.9, 4.4]], dtype=torch.float64)


def _libxc(code, densities, temperature):
    """Energy per electron and potential of libxc, Hartree, at densities in 1/bohr^3 and k_B T in Hartree."""
    shared = ctypes.CDLL(str(Path(lib.__file__).parent / "deps" / "lib" / "libxc.so"))
    assert Path(shared._name).is_file()
    assert libxc.XC_CODES["LDA_XC_KSDT"] == 259
    shared.xc_func_alloc.restype = ctypes.c_void_p
    handle = ctypes.c_void_p(shared.xc_func_alloc())
    assert shared.xc_func_init(handle, code, 1) == 0
    shared.xc_func_set_ext_params(handle, (ctypes.c_double * 1)(temperature))
    n = np.ascontiguousarray(densities)
    results = np.zeros_like(n), np.zeros_like(n)
    pointers = [a.ctypes.data_as(ctypes.POINTER(ctypes.c_double)) for a in (n, *results)]
    shared.xc_lda_exc_vxc(handle, ctypes.c_size_t(n.size), *pointers)
    shared.xc_func_end(handle)
    return results


def _density(shape=(8, 9, 10)):
    x, y, z = torch.meshgrid(*(2 * torch.pi * torch.arange(n, dtype=torch.float64) / n for n in shape), indexing="ij")
    return 0.15 * torch.exp(0.5 * torch.cos(x + 0.3) + 0.4 * torch.cos(y - z) + 0.3 * torch.sin(z))


@pytest.mark.parametrize("name", CODES)
@pytest.mark.parametrize("temperature", [1e-6, 1e-4, 0.01, 0.03, 0.3, 3.0, 100.0, 3000.0])
def test_energy_and_potential_of_the_local_forms_are_those_of_libxc(name, temperature):
    densities = np.logspace(-9, 2, 45)
    energy, potential = _libxc(CODES[name], densities, temperature)
    n = torch.tensor(densities / units.BOHR**3, requires_grad=True)
    own = functional(name).at(temperature * KELVIN).energy_density(n)
    (slope,) = torch.autograd.grad(own.sum(), n)
    np.testing.assert_allclose((own / n).detach().numpy() / units.HARTREE, energy, rtol=1e-12)
    np.testing.assert_allclose(slope.numpy() / units.HARTREE, potential, rtol=1e-12)


@pytest.mark.parametrize("name", CODES)
@pytest.mark.parametrize("temperature", [1e-3, 0.01, 0.1, 1.0, 10.0, 1000.0])
def test_entropy_of_the_local_forms_is_that_of_libxc(name, temperature):
    """tau_e S_xc against the slope of a polynomial in ln T through libxc's energies, 1e-10 of F_xc."""
    densities = np.logspace(-6, 1, 15)
    logs = np.polynomial.chebyshev.chebpts1(23)
    values = np.array([_libxc(CODES[name], densities, temperature * math.exp(0.4 * x))[0] for x in logs])
    series = np.polynomial.chebyshev.chebfit(logs, values, 22)
    numerical = np.polynomial.chebyshev.chebval(0.0, np.polynomial.chebyshev.chebder(series)) / 0.4
    energy = _libxc(CODES[name], densities, temperature)[0]
    t = torch.tensor(temperature * KELVIN, dtype=torch.float64, requires_grad=True)
    for density, slope, value in zip(densities, numerical, energy, strict=True):
        n = torch.tensor(density / units.BOHR**3, dtype=torch.float64)
        (own,) = torch.autograd.grad(functional(name).energy_density(n, None, t) / n, t)
        assert float(own) * temperature * KELVIN / units.HARTREE == pytest.approx(slope, abs=1e-10 * abs(value))


def _fermi_dirac(eta):
    """I_{1/2}, I_{-1/2} and two derivatives of the latter at eta; the trapezoid rule is exact to rounding here."""
    s, step = np.linspace(0, math.sqrt(max(eta, 0.0) + 45), 4001, retstep=True)
    f = 1 / (1 + np.exp(s**2 - eta))
    weights = np.where(s == 0, 0.5, 1.0) * step
    g = f * (1 - f)
    return [2 * float(weights @ y) for y in (s**2 * f, f, g, g * (1 - 2 * f))]


@pytest.mark.parametrize("eta", [-6.0, -2.0, 0.0, 2.0, 5.0, 10.0])
def test_factors_of_exchange_are_their_integrals(eta):
    """The largest errors of the fits are 1.7e-4 and 2.8e-3 here; Comput. Phys. Commun. 192, 114 (2015), gives such."""
    half, minus, first, second = _fermi_dirac(eta)
    t = (2 / (3 * half)) ** (2 / 3)
    integral = quad(lambda x: _fermi_dirac(x)[1] ** 2, eta - 40, eta, epsrel=1e-9, limit=200)[0]
    reduced = torch.tensor(t, dtype=torch.float64)
    assert float(kdt16.exchange_factor(reduced)) == pytest.approx(t**2 / 2 * integral, rel=2e-4)
    exact = (1.5 * half) ** (4 / 3) * ((first / minus) ** 2 - 3 * second / minus)
    assert float(kdt16.exchange_gradient_factor(reduced)) == pytest.approx(exact, rel=3e-3)


def test_factors_of_gradients_at_low_and_high_temperature():
    """1 at t = 0; -2 (3/2)^(4/3) u^2 for the Boltzmann limit of B_x, where every I_k is proportional to exp(eta)."""
    cold, hot = (torch.tensor(t, dtype=torch.float64) for t in (1e-7, 1e7))
    for radius in (0.1, 2.0, 50.0):
        factor = kdt16.correlation_gradient_factor(torch.tensor(radius, dtype=torch.float64), cold)
        assert float(factor) == pytest.approx(1, abs=1e-12)
    assert float(kdt16.exchange_factor(cold)) == pytest.approx(1, abs=1e-11)
    assert float(kdt16.exchange_gradient_factor(cold)) == pytest.approx(1, abs=1e-6)
    u = (2 / 3) ** (2 / 3) / 1e7
    assert float(kdt16.exchange_gradient_factor(hot)) == pytest.approx(-2 * 1.5 ** (4 / 3) * u**2, rel=1e-6)


@pytest.mark.parametrize("factor", [kdt16.exchange_factor, kdt16.exchange_gradient_factor])
def test_both_forms_of_a_factor_agree_where_they_meet(factor):
    t = torch.tensor([1 - 1e-9, 1 + 1e-9], dtype=torch.float64, requires_grad=True)
    values = factor(t)
    (slopes,) = torch.autograd.grad(values.sum(), t)
    torch.testing.assert_close(values[1] - values[0], 2e-9 * slopes[0], rtol=1e-5, atol=1e-15)
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-7, atol=0)


@pytest.mark.parametrize("kelvin", [100.0, 1e4, 1e6, 1e8])
def test_kdt16_of_a_uniform_density_is_corrksdt(kelvin):
    n = torch.logspace(-10, 3, 40, dtype=torch.float64)
    own = functional("kdt16").at(kelvin).energy_density(n, torch.zeros_like(n))
    torch.testing.assert_close(own, functional("corrksdt").at(kelvin).energy_density(n), rtol=1e-13, atol=0)


def test_kdt16_at_low_temperature_is_pbe_with_the_uniform_gas_of_corrksdt():
    """PBE is KDT16 at t = 0 but for rounded constants and the correlation of the uniform gas, which enters H too."""
    n = torch.logspace(-3, 0.5, 60, dtype=torch.float64)
    s = torch.tensor([0.0, 0.3, 1.0, 3.0], dtype=torch.float64)[:, None]
    sigma = (s * 2 * (3 * math.pi**2) ** (1 / 3) * n ** (4 / 3)) ** 2
    n = n.expand_as(sigma)
    cold = functional("kdt16").at(1.0).energy_density(n, sigma) / n
    pbe = functional("pbe").energy_density(n, sigma) / n
    lda = functional("corrksdt").at(1.0).energy_density(n) / n - functional("lda").energy_density(n) / n
    gradient = (cold - functional("corrksdt").at(1.0).energy_density(n) / n) - (
        pbe - functional("lda").energy_density(n) / n
    )
    assert 1e-3 < lda.abs().max() < 0.05  # eV per electron
    assert (gradient.abs() < lda.abs().max()).all()
    assert (lda[0] - (cold - pbe)[0]).abs().max() < 1e-12


def test_correlation_of_the_uniform_gas_is_negative():
    """The gradient correction of KDT16 relies on it."""
    root = torch.logspace(-5.3, 1, 200, dtype=torch.float64)
    for kelvin in (5.0, 1e3, 1e5, 1e7, 1e9):
        t = torch.tensor(kelvin / KELVIN, dtype=torch.float64)
        factor = kdt16.exchange_factor(thermal_xc.reduced_temperature(root, t))
        exchange = -0.75 * (3 / math.pi) ** (1 / 3) * root * factor
        assert (thermal_xc.CORRKSDT.free_energy(root, t) < exchange).all()


@pytest.mark.parametrize("make", [functional, smooth_functional])
@pytest.mark.parametrize("name", NAMES)
def test_energies_and_derivatives_are_finite_everywhere(name, make):
    few = torch.tensor([0.0, -1e-6, 1e-300, 1e-30, 1e-17], dtype=torch.float64)
    density = torch.cat([few, torch.logspace(-16, 3, 39, dtype=torch.float64)])
    sigma = torch.tensor([0.0, 1e-30, 1e-10, 1e-3, 1.0, 1e4, 1e8], dtype=torch.float64)
    for kelvin in (5.0, 1e2, 1e4, 1e5, 1e6, 1e7, 1e9):
        n, s = (x.flatten().requires_grad_() for x in torch.meshgrid(density, sigma, indexing="ij"))
        t = torch.tensor(kelvin, dtype=torch.float64, requires_grad=True)
        chosen = make(name).at(kelvin)
        energy = chosen.energy_density(n, s, t)
        inputs = (n, s) if chosen.needs_gradient else (n,)
        first = torch.autograd.grad(energy.sum(), (*inputs, t), create_graph=True)
        second = [x for y in first for x in torch.autograd.grad(y.sum(), (*inputs, t), retain_graph=True)]
        assert (energy <= 0).all()
        assert (energy[n <= 0] == 0).all()
        assert all(torch.isfinite(x).all() for x in (*first, *second))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kelvin", [1e3, 1e4, 3e5, 1e7])
def test_derivatives_are_those_of_the_energy(name, kelvin):
    n = torch.tensor([0.02, 0.1, 0.3, 1.0], dtype=torch.float64, requires_grad=True)
    sigma = torch.tensor([0.01, 0.05, 0.9, 40.0], dtype=torch.float64, requires_grad=True)
    scaled = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)

    def energy(density, second, factor):
        return functional(name).energy_density(density, second, factor * kelvin)

    inputs = (n, sigma if name == "kdt16" else sigma.detach(), scaled)
    assert torch.autograd.gradcheck(energy, inputs, eps=1e-6, rtol=1e-6, atol=1e-6)
    assert torch.autograd.gradgradcheck(energy, inputs, eps=1e-6, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_potential_and_response_on_a_grid(name):
    density, change = _density(), 0.01 * _density().roll((2, 3, 1), (0, 1, 2))
    chosen = functional(name).at(2e4)
    point = float(torch.linalg.det(CELL)) / density.numel()
    _, potential = xc_energy_and_potential(density, FourierGrid.of(CELL, density), chosen)
    up, down = (xc_energy(density + k * change, FourierGrid.of(CELL, density), chosen) for k in (0.01, -0.01))
    assert float((potential * change).sum()) * point == pytest.approx(float(up - down) / 0.02, rel=1e-6)
    response = xc_response(density, FourierGrid.of(CELL, density), chosen, change).response
    up, down = (
        xc_energy_and_potential(density + k * change, FourierGrid.of(CELL, density), chosen)[1] for k in (0.01, -0.01)
    )
    torch.testing.assert_close(response, (up - down) / 0.02, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kelvin", [300.0, 1e4, 1e6])
def test_entropy_on_a_grid_is_minus_the_slope_of_the_free_energy(name, kelvin, monkeypatch):
    density = _density()
    entropy = xc_entropy(density, FourierGrid.of(CELL, density), functional(name).at(kelvin))
    h = 1e-3 * kelvin
    f = {
        k: float(xc_energy(density, FourierGrid.of(CELL, density), functional(name).at(kelvin + k * h)))
        for k in (-2, -1, 1, 2)
    }
    scale = abs(f[1]) / kelvin
    assert entropy == pytest.approx(-(8 * (f[1] - f[-1]) - (f[2] - f[-2])) / (12 * h), rel=1e-8, abs=1e-11 * scale)
    monkeypatch.setattr("fermisea.physics.xc._BLOCK", 101)
    assert xc_entropy(density, FourierGrid.of(CELL, density), functional(name).at(kelvin)) == pytest.approx(
        entropy, rel=1e-10
    )


def test_a_functional_of_the_ground_state_has_no_temperature():
    pbe = functional("pbe")
    assert pbe.at(1e4) is pbe
    assert xc_entropy(_density(), FourierGrid.of(CELL, _density()), pbe) == 0.0


def test_a_functional_of_the_temperature_needs_one():
    with pytest.raises(ValueError, match="no electronic temperature"):
        functional("ksdt").energy_density(_density())
    for bad in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="electron temperature"):
            functional("kdt16").at(bad)
    with pytest.raises(InputError, match="kdt16"):
        functional("kdt17")
