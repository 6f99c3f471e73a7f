"""Labels for a potential from the LDOS of a model."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fermisea import Dataset, TrainingConfig, train
from fermisea.model import network_labels
from fermisea.potential import fit_thermal, labels_of
from test_domain import made_up_snapshot

CONFIG = TrainingConfig(
    hidden=(8,), epochs=1, order=2, anchor_order=3, cutoff=4.0, anchor_cutoff=5.0, validation_fraction=0.0
)
TEMPERATURES = np.geomspace(1500.0, 9000.0, 9)


@pytest.fixture(scope="module")
def data():
    return Dataset([made_up_snapshot(seed) for seed in range(9)])


@pytest.fixture(scope="module")
def model(data):
    return train(data, CONFIG)


@pytest.mark.parametrize("anchored", [True, False])
@pytest.mark.filterwarnings("ignore:stress of the LDOS:fermisea.DomainWarning")
def test_labels_are_changes_of_the_ldos(model, data, anchored):
    atoms, steps = data[2].atoms, []
    (found,) = network_labels(
        model if anchored else dataclasses.replace(model, anchor=None, thermal=None),
        [atoms],
        TEMPERATURES,
        lambda *step: steps.append(step),
    )
    expected = model.predict(atoms, [1000.0, *TEMPERATURES], free_energy="anchored", forces=True)
    tolerance = 1e-9 if anchored else 3e-3  # the LDOS alone has a finer default grid
    np.testing.assert_allclose(found.free_energy, expected.free_energy[1:] - expected.free_energy[0], atol=tolerance)
    np.testing.assert_allclose(found.forces, expected.forces[1:] - expected.forces[0], atol=10 * tolerance)
    np.testing.assert_allclose(found.stress, expected.stress[1:] - expected.stress[0], atol=10 * tolerance)
    assert steps == [(1, 1)]


def test_a_potential_learns_from_both_kinds_of_labels(model, data):
    """The LDOS of the model gives forces, which labels of snapshots lack; both kinds are fitted together."""
    own, extra = labels_of(data, TEMPERATURES), network_labels(model, [data[0].atoms, data[5].atoms], TEMPERATURES)
    potential = fit_thermal(model.anchor, TEMPERATURES, [*own, *extra])
    assert potential.terms.provenance["structures"] == 11
    found = potential.predict(data[5].atoms, [1000.0, 9000.0])
    assert found.free_energy[1] - found.free_energy[0] == pytest.approx(extra[1].free_energy[-1], rel=0.01)
