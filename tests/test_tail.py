"""Free electrons above an energy window: exact for free electrons, and errors for a spectrum that is not free."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit

from fermisea import units
from fermisea.errors import CapacityError, DomainWarning, InputError, WindowError
from fermisea.grid import EnergyGrid
from fermisea.physics.density_of_states import DensityOfStates
from fermisea.physics.fermi_dirac import sigma
from fermisea.physics.free_electrons import STATES, state_density
from fermisea.physics.tail import Tail
from fermisea.physics.window import check_spectrum
from synthetic import made_up_snapshot, structure
from test_prediction import SHAPE, random_model

VOLUME, ELECTRONS, BOTTOM = 66.4, 12.0, -11.0
GRID = EnergyGrid(-6.0, 0.2, 156)


def free(grid: EnergyGrid = GRID, *, bottom: float = BOTTOM, tail_bottom: float | None = None) -> DensityOfStates:
    """Free electrons, sampled well above the bottom of their band, where a spline resolves the square root."""
    dos = VOLUME * state_density(grid.energies, bottom)
    tail = Tail.of(grid, dos / VOLUME) if tail_bottom is None else Tail(tail_bottom, 6.0)
    return DensityOfStates(grid.energies, dos, volume=VOLUME, tail=tail)


def exact(function, mu: float, kt: float, low: float) -> float:
    """The integral of a function of x = (eps - mu)/(k_B tau_e) and the kinetic energy times the DOS, above ``low``."""

    def integrand(wave: float) -> float:
        kinetic = wave**2
        return 2 * wave**2 * STATES * VOLUME * function((BOTTOM + kinetic - mu) / kt, BOTTOM + kinetic)

    ends = np.sqrt(np.linspace(low - BOTTOM, low - BOTTOM + 90 * kt, 7))
    return sum(quad(integrand, a, b, epsabs=1e-13, epsrel=1e-12)[0] for a, b in itertools.pairwise(ends))


@pytest.mark.parametrize("kelvin", [20_000.0, 80_000.0, 400_000.0])
def test_the_tail_of_free_electrons_is_exact(kelvin):
    dos, kt = free(), units.thermal_energy(kelvin)
    assert dos.tail is not None
    assert dos.tail.bottom == pytest.approx(BOTTOM, abs=1e-9)
    mu = 3.0
    low = dos.energies[0]
    assert dos.electrons(mu, kelvin) == pytest.approx(exact(lambda x, _: expit(-x), mu, kt, low), rel=1e-8)
    assert dos.band_energy(mu, kelvin) == pytest.approx(exact(lambda x, e: e * expit(-x), mu, kt, low), rel=1e-7)
    entropy = units.BOLTZMANN * exact(lambda x, _: float(sigma(np.array(x))), mu, kt, low)
    assert dos.entropy(mu, kelvin) == pytest.approx(entropy, rel=1e-8)
    above = exact(lambda x, _: expit(-x), mu, kt, dos.energies[-1])
    assert dos.tail_electrons(mu, kelvin) == pytest.approx(above, rel=1e-9)


def test_the_bottom_matters_to_second_order():
    """Values that are exact for another bottom: the affine continuation corrects it."""
    mu, kelvin = 3.0, 80_000.0
    errors = []
    for shift in (0.5, 1.0, 2.0):
        wrong = free(tail_bottom=BOTTOM + shift)
        errors.append(abs(wrong.tail_electrons(mu, kelvin) - free().tail_electrons(mu, kelvin)))
    assert errors[1] / errors[0] == pytest.approx(4.0, rel=0.1)
    assert errors[2] / errors[1] == pytest.approx(4.0, rel=0.15)
    whole = free().tail_electrons(mu, kelvin)
    assert errors[1] < 1e-3 * whole


def test_derivatives_of_the_observables():
    dos, mu, kelvin, step = free(), 3.0, 60_000.0, 60.0
    slopes = dos.rule.slopes(mu, kelvin)
    by_mu = (dos.electrons(mu + 1e-3, kelvin) - dos.electrons(mu - 1e-3, kelvin)) / 2e-3
    assert dos.integral(slopes.level) == pytest.approx(by_mu, rel=1e-6)

    def free_energy(t: float) -> float:
        level = dos.fermi_level(ELECTRONS, t)
        return dos.band_energy(level, t) - t * dos.entropy(level, t)

    entropy = dos.entropy(dos.fermi_level(ELECTRONS, kelvin), kelvin)
    assert -(free_energy(kelvin + step) - free_energy(kelvin - step)) / (2 * step) == pytest.approx(entropy, rel=1e-6)

    def energy(t: float) -> float:
        return dos.band_energy(dos.fermi_level(ELECTRONS, t), t)

    heat = (energy(kelvin + step) - energy(kelvin - step)) / (2 * step)
    assert dos.heat_capacity(ELECTRONS, kelvin) == pytest.approx(heat, rel=1e-6)


def test_a_broadened_spectrum_has_no_edge_at_the_top_of_its_window():
    """The same broadened spectrum on a short window with a tail and on a long window."""
    width, long = 0.4, EnergyGrid(-13.0, 0.4, 500)
    fine = np.linspace(-8, 8, 401)
    kernel = np.exp(-(fine**2) / 2)
    kernel /= kernel.sum()
    dos = sum(k * VOLUME * state_density(long.energies - width * x, BOTTOM) for k, x in zip(kernel, fine, strict=True))
    whole = DensityOfStates(long.energies, dos, width, volume=VOLUME)
    short = EnergyGrid(long.start, long.spacing, 110)
    cut = DensityOfStates(short.energies, dos[:110], width, volume=VOLUME, tail=Tail.of(short, dos[:110] / VOLUME))
    for kelvin in (10_000.0, 50_000.0, 100_000.0):
        level = whole.fermi_level(ELECTRONS, kelvin)
        assert cut.fermi_level(ELECTRONS, kelvin) == pytest.approx(level, abs=2e-6)
        free_energies = [d.band_energy(level, kelvin) - kelvin * d.entropy(level, kelvin) for d in (cut, whole)]
        assert free_energies[0] == pytest.approx(free_energies[1], abs=4e-5)


def test_the_estimated_error_grows_with_the_disagreement():
    mu, kelvin = 3.0, 50_000.0
    dos = free()
    calm = dos.tail_error(mu, kelvin)
    waves = dos.dos * (1 + 0.05 * np.sin(dos.energies / 2))
    rough = dataclasses.replace(dos, dos=waves).tail_error(mu, kelvin)
    assert 0 < calm < rough
    assert DensityOfStates(dos.energies, dos.dos, volume=VOLUME).tail_error(mu, kelvin) == 0


def test_spectra_unlike_free_electrons_have_no_tail():
    values = state_density(GRID.energies, BOTTOM)
    assert Tail.of(GRID, values) is not None
    gap = np.where(GRID.energies > 20.0, 0.0, values)
    assert Tail.of(GRID, gap) is None
    assert Tail.of(GRID, 0.1 * values) is None


def test_windows_refuse_a_tail_with_a_large_error():
    dos = free()
    rough = dataclasses.replace(dos, dos=dos.dos * (1 + 0.4 * np.sin(dos.energies / 3)))
    assert check_spectrum(dos, ELECTRONS, 4, [300.0, 150_000.0], 1000.0) == []
    with pytest.raises(
        WindowError, match=r"tail: at tau_e = 150000 K, .* electrons per atom are above the energy window"
    ):
        check_spectrum(rough, ELECTRONS, 4, [300.0, 150_000.0], 1000.0)
    (doubt,) = check_spectrum(rough, ELECTRONS, 4, [300.0, 150_000.0], 1000.0, allow_beyond_window=True)
    assert doubt.startswith("tail: at tau_e = 150000 K")
    with pytest.raises(WindowError, match=r"energy window .* is valid up to"):
        check_spectrum(dataclasses.replace(dos, tail=None), ELECTRONS, 4, [60_000.0], 1000.0)
    with pytest.raises(InputError, match=r"expected at most 1e\+09 K"):
        check_spectrum(dos, ELECTRONS, 4, [1e300], 1000.0)
    with pytest.raises(InputError, match="expected the volume of the cell"):
        dataclasses.replace(dos, volume=None)
    with pytest.raises(CapacityError):  # electrons do not fit below the top of the window
        dos.fermi_level(500.0, 1000.0)


def test_a_snapshot_continues_above_its_window():
    snapshot = made_up_snapshot(3)
    hot = 1.5 * snapshot.highest_electron_temperature
    (found,) = snapshot.observables(hot)
    assert 0 < found.tail_electrons < 0.2 * snapshot.electrons
    assert found.density.mean() * snapshot.grid.volume == pytest.approx(snapshot.electrons, rel=1e-9)
    with pytest.raises(WindowError):
        snapshot.observables(hot, tail=False)
    (cold,) = snapshot.observables(1000.0)
    (without,) = snapshot.observables(1000.0, tail=False)
    assert cold.free_energy == pytest.approx(without.free_energy, abs=1e-9)


@pytest.mark.parametrize("memory", [2**28, 1])
def test_a_prediction_continues_above_its_window(memory):
    model, atoms = random_model(), structure(7)
    asked = [1000.0, 18_000.0]
    found = model.predict(atoms, asked, SHAPE, memory=memory)
    assert found.tail_electrons[0] < 1e-9
    assert found.tail_electrons[1] > 0.01
    assert found.tail_error[1] > found.tail_error[0] >= 0
    counts = found.density.mean(axis=(1, 2, 3)) * found.grid.volume
    np.testing.assert_allclose(counts, 12.0, rtol=1e-6)
    row = found.rows()[1]
    assert (row["tail_electrons"], row["tail_error"]) == (found.tail_electrons[1], found.tail_error[1])
    assert found.data.tail_error.attrs["units"] == "eV"
    with pytest.warns(DomainWarning, match="got 18000 K, but the energy window"):
        cut = model.predict(atoms, asked, SHAPE, tail=False, allow_beyond_window=True)
    assert ["18000 K, but the energy window" in sentence for sentence in cut.warnings] == [True]
    assert cut.tail_electrons.tolist() == [0.0, 0.0]
    assert cut.free_energy[1] > found.free_energy[1]  # states are missing


def test_a_broad_ldos_is_not_for_cold_electrons():
    dos = dataclasses.replace(free(), broadening=1.5)
    (doubt,) = check_spectrum(dos, ELECTRONS, 4, [300.0, 20_000.0], 80_000.0)
    assert doubt.startswith("broadening: the LDOS has a broadening of 1.5 eV, larger than k_B tau_e at 300 K")
    assert check_spectrum(dos, ELECTRONS, 4, [20_000.0], 80_000.0) == []


def test_tails_are_true_or_false():
    with pytest.raises(InputError, match="tail: got 'yes', expected True or False"):
        random_model().predict(structure(7), 1000.0, SHAPE, tail="yes")
