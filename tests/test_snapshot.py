"""Snapshots: what follows from the LDOS, checked on a uniform electron gas with known answers, and refusals."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from ase import Atoms
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import expit, xlog1py, xlogy

from fermisea import units
from fermisea.data import snapshot as snapshot_module
from fermisea.data.reference import Reference
from fermisea.data.snapshot import Snapshot
from fermisea.errors import InputError, WindowError
from fermisea.grid import EnergyGrid, RealSpaceGrid
from fermisea.physics.broadening import Broadening
from fermisea.physics.ions import CoreCharge, Ion
from fermisea.physics.observables import thermal_observables
from fermisea.physics.registry import FORMS
from fermisea.physics.xc import functional
from synthetic import REFERENCE_TEMPERATURE, made_up_snapshot

SIDE, VALENCE = 4.0, 3.0
ENERGIES = EnergyGrid(-12.0, 0.2, 251)
TEMPERATURES = [300.0, 1000.0, 5000.0, 20_000.0]


def gas_dos(energy: float) -> float:
    """A smooth density of states, 1/eV: rises at 0 eV over 1.5 eV and goes on like a square root."""
    step = expit(energy / 1.5)
    return 0.3 * step * math.sqrt(1 + np.logaddexp(0.0, energy))


def gas(**changes) -> Snapshot:
    """One ion in a simple cubic cell, its LDOS the same everywhere: density and free energy have closed forms."""
    atoms = Atoms("Al", positions=[[0.3, 0.1, -0.2]], cell=[SIDE] * 3, pbc=True)
    grid = RealSpaceGrid(atoms.cell.array, (4, 5, 3))
    dos = np.array([gas_dos(e) for e in ENERGIES.energies])
    parts = {
        "atoms": atoms,
        "grid": grid,
        "energy_grid": ENERGIES,
        "ldos": np.broadcast_to(dos / grid.volume, (*grid.shape, dos.size)),
        "density": np.full(grid.shape, VALENCE / grid.volume),
        "electron_temperature": 1000.0,
        "ion_temperature": None,
        "broadening": Broadening("none", 0.0),
        "reference": Reference(0.0, {}, 0.0, VALENCE, 0.0),
        "ions": {"Al": Ion("Al", VALENCE)},
        "functional": "lda",
        "provenance": {},
    }
    return Snapshot(**(parts | changes))


def integral(function, mu: float, kt: float) -> float:
    breaks = sorted({ENERGIES.start, ENERGIES.stop, *np.clip(mu + kt * np.arange(-40, 41, 8), -12, 38), 0.0})
    pieces = itertools.pairwise(breaks)
    return math.fsum(quad(function, a, b, epsabs=1e-13, epsrel=1e-13)[0] for a, b in pieces)


def gas_answers(temperature: float) -> dict[str, float]:
    """Fermi level, band energy and entropy by adaptive quadrature of the analytic density of states."""
    kt = units.BOLTZMANN * temperature

    def f(e: float, mu: float) -> float:
        return expit((mu - e) / kt)

    def number(mu: float) -> float:
        return integral(lambda e: f(e, mu) * gas_dos(e), mu, kt) - VALENCE

    mu = brentq(number, -5, 20, xtol=1e-13)
    band = integral(lambda e: e * f(e, mu) * gas_dos(e), mu, kt)

    def disorder(e: float) -> float:
        x = f(e, mu)
        return -(xlogy(x, x) + xlog1py(1 - x, -x)) * gas_dos(e)

    return {"mu": mu, "band": band, "entropy": units.BOLTZMANN * integral(disorder, mu, kt)}


def exchange_and_correlation(core: float) -> float:
    """E_xc - N v_xc, eV, of a density whose valence and core electrons are spread evenly."""
    n = torch.tensor((VALENCE + core) / SIDE**3, dtype=torch.float64, requires_grad=True)
    energy_density = functional("lda").energy_density(n, torch.zeros((), dtype=torch.float64))
    (v_xc,) = torch.autograd.grad(energy_density, n)
    return energy_density.item() * SIDE**3 - VALENCE * v_xc.item()


def gas_free_energy(temperature: float) -> float:
    """E_b - TS + E_xc[n] - N v_xc(n) + E_ii: no Hartree energy, and v_xc is one number."""
    answers = gas_answers(temperature)
    # Coldwell-Horsfall and Maradudin, J. Math. Phys. 1, 395 (1960): a point charge in its background, simple cubic
    ewald = -2.837297479480620 / 2 * VALENCE**2 * units.COULOMB / SIDE
    band = answers["band"] - temperature * answers["entropy"]
    return band + exchange_and_correlation(0.0) + ewald


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_observables_of_a_uniform_gas_are_those_of_quadrature(temperature):
    (got,) = gas().observables(temperature)
    expected = gas_answers(temperature)
    assert got.electron_temperature == temperature
    assert got.electrons == pytest.approx(VALENCE, rel=1e-10)
    assert got.fermi_level == pytest.approx(expected["mu"], abs=2e-6)
    assert got.band_energy == pytest.approx(expected["band"], abs=1e-5)
    assert got.entropy == pytest.approx(expected["entropy"], rel=1e-5)
    np.testing.assert_allclose(got.density, VALENCE / SIDE**3, rtol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_free_energy_of_a_uniform_gas_is_the_closed_form_in_every_form(form):
    got = gas().free_energy(TEMPERATURES, form)
    assert got == pytest.approx([gas_free_energy(t) for t in TEMPERATURES], abs=2e-6)


def test_temperature_transfer_of_a_uniform_gas_costs_nothing():
    assert all(o.transfer_error < 1e-8 for o in gas().observables(TEMPERATURES))


@pytest.fixture(scope="module")
def made_up():
    return made_up_snapshot(5)


def test_all_forms_agree_at_the_reference_temperature(made_up):
    (at,) = made_up.observables(REFERENCE_TEMPERATURE)
    assert len(set(FORMS)) == 4
    for form in FORMS:
        assert at.free_energies[form] == pytest.approx(at.free_energies["second_order"], abs=1e-8)
    assert at.transfer_error < 1e-8


def test_forms_differ_elsewhere_as_their_orders_say(made_up):
    (at,) = made_up.observables(8000.0)
    f = at.free_energies
    assert f["second_order"] == (f["harris_foulkes"] + f["kohn_sham"]) / 2
    assert at.transfer_error == abs(f["harris_foulkes"] - f["kohn_sham"]) / 2
    assert 0 < at.transfer_error < abs(f["naive"] - f["second_order"])
    assert at.internal_energy("kohn_sham") == f["kohn_sham"] + 8000.0 * at.entropy


def test_dos_is_the_cell_integral_and_the_density_holds_the_electrons(made_up):
    np.testing.assert_allclose(
        made_up.dos, [made_up.grid.integrate(made_up.ldos[..., i]) for i in range(36)], rtol=1e-12
    )
    assert made_up.electrons == 12.0
    for at in made_up.observables([300.0, 3000.0, 10_000.0]):
        assert made_up.grid.integrate(at.density) == pytest.approx(12.0, rel=1e-10)
        assert at.electrons == pytest.approx(12.0, rel=1e-10)


def test_one_temperature_gives_a_float_and_several_an_array(made_up):
    one = made_up.free_energy(2000)
    assert isinstance(one, float)
    several = made_up.free_energy([2000, 4000])
    assert isinstance(several, np.ndarray)
    assert several.shape == (2,)
    assert several[0] == pytest.approx(one, abs=1e-9)
    assert made_up.free_energy([]).shape == (0,)
    assert made_up.free_energy(np.array([2000.0])).shape == (1,)


def test_nothing_is_remembered_between_temperatures(made_up):
    first = made_up.free_energy(9000.0)
    made_up.free_energy(100.0)
    made_up.observables([50.0, 10_000.0])
    assert made_up.free_energy(9000.0) == first


def test_integration_in_blocks_changes_nothing(made_up, monkeypatch):
    whole = made_up.observables([500.0, 5000.0])
    monkeypatch.setattr(snapshot_module, "_BLOCK", 1)
    for one, two in zip(whole, made_up.observables([500.0, 5000.0]), strict=True):
        np.testing.assert_allclose(one.density, two.density, rtol=1e-13)
        assert one.free_energies == pytest.approx(two.free_energies, abs=1e-10)


def test_all_densities_come_from_one_pass(made_up):
    calls = []

    def densities(integrals):
        calls.append(len(integrals))
        return [made_up.ldos.astype(float) @ integral.weights for integral in integrals]

    thermal_observables(
        made_up.density_of_states,
        densities,
        atoms=made_up.atoms,
        grid=made_up.grid,
        ions=made_up.ions,
        functional_name="lda",
        electron_temperatures=[300.0, 5000.0],
        reference_electron_temperature=1000.0,
    )
    assert calls == [3]


def test_core_density_enters_exchange_and_correlation_alone():
    # so wide that its density is even: its transform is gone at the shortest reciprocal vector, 2 pi / SIDE
    momenta = 0.05 * np.arange(400)
    core = CoreCharge(0.05, 2.0 * np.exp(-((6.0 * momenta) ** 2) / 2))
    got = gas(ions={"Al": Ion("Al", VALENCE, core)}).free_energy([1000.0, 5000.0])
    change = exchange_and_correlation(2.0) - exchange_and_correlation(0.0)
    assert abs(change) > 1
    assert got - gas().free_energy([1000.0, 5000.0]) == pytest.approx([change, change], abs=1e-6)


def test_windows_are_enforced_by_name(made_up):
    highest = made_up.highest_electron_temperature
    assert made_up.free_energy(0.99 * highest) < 0
    text = rf"got {1.01 * highest:g} K, but the energy window \[-6.00, 11.50\] eV is valid up to {highest:.0f} K"
    with pytest.raises(WindowError, match=text):
        made_up.free_energy([300.0, 1.01 * highest], tail=False)
    with pytest.raises(WindowError, match=text):
        made_up.observables(1.01 * highest, tail=False)
    with pytest.warns(UserWarning, match=text):
        made_up.free_energy(1.01 * highest, tail=False, allow_beyond_window=True)


@pytest.mark.parametrize("temperature", [0.0, -300.0, math.nan, math.inf])
def test_temperatures_that_are_none_are_refused(made_up, temperature):
    with pytest.raises(InputError, match="electron temperature"):
        made_up.free_energy(temperature)
    with pytest.raises(InputError, match="electron temperature"):
        made_up.observables([1000.0, temperature])


def test_an_unknown_form_is_refused_with_the_known_ones(made_up):
    with pytest.raises(InputError, match=r"got 'best', expected one of second_order, harris_foulkes, kohn_sham, naive"):
        made_up.free_energy(1000.0, "best")


def test_snapshots_are_frozen_and_single_precision():
    snapshot = gas()
    assert snapshot.ldos.dtype == np.float32
    with pytest.raises(dataclasses.FrozenInstanceError):
        snapshot.functional = "pbe"


NAN_LDOS = np.full((4, 5, 3, 251), 0.01)
NAN_LDOS[1, 2, 0, 7] = np.nan
NAN_ATOMS = Atoms("Al", positions=[[math.nan, 0, 0]], cell=[SIDE] * 3, pbc=True)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"ldos": np.ones((4, 5, 3, 250))}, r"LDOS: got shape \(4, 5, 3, 250\), expected .*\(4, 5, 3, 251\)"),
        ({"ldos": NAN_LDOS}, "not finite"),
        ({"ldos": -np.ones((4, 5, 3, 251))}, "ranges from -64 to -64 1/eV, expected a density of states"),
        ({"ldos": np.zeros((4, 5, 3, 251))}, "expected a density of states"),
        ({"density": np.ones((4, 5, 4))}, r"density: got shape \(4, 5, 4\)"),
        ({"density": np.full((4, 5, 3), math.inf)}, "density: .*expected finite values"),
        ({"dos": np.ones(250)}, r"got energies \(251,\) and values \(250,\)"),
        ({"atoms": NAN_ATOMS}, r"structure: atom 0 \(Al\) is at"),
        (
            {"grid": RealSpaceGrid(np.eye(3) * 4.1, (4, 5, 3))},
            "grid: got the cell .*expected the cell of the structure",
        ),
        ({"ions": {"Be": Ion("Be", 2.0)}}, "elements: got Al, expected only Be"),
        ({"broadening": Broadening("gaussian", -0.1)}, "broadening: got -0.1 eV"),
        ({"broadening": Broadening("gaussian", math.nan)}, "broadening: got nan eV"),
        ({"electron_temperature": 0.0}, "electron temperature: got 0.0 K"),
        ({"reference": Reference(0.0, {}, 0.0, 3.0, 0.0, forces=np.zeros((2, 3)))}, r"forces: got shape \(2, 3\)"),
        ({"reference": Reference(0.0, {}, 0.0, 3.0, 0.0, stress=np.zeros(6))}, r"stress: got shape \(6,\)"),
    ],
)
def test_parts_that_cannot_be_are_refused(changes, text):
    with pytest.raises(InputError, match=text):
        gas(**changes)


def test_small_negative_values_of_a_filtered_ldos_are_taken():
    ldos = np.array(gas().ldos)
    ldos[..., 0] = -1e-4 * ldos.max()
    assert gas(ldos=ldos).dos[0] < 0


def test_closure_error_is_the_free_energy_of_the_ldos_minus_that_of_the_code():
    snapshot = made_up_snapshot(3)
    assert snapshot.closure_error() == pytest.approx(0.0, abs=1e-9)
    lower = dataclasses.replace(snapshot.reference, free_energy=snapshot.reference.free_energy - 0.25)
    snapshot.__dict__["reference"] = lower
    assert snapshot.closure_error() == pytest.approx(0.25, abs=1e-9)
    (at_reference,) = snapshot.observables(snapshot.electron_temperature)
    assert snapshot.closure_error(at_reference) == snapshot.closure_error()
    snapshot.__dict__["total_energy_obstacle"] = "an ultrasoft pseudopotential"
    with pytest.raises(InputError, match="an ultrasoft pseudopotential"):
        snapshot.closure_error()


def test_it_prints_in_a_line(made_up):
    assert str(made_up).startswith("Snapshot(")
    assert "tau_e = " in str(made_up)
    assert len(str(made_up)) < 120
