"""The last layer of a network: several LDOS of one network, and integrals with a constant per volume."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from fermisea.errors import InputError
from fermisea.grid import RealSpaceGrid
from fermisea.networks.ensemble import Ensemble
from fermisea.networks.precision import HiddenLayers
from fermisea.physics.density_of_states import DensityOfStates
from fermisea.physics.integration import EnergyIntegral, IntegrationWeights
from fermisea.physics.observables import observables_of
from fermisea.physics.thermal_states import thermal_levels
from fermisea.prediction.readout import GridSum, Head, Readout
from synthetic import ENERGIES, structure
from test_prediction import random_model

SHAPE = (6, 6, 6)
HIGHEST = 9000.0


@pytest.fixture(scope="module")
def model():
    return random_model()


def test_heads_read_their_own_outputs(model):
    lower = dataclasses.replace(ENERGIES, size=ENERGIES.size // 2)
    upper = dataclasses.replace(ENERGIES, start=lower.stop + ENERGIES.spacing, size=ENERGIES.size - lower.size)
    one = Head(lower, model.broadening, 1000.0, HIGHEST)
    two = Head(upper, model.broadening, 10_000.0, HIGHEST, first_output=lower.size)
    matrix, bias = model.network.readout()
    parts = [Readout.of(model.network, head) for head in (one, two)]
    assert torch.equal(torch.cat([part.matrix for part in parts]), matrix)
    assert torch.equal(torch.cat([part.bias for part in parts]), bias)
    total = GridSum(torch.linspace(0, 5, matrix.shape[1], dtype=torch.float64), 216)
    whole = Readout.of(model.network, model.heads[0]).density_of_states(total, 60.0)
    found = [part.density_of_states(total, 60.0) for part in parts]
    np.testing.assert_allclose(np.concatenate([dos.energies for dos in found]), whole.energies, atol=1e-12)
    np.testing.assert_allclose(np.concatenate([dos.dos for dos in found]), whole.dos, rtol=1e-14)


def test_a_constant_per_volume_enters_every_observable(model):
    """A uniform extra n0 per volume is n0 V electrons, n0 in the density, and its share of E_b and S."""
    atoms, extra = structure(7), np.array([0.01, 0.05, 2e-6])  # 1/A^3, eV/A^3, eV/(K A^3)
    plain = model.predict(atoms, 5000.0, SHAPE)
    grid, dos = plain.grid, plain.density_of_states

    def fields(integrals):
        ldos = model.ldos(atoms, grid).astype(float)
        return [ldos @ integral.weights + integral.per_volume for integral in integrals]

    levels = thermal_levels(dos, 12.0, [5000.0, 1000.0])
    *states, reference = levels.states(fields(levels.integrals))
    own = {"atoms": atoms, "grid": grid, "ions": model.ions, "functional_name": model.functional}
    before = observables_of(dos, states, reference, **own)[0]
    plain_weights = states[0].weights
    none = np.zeros(dos.energies.size)
    with_extra = IntegrationWeights(
        plain_weights.electrons + EnergyIntegral(none, extra[0]),
        plain_weights.band_energy + EnergyIntegral(none, extra[1]),
        plain_weights.entropy + EnergyIntegral(none, extra[2]),
    )
    density = fields([with_extra.electrons])[0]
    state = dataclasses.replace(states[0], weights=with_extra, density=density)
    after = observables_of(dos, [state], reference, **own)[0]
    assert after.electrons - before.electrons == pytest.approx(extra[0] * grid.volume, rel=1e-10)
    assert grid.integrate(after.density - before.density) == pytest.approx(extra[0] * grid.volume, rel=1e-10)
    assert after.band_energy - before.band_energy == pytest.approx(extra[1] * grid.volume, rel=1e-10)
    assert after.entropy - before.entropy == pytest.approx(extra[2] * grid.volume, rel=1e-10)
    harris = after.free_energies["harris_foulkes"] - before.free_energies["harris_foulkes"]
    assert harris == pytest.approx((extra[1] - 5000.0 * extra[2]) * grid.volume, rel=1e-9)


def test_vectors_carry_the_constant(model):
    readout = Readout.of(model.network, model.heads[0])
    weights = np.cos(ENERGIES.energies)
    plain, extra = readout.vectors([EnergyIntegral(weights), EnergyIntegral(weights, 0.3)]).T
    assert torch.equal(plain[:-1], extra[:-1])
    assert float(extra[-1] - plain[-1]) == pytest.approx(0.3, rel=1e-12)


def test_integrals_add_and_scale():
    one, two = EnergyIntegral(np.arange(3.0), 1.0), EnergyIntegral(np.ones(3), 0.25)
    found = one - np.float64(2.0) * two + two
    np.testing.assert_array_equal(found.weights, [-1.0, 0.0, 1.0])
    assert found.per_volume == 0.75
    dos = DensityOfStates(np.arange(6.0), np.ones(6))
    with pytest.raises(InputError, match="got no volume"):
        dos.integral(EnergyIntegral(np.ones(6), 0.1))
    assert dataclasses.replace(dos, volume=20.0).integral(EnergyIntegral(np.ones(6), 0.1)) == 8.0


@pytest.mark.parametrize(
    ("options", "passes"),
    [({"density": False}, [1]), ({"memory": 0}, [1, 1 / 3, 1 / 3, 1 / 3]), ({"memory": 2**30}, [1])],
)
def test_passes_of_an_ensemble(options, passes, monkeypatch):
    """One pass for all members; a second one over the network of each member where densities are streamed."""
    single = random_model("float32")
    members = [random_model("float32").network for _ in range(3)]
    for number, member in enumerate(members):
        member.layers[-1].bias.data.mul_(1 + 0.01 * number)
    model = dataclasses.replace(single, network=Ensemble(members))
    points, layers = [], HiddenLayers.__call__

    def counted(self, x):
        points.append((len(x), self.width))
        return layers(self, x)

    monkeypatch.setattr(HiddenLayers, "__call__", counted)
    grid = RealSpaceGrid(structure(7).cell.array, (16, 16, 16))
    model.predict(structure(7), [300.0, 5000.0], grid, **options)
    width = model.network.widths[-1]
    guess = 8**3 if options.get("memory") == 0 else 0
    assert sum(n * w for n, w in points) == pytest.approx(width * (guess + grid.size * sum(passes)))
