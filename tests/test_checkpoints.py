"""Trainings that are stopped, killed and gone on with end as if nothing had happened."""

from __future__ import annotations

import csv
import dataclasses
import errno
import math
import random
import signal
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch

from fermisea.analysis.evaluation import evaluate
from fermisea.errors import FileFormatError, InputError, StorageError
from fermisea.model.loading import load_model
from fermisea.model.model import Model
from fermisea.training import (
    DivergenceError,
    TrainingConfig,
    TrainingInterruptedError,
    TrainingLog,
    TrainingState,
    train,
)
from fermisea.training.checkpoint import read_checkpoint, write_checkpoint
from fermisea.training.loss import Loss
from test_training import QUICK, dataset

FULL = dataclasses.replace(QUICK, epochs=6, averaging=0.9, gradient_clip=1.0, schedule="plateau", plateau_patience=1)


@pytest.fixture(scope="module")
def data():
    return dataset(1, 2, 3, 4)


@pytest.fixture(scope="module")
def uninterrupted(data) -> Model:
    return train(data, FULL)


def same(one: Model, two: Model) -> bool:
    tensors = two.network.state_dict()
    return all(torch.equal(tensor, tensors[name]) for name, tensor in one.network.state_dict().items())


def stop_after(updates: int, monkeypatch) -> None:
    """Raises SIGTERM in the midst of an update."""
    honest, calls = Loss.__call__, [0]

    def counted(self, network, x, y):
        if torch.is_grad_enabled():
            calls[0] += 1
            if calls[0] == updates:
                signal.raise_signal(signal.SIGTERM)
        return honest(self, network, x, y)

    monkeypatch.setattr(Loss, "__call__", counted)


def test_a_checkpoint_changes_nothing(data, uninterrupted, tmp_path):
    states = []
    model = train(data, FULL, checkpoint=tmp_path / "al.checkpoint", progress=states.append)
    assert same(model, uninterrupted)
    assert [file.name for file in tmp_path.iterdir()] == ["al.checkpoint"]
    again = train(data, FULL, checkpoint=tmp_path / "al.checkpoint", resume=True)
    assert same(again, uninterrupted)  # nothing was left to do
    assert again.provenance == uninterrupted.provenance


@pytest.mark.parametrize("memory", [2**30, 1_000_000])
def test_stopped_by_a_signal_at_any_update_and_resumed(data, tmp_path, monkeypatch, memory):
    expected = train(data, FULL, memory=memory)
    before, file = signal.getsignal(signal.SIGTERM), tmp_path / "al.checkpoint"
    for updates in (5, 13, 1, 11, 11):  # eleven make an epoch
        with monkeypatch.context() as patch:
            stop_after(updates, patch)
            with pytest.raises(TrainingInterruptedError, match="use resume to continue"):
                train(data, FULL, checkpoint=file, resume=True, memory=memory)
        assert signal.getsignal(signal.SIGTERM) is before
    states = []
    model = train(data, FULL, checkpoint=file, resume=True, memory=memory, progress=states.append)
    assert same(model, expected)
    assert [state.step for state in states if state.stage == "training"] == [4, 5, 6]


def resumed(folder: Path, config: TrainingConfig, pipe: Connection) -> None:
    """Trains in a process of its own, and sends each epoch."""
    torch.set_num_threads(1)  # as in the tests: sums of losses depend on it

    def tell(state: TrainingState) -> None:
        if state.stage == "training":
            pipe.send(state.step)

    model = train(dataset(1, 2, 3, 4), config, checkpoint=folder / "al.checkpoint", resume=True, progress=tell)
    model.save(folder / "al.safetensors")


def started(forkserver: Any, folder: Path, config: TrainingConfig) -> tuple[Any, Connection]:
    here, there = forkserver.Pipe(duplex=False)
    process = forkserver.Process(target=resumed, args=(folder, config, there))
    process.start()
    there.close()
    return process, here


def test_killed_at_random_moments_and_resumed(data, tmp_path, forkserver):
    config = dataclasses.replace(FULL, epochs=60)
    expected = train(data, config)
    chance = random.Random(4)  # noqa: S311
    for _ in range(3):
        process, pipe = started(forkserver, tmp_path, config)
        for _ in range(2):  # when the second epoch is sent, the first is in the file
            pipe.recv()
        time.sleep(chance.uniform(0, 0.4))
        assert process.is_alive()
        process.kill()
        process.join()
    assert not (tmp_path / "al.safetensors").exists()
    process, pipe = started(forkserver, tmp_path, config)
    steps = []
    with suppress(EOFError):
        while True:
            steps.append(pipe.recv())
    process.join()
    assert process.exitcode == 0
    assert steps == list(range(steps[0], 61))
    assert steps[0] > 3
    assert same(load_model(tmp_path / "al.safetensors"), expected)


def test_other_data_and_settings_are_refused_by_name(data, tmp_path, monkeypatch):
    file = tmp_path / "al.checkpoint"
    with monkeypatch.context() as patch:
        stop_after(15, patch)
        with pytest.raises(TrainingInterruptedError):
            train(data, FULL, checkpoint=file)
    content = file.read_bytes()
    with pytest.raises(InputError, match="holds an unfinished training"):
        train(data, FULL, checkpoint=file)
    with pytest.raises(InputError, match=r"with hidden \[32, 32\], but this training has \[32, 16\]"):
        train(data, dataclasses.replace(FULL, hidden=(32, 16)), checkpoint=file, resume=True)
    with pytest.raises(InputError, match=r"with data 4 snapshots .* but this training has 3 snapshots"):
        train(dataset(1, 2, 3), FULL, checkpoint=file, resume=True)
    assert file.read_bytes() == content
    longer = train(data, dataclasses.replace(FULL, epochs=8, learning_rate=1e-3), checkpoint=file, resume=True)
    assert longer.provenance["epochs"] == 8
    with pytest.raises(InputError, match="resume: got no checkpoint"):
        train(data, FULL, resume=True)


