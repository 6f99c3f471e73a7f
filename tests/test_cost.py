"""Time and memory of a prediction, estimated before it starts."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from fermisea import blend_models
from fermisea.cli import main
from fermisea.errors import InputError
from fermisea.model.estimate import estimate
from fermisea.prediction.cost import Cost
from fermisea.prediction.size import bytes_per_point
from fermisea.utilities.memory import _limits
from fermisea.utilities.torchrun import Processes
from test_prediction import random_model, structure


def test_costs_of_passes_one_after_another():
    assert Cost(10, 2.0, 3e9) + Cost(5, 1.0, 4e9) == Cost(15, 3.0, 4e9)


def test_points_are_those_of_the_progress():
    model, atoms = random_model("float32"), structure(0)
    for options in ({}, {"dos_grid": (10, 10, 10)}, {"memory": 0}, {"memory": 0, "density": False}):
        totals = set()
        given = {"allow_outside": True, "progress": lambda _, total, totals=totals: totals.add(total)}
        model.predict(atoms, [500.0, 8000.0], (24, 25, 26), **given, **options)
        assert totals == {estimate(model, atoms, [500.0, 8000.0], (24, 25, 26), **options).points}


def test_memory_grows_with_what_is_asked_for():
    model, atoms = random_model("float32"), structure(0)

    def memory(*temperatures, **options):
        return estimate(model, atoms, list(temperatures), (40, 40, 40), **options).memory

    one = memory(1000.0)
    assert memory(1000.0, 5000.0) - one == 40**3 * 4
    assert memory(1000.0, forces=True, anchor=False) > one + 40**3 * 100
    assert memory(1000.0, density=False) < one
    assert memory(1000.0, thermal_xc="kdt16") == one + 2 * 40**3 * 4  # densities at two neighbours
    assert bytes_per_point(3, 4, spread=True) > bytes_per_point(3, 8)


def test_several_processes_divide_points_and_memory(monkeypatch):
    model, atoms = random_model("float32"), structure(0)
    one = estimate(model, atoms, 1000.0, (40, 40, 40))
    monkeypatch.setattr("fermisea.model.estimate.current", lambda: Processes(0, 4))
    four = estimate(model, atoms, 1000.0, (40, 40, 40))
    assert four.points == one.points / 4
    assert four.memory < one.memory


def test_models_of_several_reference_temperatures():
    cold = random_model("float32")
    hot = blend_models([cold, _at(cold, 10_000.0)])
    both = estimate(hot, structure(0), 5000.0, (20, 20, 20))
    one = estimate(cold, structure(0), 5000.0, (20, 20, 20))
    assert both.points == 2 * one.points


def _at(model, electron_temperature):
    return dataclasses.replace(
        model, reference_electron_temperature=electron_temperature, highest_electron_temperature=20_000.0
    )


def test_command_line(tmp_path, capsys):
    random_model("float32").save(tmp_path / "al.safetensors")
    structure(0).write(tmp_path / "al.extxyz")
    words = ["predict", f"{tmp_path}/al.safetensors", f"{tmp_path}/al.extxyz", "--allow-outside"]
    assert main([*words, "--dry-run", "--out", f"{tmp_path}/out"]) == 0
    found = capsys.readouterr()
    assert found.out.startswith("estimate: 0:00:0")
    assert "0.6 GiB of memory" in found.out
    assert not (tmp_path / "out").exists()
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["atoms"] == len(structure(0))
    assert main([*words, "--dry-run", "--grid", "4000", "4000", "4000"]) == 2
    errors = capsys.readouterr().err
    assert len(errors.splitlines()) == 1
    assert "divide the grid among several machines with torchrun" in errors


def test_a_grid_that_fits_shared_only(monkeypatch):
    model, atoms = random_model("float32"), structure(0)
    monkeypatch.setattr("fermisea.prediction.size.machine_memory", lambda: 40**3 * 30.0)
    with pytest.raises(InputError, match="whose fields need 0 GiB, but the machine has"):
        estimate(model, atoms, 1000.0, (40, 40, 40))
    monkeypatch.setattr("fermisea.model.estimate.current", lambda: Processes(0, 2))
    estimate(model, atoms, 1000.0, (40, 40, 40))  # on two machines
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(InputError, match="whose fields need"):
        estimate(model, atoms, 1000.0, (40, 40, 40))


def test_limits_of_control_groups(tmp_path):
    (tmp_path / "sys/slurm/job").mkdir(parents=True)
    (tmp_path / "own").write_text("0::/slurm/job\n")
    (tmp_path / "sys/slurm/job/memory.max").write_text("max\n")
    (tmp_path / "sys/slurm/memory.max").write_text("8000000000\n")
    assert list(_limits(tmp_path / "own", tmp_path / "sys")) == [8e9]
    assert list(_limits(tmp_path / "missing", tmp_path / "sys")) == []


def test_the_rate_is_one_of_this_machine():
    model, atoms = random_model("float32"), structure(0)
    seconds = estimate(model, atoms, 1000.0, (64, 64, 64)).seconds
    assert 0 < seconds < 600 * torch.get_num_threads()
