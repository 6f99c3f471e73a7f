"""Free-energy forms and their derivatives where the functional at tau_e differs from the one in the Hamiltonian."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fermisea import units
from fermisea.physics.fields import FourierGrid
from fermisea.physics.free_electrons import fermi_level
from fermisea.physics.free_energy import FreeEnergyFunctional, potential_and_double_counting, transfer_error
from fermisea.physics.free_energy_derivatives import FreeEnergyDerivatives
from fermisea.physics.hartree import hartree_energy, hartree_potential
from fermisea.physics.screened_response import lindhard, second_order_energy
from fermisea.physics.xc import functional, xc_energy, xc_energy_and_potential
from test_free_energy import CELL, SHAPE, VOXEL, change, field, grid_of, setting
from test_free_energy_derivatives import slope

PAIRS = pytest.mark.parametrize(
    ("cold", "hot"),
    [
        (functional("kdt16").at(1e3), functional("kdt16").at(2e4)),
        (functional("corrksdt").at(1e3), functional("corrksdt").at(5e4)),
        (functional("pbe"), functional("kdt16").at(1e4)),
        (functional("kdt16").at(1e4), functional("pbe")),
    ],
)


@PAIRS
def test_all_forms_but_the_naive_one_agree_at_the_reference_density(cold, hot):
    around = FreeEnergyFunctional(**setting(functional=cold))
    forms = around.forms(12.3, field(1), hot)
    assert forms["harris_foulkes"] == pytest.approx(forms["kohn_sham"], abs=1e-11)
    same = around.forms(12.3, field(1))
    assert list(same.values()) == pytest.approx([same["naive"]] * 4, abs=1e-11)
    whole, cell = torch.tensor(field(1) + field(2, 0.05, 0.02)), torch.tensor(CELL)
    exchange = [float(xc_energy(whole, FourierGrid.of(cell, whole), f)) for f in (hot, cold)]
    difference = exchange[0] - exchange[1]
    assert forms["second_order"] - same["second_order"] == pytest.approx(difference, abs=1e-10)


@PAIRS
def test_forms_are_what_the_definitions_say(cold, hot):
    options = setting(functional=cold)
    n0, nt = torch.tensor(field(1)), torch.tensor(field(3))
    core, cell = torch.tensor(options["core_density"]), torch.tensor(CELL)
    forms = FreeEnergyFunctional(**options).forms(12.3, field(3), hot)
    _, v0 = xc_energy_and_potential(n0 + core, FourierGrid.of(cell, n0), cold)
    e1, v1 = xc_energy_and_potential(n0 + core, FourierGrid.of(cell, n0), hot)
    et, vt = xc_energy_and_potential(nt + core, FourierGrid.of(cell, nt), hot)
    fixed = 12.3 - 31.7
    harris = (
        fixed
        + float(((v1 - v0) * nt - v1 * n0).sum()) * VOXEL
        - float(hartree_energy(n0, FourierGrid.of(cell, n0)))
        + float(e1)
    )
    kohn_sham = fixed - float(((hartree_potential(n0, FourierGrid.of(cell, n0)) + v0) * nt).sum()) * VOXEL
    kohn_sham += float(hartree_energy(nt, FourierGrid.of(cell, nt))) + float(et)
    naive = fixed - float(hartree_energy(nt, FourierGrid.of(cell, nt))) + float(et) - float((vt * nt).sum()) * VOXEL
    assert forms["harris_foulkes"] == pytest.approx(harris, abs=1e-10)
    assert forms["kohn_sham"] == pytest.approx(kohn_sham, abs=1e-10)
    assert forms["naive"] == pytest.approx(naive, abs=1e-10)
    assert forms["second_order"] == pytest.approx((harris + kohn_sham) / 2, abs=1e-10)


@PAIRS
def test_derivatives_by_each_density(cold, hot):
    values, density, direction = setting(functional=cold), field(3), 0.1 * change(5)
    found = FreeEnergyDerivatives.of(
        reference_density=values["reference_density"],
        density=density,
        core_density=torch.as_tensor(values["core_density"]),
        grid=values["grid"],
        functional=cold,
        hot=hot,
    )

    def by(name, x):
        moved = values if name == "density" else values | {name: values[name] + x * direction}
        own = density + x * direction if name == "density" else density
        return FreeEnergyFunctional(**moved).forms(0.0, own, hot)["second_order"]

    for name in ("reference_density", "density", "core_density"):
        expected = slope(lambda x, name=name: by(name, x))
        got = float(np.sum(getattr(found, name).numpy() * direction)) * VOXEL
        assert got == pytest.approx(expected, rel=1e-6, abs=1e-7), name


@PAIRS
def test_derivative_by_the_strain(cold, hot):
    values, density = setting(functional=cold), field(3)
    found = FreeEnergyDerivatives.of(
        reference_density=values["reference_density"],
        density=density,
        core_density=torch.as_tensor(values["core_density"]),
        grid=values["grid"],
        functional=cold,
        hot=hot,
    ).strain.numpy()
    for i, j in ((0, 0), (0, 1), (1, 2)):
        direction = np.zeros((3, 3))
        direction[i, j] += 0.5
        direction[j, i] += 0.5

        def at(x, d=direction):
            strained = values | {"grid": grid_of(CELL @ (np.eye(3) + x * d))}
            return FreeEnergyFunctional(**strained).forms(0.0, density, hot)["second_order"]

        assert found[i, j] == pytest.approx(slope(at), rel=1e-6, abs=1e-7 * np.abs(found).max())


@pytest.mark.parametrize("kelvin", [300.0, 1e4, 1e6, 1e8])
@pytest.mark.parametrize("density", [1e-3, 0.18, 5.0])
def test_response_of_free_electrons_has_its_limits(kelvin, density):
    """dn/dmu for q -> 0, and 2 n / (KINETIC q^2) for q -> inf, where every electron answers alone."""
    kt = units.thermal_energy(kelvin)
    level = fermi_level(density, kelvin)
    thermal = math.sqrt(max(level, kt) / units.KINETIC)
    compressed = [fermi_level(density * (1 + k), kelvin) for k in (-1e-4, 1e-4)]
    slope_of_density = 2e-4 * density / (compressed[1] - compressed[0])
    small = lindhard(np.array([1e-4 * thermal]), density, kelvin)[0]
    assert small == pytest.approx(slope_of_density, rel=2e-4)
    q = 300 * thermal
    large = lindhard(np.array([q]), density, kelvin)[0]
    assert large == pytest.approx(2 * density / (units.KINETIC * q**2), rel=2e-3)


def test_response_at_low_temperature_is_that_of_lindhard():
    """At q = 2 k_F it is half of dn/dmu, and 1/2 + (3/8) ln 3 of it at q = k_F."""
    wave = (3 * math.pi**2 * 0.18) ** (1 / 3)
    states = wave / (2 * math.pi**2 * units.KINETIC)
    found = lindhard(np.array([wave, 2 * wave]), 0.18, 50.0) / states
    assert found == pytest.approx([0.5 + 0.375 * math.log(3), 0.5], rel=2e-3)


def test_classical_response_for_small_wave_numbers_is_n_over_kt():
    kelvin = 1e8
    assert lindhard(np.array([1e-3]), 1e-3, kelvin)[0] == pytest.approx(1e-3 / units.thermal_energy(kelvin), rel=1e-5)


def test_second_order_energy_of_one_wave():
    """-1/2 chi |dv|^2 V summed over G and -G, and nothing for a constant potential; quadratic in the potential."""
    cell, kelvin, n = torch.eye(3, dtype=torch.float64) * 4.0, 1e4, 0.18
    x = torch.arange(8, dtype=torch.float64) / 8
    wave = (0.3 * torch.cos(2 * math.pi * x)[:, None, None] + 1.7).expand(8, 8, 8).contiguous()
    xc = functional("lda")
    uniform = torch.full((8, 8, 8), n, dtype=torch.float64)
    found = second_order_energy(wave, uniform, FourierGrid.of(cell, wave), xc, kelvin)
    q = 2 * math.pi / 4.0
    bare = lindhard(np.array([q]), n, kelvin)[0]
    density = torch.tensor(n, dtype=torch.float64)
    second = torch.func.grad(torch.func.grad(xc.energy_density))(density)
    kernel = 4 * math.pi * units.COULOMB / q**2 + float(second)
    expected = 0.5 * 64.0 * 2 * 0.15**2 * bare / (1 + kernel * bare)
    assert found == pytest.approx(expected, rel=1e-3)
    assert second_order_energy(2 * wave, uniform, FourierGrid.of(cell, wave), xc, kelvin) == pytest.approx(
        4 * found, rel=1e-9
    )
    assert (
        second_order_energy(
            torch.full_like(uniform, 2.0),
            uniform + 0.1 * wave,
            FourierGrid.of(cell, uniform),
            xc,
            kelvin,
        )
        < 1e-25
    )
    assert second_order_energy(wave, 0 * uniform, FourierGrid.of(cell, wave), xc, kelvin) == 0.0


def test_response_error_is_part_of_the_transfer_error():
    around = FreeEnergyFunctional(**setting("pbe"))
    hot = functional("kdt16").at(3e4)
    shared = around.response_error(hot, 3e4)
    n0, core, cell = torch.tensor(field(1)), torch.tensor(field(2, 0.05, 0.02)), torch.tensor(CELL)
    change_of_potential = (
        potential_and_double_counting(n0, n0 + core, FourierGrid.of(cell, n0), hot)[0]
        - potential_and_double_counting(n0, n0 + core, FourierGrid.of(cell, n0), functional("pbe"))[0]
    )
    direct = second_order_energy(change_of_potential, n0, FourierGrid.of(cell, n0), hot, 3e4)
    assert shared == pytest.approx(direct, rel=1e-9)
    assert shared > 0
    assert around.response_error(functional("pbe"), 3e4) == 0.0
    forms = around.forms(0.0, field(3), hot)
    assert transfer_error(forms, shared) == pytest.approx(transfer_error(forms) + shared)
    assert change_of_potential.shape == SHAPE