def test_damaged_checkpoints_are_refused(data, tmp_path):
    file = tmp_path / "al.checkpoint"
    train(data, dataclasses.replace(FULL, epochs=1), checkpoint=file)
    whole = file.read_bytes()
    for content in (whole[:-100], whole[:20], b"", b"something else entirely"):
        file.write_bytes(content)
        with pytest.raises(FileFormatError, match=r"al\.checkpoint: not a checkpoint"):
            train(data, dataclasses.replace(FULL, epochs=1), checkpoint=file, resume=True)
        assert file.read_bytes() == content


def test_a_checkpoint_that_cannot_be_read_now_is_not_damaged(data, tmp_path, monkeypatch):
    file = tmp_path / "al.checkpoint"
    file.write_bytes(b"something")

    def refused(*_args, **_kwargs):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(StorageError, match=r"al\.checkpoint: cannot be read now .*check the disk") as caught:
        train(data, FULL, checkpoint=file, resume=True)
    assert "remove" not in str(caught.value)


def test_altered_checkpoints_are_refused(data, tmp_path):
    file = tmp_path / "al.checkpoint"
    one = dataclasses.replace(FULL, epochs=1)
    train(data, one, checkpoint=file)
    whole = file.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    changes = {b'"F32"': b'"I32"', b'\\"epoch\\": 1,': b'\\"epoch\\": 0,', b'"I64"': b'"U64"'}
    contents = [whole.replace(old, new, 1) for old, new in changes.items()]
    places = (*range(8, 8 + length, length // 40), *range(8 + length, len(whole), (len(whole) - length) // 20))
    contents += [whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :] for place in places]
    for content in contents:
        assert content != whole
        file.write_bytes(content)
        with pytest.raises(FileFormatError, match=r"al\.checkpoint: (altered|not a checkpoint)"):
            train(data, one, checkpoint=file, resume=True)
    file.write_bytes(whole.replace(b'\\"version\\": 3', b'\\"version\\": 2'))
    with pytest.raises(FileFormatError, match=r"not a checkpoint of this version .*got format 2, expected format 3"):
        train(data, one, checkpoint=file, resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors, _: tensors["member.0.weights"][:1].fill_(math.nan), "weights has numbers that are not finite"),
        (lambda _, numbers: numbers.update(identity=None), "a checkpoint without its data and settings"),
        (lambda _, numbers: numbers["loop"].update(best=[[-math.inf, -math.inf]]), "a checkpoint with a wrong"),
        (lambda _, numbers: numbers.update(loop=[]), "a checkpoint with a wrong"),
    ],
)
def test_checkpoints_without_sense_are_refused(data, tmp_path, change, message):
    file = tmp_path / "al.checkpoint"
    one = dataclasses.replace(FULL, epochs=1)
    train(data, one, checkpoint=file)
    tensors, numbers = read_checkpoint(file)
    change(tensors, numbers)
    write_checkpoint(file, tensors, numbers)
    with pytest.raises(FileFormatError, match=message):
        train(data, one, checkpoint=file, resume=True)


def test_a_diverged_training_leaves_its_last_good_state(data, tmp_path, monkeypatch):
    file, honest, calls = tmp_path / "al.checkpoint", Loss.__call__, [0]

    def spoiled(self, network, x, y):
        calls[0] += torch.is_grad_enabled()
        return honest(self, network, x, y) * (math.nan if calls[0] == 30 else 1.0)

    with monkeypatch.context() as patch:
        patch.setattr(Loss, "__call__", spoiled)
        with pytest.raises(DivergenceError, match="holds the state after epoch 2"):
            train(data, FULL, checkpoint=file)
    model = train(data, FULL, checkpoint=file, resume=True)
    assert same(model, train(data, FULL))


def test_the_log_holds_every_epoch_once(data, tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415

    file, folder = tmp_path / "al.checkpoint", tmp_path / "log"
    with TrainingLog(folder, tensorboard=True) as log, monkeypatch.context() as patch:
        stop_after(28, patch)
        with pytest.raises(TrainingInterruptedError):
            train(data, FULL, checkpoint=file, progress=log)
    with TrainingLog(folder, tensorboard=True) as log:
        model = train(data, FULL, checkpoint=file, resume=True, progress=log)
    rows = list(csv.DictReader((folder / "training.csv").read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    heads = {name: name for name in ("training_loss", "validation_loss")}
    heads |= {"density_error_percent": "density_error_percent (%)", "free_energy_error": "free_energy_error (eV/atom)"}
    for name, head in heads.items():
        values = [float(row[head]) for row in rows]
        assert all(math.isfinite(value) for value in values)
        events = EventAccumulator(str(folder))
        events.Reload()
        scalars = events.Scalars(name)
        assert [event.step for event in scalars] == [1, 2, 3, 4, 5, 6]
        assert [event.value for event in scalars] == pytest.approx(values)
    assert float(rows[-1]["validation_loss"]) == model.provenance["final"]["validation_loss"]


def test_validation_errors_are_those_of_an_evaluation(data):
    config = dataclasses.replace(QUICK, epochs=3, readout="none")
    _, held_out = data.split(config.validation_fraction, config.seed)
    model = train(data, config)
    row = evaluate(model, held_out, [held_out[0].electron_temperature])[0]
    final = model.provenance["final"]
    names = [name for name in final if "error" in name]
    assert len(names) == 7
    for name in names:
        assert final[name] == pytest.approx(abs(row[name]), rel=2e-3, abs=1e-7), name
