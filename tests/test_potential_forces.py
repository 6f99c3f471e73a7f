"""Fit of the change with tau_e to forces that the networks predict."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from fermisea import Dataset, TrainingConfig, train
from fermisea.errors import InputError
from fermisea.potential import fit_thermal, labels_of
from fermisea.training.potential import changes_of_forces
from fermisea.utilities.torchrun import Processes
from synthetic import made_up_snapshot

CONFIG = TrainingConfig(
    hidden=(8,),
    epochs=1,
    order=2,
    anchor_order=3,
    cutoff=4.0,
    anchor_cutoff=5.0,
    validation_fraction=0.0,
    ensemble=2,
    dtype="float64",
    potential_forces=True,
)
HOT = np.array([3000.0, 9000.0])


def dataset(count=9):
    return Dataset([made_up_snapshot(seed) for seed in range(count)])


@pytest.fixture(scope="module")
def data():
    return dataset()


@pytest.fixture(scope="module")
def model(data):
    return train(data, CONFIG)


@pytest.mark.filterwarnings("ignore::fermisea.DomainWarning")
def test_the_networks_take_the_structures_in_turn(model, data):
    steps = []
    found = changes_of_forces(model, data, HOT, Processes(), steps.append)
    assert [(state.stage, state.step, state.steps) for state in steps] == [("forces", n + 1, 9) for n in range(9)]
    for index in (0, 3):
        single = dataclasses.replace(model, network=model.network.members[index % 2], anchor=None, thermal=None)
        p = single.predict(data[index].atoms, [1000.0, *HOT], data[index].grid, forces=True)
        np.testing.assert_allclose(found[index], p.forces[1:] - p.forces[0], rtol=0, atol=1e-12)


def test_the_potential_is_fitted_to_free_energies_and_forces(model, data):
    temperatures = np.array(model.thermal.provenance["electron_temperatures"])
    forces = changes_of_forces(model, data, temperatures, Processes(), lambda _: None)
    labels = [
        dataclasses.replace(label, forces=change)
        for label, change in zip(labels_of(data, temperatures), forces, strict=True)
    ]
    expected = fit_thermal(model.anchor, temperatures, labels).terms
    np.testing.assert_allclose(model.thermal.coefficients, expected.coefficients, rtol=1e-6)


def test_without_forces_there_is_no_such_stage(model, data):
    stages = []
    without = train(data, dataclasses.replace(CONFIG, potential_forces=False), progress=stages.append)
    assert {state.stage for state in stages} == {"descriptors", "training"}
    assert not np.allclose(without.thermal.coefficients, model.thermal.coefficients, rtol=1e-3, atol=0)


class Partner(Processes):
    """One of two processes, which run one after the other and exchange their tensors through a dictionary."""

    def __init__(self, rank, exchanged):
        super().__init__(rank, 2)
        self.exchanged = exchanged

    def send(self, tensor, number):
        if self.mine(number):
            self.exchanged[number] = tensor.clone()
        elif number in self.exchanged:
            tensor.copy_(self.exchanged[number])


def test_two_processes_share_the_structures(model):
    """The second process sees the results of the first, whose own results are zero for the structures of the second."""
    exchanged: dict[int, torch.Tensor] = {}
    first, second = (
        changes_of_forces(model, dataset(3), HOT, Partner(rank, exchanged), lambda _: None) for rank in range(2)
    )
    expected = changes_of_forces(model, dataset(3), HOT, Processes(), lambda _: None)
    np.testing.assert_allclose(second, expected, rtol=0, atol=1e-12)
    assert not first[1].any()
    np.testing.assert_allclose(first[::2], expected[::2], rtol=0, atol=1e-12)


def test_a_setting_that_is_no_truth_value():
    with pytest.raises(InputError, match="potential_forces: got 1, expected true or false"):
        TrainingConfig(potential_forces=1)
