"""Fit of the change with tau_e to forces that the networks predict."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import numpy as np
import pytest

from fermisea import Dataset, TrainingConfig, train
from fermisea.errors import InputError
from fermisea.potential import fit_thermal, labels_of
from fermisea.training.potential import changes_of_forces
from fermisea.training.processes import Processes
from synthetic import made_up_snapshot
from test_training_processes import TORCHRUN

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


def test_two_processes_share_the_structures(model, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "import numpy as np\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from fermisea import load_model\n"
        "from fermisea.training.potential import changes_of_forces\n"
        "from fermisea.training.processes import joined\n"
        "from test_potential_forces import HOT, dataset\n"
        "with joined() as processes:\n"
        "    model = load_model(f'{sys.argv[2]}/model.safetensors')\n"
        "    found = changes_of_forces(model, dataset(3), HOT, processes, lambda _: None)\n"
        "    np.save(f'{sys.argv[2]}/{processes.rank}.npy', found)\n"
    )
    model.save(tmp_path / "model.safetensors")
    words = [str(script), str(Path(__file__).parent), str(tmp_path)]
    done = subprocess.run([*TORCHRUN, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, second = (np.load(tmp_path / f"{number}.npy") for number in range(2))
    np.testing.assert_array_equal(first, second)
    expected = changes_of_forces(model, dataset(3), HOT, Processes(), lambda _: None)
    np.testing.assert_allclose(first, expected, rtol=0, atol=1e-9)


def test_a_setting_that_is_no_truth_value():
    with pytest.raises(InputError, match="potential_forces: got 1, expected true or false"):
        TrainingConfig(potential_forces=1)
