"""Several processes train as one does."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fermisea.errors import InputError
from fermisea.model.loading import load_model
from fermisea.training import train
from fermisea.utilities.torchrun import Processes, joined, rank
from synthetic import made_up_snapshot
from test_training import QUICK, dataset

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[1])
from fermisea.training import TrainingConfig, train
from fermisea.utilities.torchrun import joined
from test_training import dataset
with joined() as processes:
    for name, (memory, values) in json.loads(sys.argv[3]).items():
        told = []
        model = train(dataset(1, 2, 3, 4), TrainingConfig.from_dict(values), memory=memory, progress=told.append)
        assert bool(told) == processes.first
        model.save(f"{sys.argv[2]}/{name}-{processes.rank}.safetensors")
"""
MEMORIES, TOLERANCES = (2**30, 1_500_000), {"float64": 1e-11, "float32": 1e-6}


def config_of(dtype):
    return dataclasses.replace(QUICK, epochs=1, dtype=dtype, gradient_clip=0.5, averaging=0.5)


@pytest.fixture(scope="module")
def trained(made_once):
    """Models of two processes, all trained in one start of them."""

    def make(folder):
        folder.mkdir()
        script = folder / "script.py"
        script.write_text(SCRIPT)
        cases = {f"{m}-{dtype}": [m, config_of(dtype).to_dict()] for m in MEMORIES for dtype in TOLERANCES}
        words = [str(script), str(Path(__file__).parent), str(folder), json.dumps(cases)]
        done = subprocess.run([*TORCHRUN, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    return made_once("two-processes", make)


@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES.items())
@pytest.mark.parametrize("memory", MEMORIES)
def test_two_processes_train_as_one(trained, dtype, tolerance, memory):
    one = train(dataset(1, 2, 3, 4), config_of(dtype), memory=memory)
    first, second = (load_model(trained / f"{memory}-{dtype}-{number}.safetensors") for number in range(2))
    for name, tensor in one.network.state_dict().items():
        assert torch.equal(first.network.state_dict()[name], second.network.state_dict()[name]), name
        largest = max(1.0, tensor.abs().max().item())  # the last layer is the solution of a linear problem
        torch.testing.assert_close(first.network.state_dict()[name], tensor, rtol=tolerance, atol=tolerance * largest)
    for name, value in one.provenance["final"].items():
        assert first.provenance["final"][name] == pytest.approx(value, rel=1e4 * tolerance, abs=1e-7), name


def test_two_processes_stopped_by_a_signal_and_resumed_by_one(tmp_path):
    (tmp_path / "data").mkdir()
    for seed in range(1, 5):
        made_up_snapshot(seed).save(tmp_path / "data" / f"{seed}.nc")
    config = dataclasses.replace(QUICK, epochs=40, dtype="float64", element_weights={"Al": 1.0})
    lines = [f"{name} = {json.dumps(value)}" for name, value in config.to_dict().items() if value is not None]
    (tmp_path / "train.toml").write_text("\n".join(lines).replace('{"Al": 1.0}', "{Al = 1.0}"))
    words = ["train", f"{tmp_path}/data", "--config", f"{tmp_path}/train.toml", "--out", f"{tmp_path}/al.safetensors"]
    entry = tmp_path / "entry.py"
    entry.write_text("from fermisea.cli import main\nraise SystemExit(main())\n")
    process = subprocess.Popen([*TORCHRUN, str(entry), *words], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    lines = []
    while "training 12/40" not in "".join(lines[-1:]):
        lines.append(process.stderr.readline())
        assert process.poll() is None, "".join(lines)
    process.send_signal(signal.SIGTERM)
    rest = process.communicate()[1]
    assert process.returncode != 0
    assert rest.count("holds the state") == 2, rest  # each process says so
    assert (tmp_path / "al.checkpoint").exists()
    command = [sys.executable, str(entry), *words, "--resume"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "training 8/40" not in done.stderr
    resumed, expected = load_model(tmp_path / "al.safetensors"), train([tmp_path / "data"], config)
    for name, tensor in expected.network.state_dict().items():
        torch.testing.assert_close(resumed.network.state_dict()[name], tensor, rtol=1e-8, atol=1e-8)


def test_alone():
    with joined() as processes:
        assert (processes.rank, processes.count, processes.first) == (0, 1, True)
    tensor = torch.arange(7.0)
    processes.add(tensor)
    assert torch.equal(tensor, torch.arange(7.0))
    assert processes.total([1.5, 2.0]) == [1.5, 2.0]
    shares = [tensor[Processes(number, 3).share] for number in range(3)]
    assert sorted(torch.cat(shares).tolist()) == tensor.tolist()
    assert rank() == 0


def test_variables_that_cannot_be(monkeypatch):
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(InputError, match="RANK: got 'first'"):
        rank()
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(InputError, match="processes do not find each other"), joined():
        pass
