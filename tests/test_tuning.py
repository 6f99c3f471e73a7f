"""Searches for a configuration, and rankings without training."""

from __future__ import annotations

import csv
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from fermisea.cli import main
from fermisea.data.dataset import Dataset
from fermisea.errors import InputError, StorageError
from fermisea.networks.mlp import Mlp
from fermisea.plots import tuning_figure
from fermisea.training import train
from fermisea.training.config import TrainingConfig
from fermisea.tuning import Choice, Range, SearchSpace
from fermisea.tuning.ranking import rankings
from fermisea.tuning.scores import activation_kernel, cosine_distance, descriptors_at, naswot, sampled_points
from fermisea.tuning.workers import tune
from synthetic import made_up_snapshot

SMALL = {"order": 2, "cutoff": 4.0, "epochs": 4, "batch_size": 64, "validation_fraction": 0.25}
SPACE = SMALL | {"hidden": [[8], [16, 16]], "learning_rate": {"from": 1e-4, "to": 1e-2, "log": True}}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for seed in range(4):
        made_up_snapshot(seed).save(folder / f"{seed}.nc")
    return folder


def rows_of(folder):
    with (folder / "trials.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def states_of(folder):
    """The state of every trial by what the journal says: 0 running, 1 complete, 2 pruned, 3 failed."""
    states = {}
    for line in (folder / "study.journal").read_text().splitlines():
        entry = json.loads(line)
        if entry["op_code"] == 4:
            states[len(states)] = entry.get("state", 0)
        elif entry["op_code"] == 6:
            states[entry["trial_id"]] = entry["state"]
    return states


def test_the_better_of_two_is_found_and_trains(data, tmp_path):
    space = SearchSpace.from_dict(SMALL | {"learning_rate": [1e-7, 5e-3]})
    tuned = tune(data, tmp_path / "study", space, trials=6, prune=False)
    assert [trial.state for trial in tuned.trials] == ["complete"] * 6
    assert {trial.config.learning_rate for trial in tuned.trials} == {1e-7, 5e-3}
    assert tuned.best is not None
    assert tuned.best.config.learning_rate == 5e-3
    assert tuned.best.value == tuned.best.errors["ldos_error_percent"]
    config = TrainingConfig.from_toml(tmp_path / "study" / "best.toml")
    assert config == tuned.best.config
    again = train(data, config).provenance["final"]
    assert again["ldos_error_percent"] == tuned.best.value
    rows = rows_of(tmp_path / "study")
    assert [int(row["trial"]) for row in rows] == list(range(6))
    assert {row["learning_rate"] for row in rows} == {"1e-07", "0.005"}


def test_worse_trials_end_early(data, tmp_path):
    space = SearchSpace.from_dict(SMALL | {"epochs": 8, "learning_rate": [1e-7, 5e-3]})
    tuned = tune(data, tmp_path, space, trials=14)
    early = [trial for trial in tuned.trials if trial.state == "pruned"]
    assert early
    for trial in early:
        assert trial.config.learning_rate == 1e-7
        assert trial.epochs is not None
        assert 3 <= trial.epochs < 8
        assert trial.value is not None
        assert tuned.best is not None
        assert trial.value > tuned.best.value
    figure = tuning_figure(
        [(t.number, t.value, t.state == "complete") for t in tuned.trials], "x", {"learning_rate": 1}
    )
    assert len(figure.axes) == 2


def test_a_search_goes_on_as_if_not_interrupted(data, tmp_path):
    space = SearchSpace.from_dict(SPACE)
    whole = tune(data, tmp_path / "whole", space, trials=7, prune=False)
    for trials in (2, 5, 7):
        parts = tune(data, tmp_path / "parts", space, trials=trials, prune=False)
        assert len(parts.trials) == trials
    assert [trial.varied for trial in parts.trials] == [trial.varied for trial in whole.trials]
    assert [trial.value for trial in parts.trials] == [trial.value for trial in whole.trials]


def test_trials_after_an_interrupted_one_are_those_of_a_whole_search(data, tmp_path):
    def interrupt(tuned, note):
        if len(tuned.trials) == 1 and "epoch 2" in note:
            raise KeyboardInterrupt

    space = SearchSpace.from_dict(SPACE)
    whole = tune(data, tmp_path / "whole", space, trials=3, prune=False)
    with pytest.raises(KeyboardInterrupt):
        tune(data, tmp_path / "cut", space, trials=3, prune=False, progress=interrupt)
    cut = tune(data, tmp_path / "cut", space, trials=3, prune=False)
    assert [(trial.varied, trial.value) for trial in cut.trials] == [(t.varied, t.value) for t in whole.trials]


def test_the_end_of_time(data, tmp_path):
    tuned = tune(data, tmp_path, SearchSpace.from_dict(SPACE), trials=1000, timeout=0.01)
    assert len(tuned.trials) == 1


COMMAND = [sys.executable, "-c", "import sys; from fermisea.cli import main; sys.exit(main(sys.argv[1:]))"]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_three_times(data, tmp_path, workers, forkserver):
    space, study = tmp_path / "space.toml", tmp_path / "study"
    values = SPACE | {"epochs": 40}
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items() if not isinstance(value, dict)]
    space.write_text("\n".join([*lines, "learning_rate = { from = 1e-4, to = 1e-2, log = true }"]))
    words = ["tune", str(data), "--out", str(study), "--space", str(space), "--trials", "8", "--no-prune"]
    words += ["--workers", str(workers)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    generator = np.random.default_rng(workers)
    for kill in range(3):
        process = forkserver.Process(target=main, args=(words,))
        process.start()
        while process.is_alive() and not (
            (study / "study.journal").exists() and len(states_of(study)) > 1 + kill + workers
        ):
            time.sleep(0.02)
        time.sleep(generator.uniform(0, 0.3))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    cut = sum(state == 0 for state in states_of(study).values())
    done = subprocess.run([*COMMAND, *words], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    states = list(states_of(study).values())
    assert states.count(1) == 8
    assert states.count(0) == 0
    assert states.count(3) >= cut > 0
    rows = rows_of(study)
    assert len(rows) == 8
    assert len({(row["hidden"], row["learning_rate"]) for row in rows}) == 8  # a repeated trial is there once
    assert [path.name for path in (study / ".running").iterdir() if path.stem.isdigit()] == []


@pytest.mark.slow
@pytest.mark.usefixtures("_quick_processes")
def test_two_share_one_study(data, tmp_path):
    told = []
    tuned = tune(
        data, tmp_path, SearchSpace.from_dict(SPACE), trials=6, workers=2, progress=lambda _, note: told.append(note)
    )
    assert len(tuned.trials) == 6
    assert "2 running" in told


def test_another_study_is_not_mixed_up(data, tmp_path):
    tune(data, tmp_path, SearchSpace.from_dict(SPACE), trials=1)
    with pytest.raises(InputError, match=r"has space .*batch_size"):
        tune(data, tmp_path, SearchSpace.from_dict(SPACE | {"batch_size": 32}), trials=2)
    with pytest.raises(InputError, match=r"has minimise .*ldos_error"):
        tune(data, tmp_path, SearchSpace.from_dict(SPACE), trials=2, minimise="band_energy_error")
    with pytest.raises(InputError, match="has data"):
        tune([data / f"{n}.nc" for n in range(3)], tmp_path, SearchSpace.from_dict(SPACE), trials=2)
    journal = tmp_path / "study.journal"
    with journal.open("a") as stream:
        stream.write('{"op_code": 4, "wor')  # a full disk
    assert len(tune(data, tmp_path, SearchSpace.from_dict(SPACE), trials=2).trials) == 2
    journal.write_text("not a journal\n" + journal.read_text())
    with pytest.raises(StorageError, match="cannot be used"):
        tune(data, tmp_path, SearchSpace.from_dict(SPACE), trials=3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"depth": [1, 2]}, "search space: unknown key depth; the known keys are descriptor"),
        ({"epochs": 3}, "no parameter to vary"),
        ({"order": [4]}, "order: got .*at least two"),
        ({"order": [4, -1]}, "order: got -1"),
        ({"activation": ["silu", "swish"]}, "activation: got 'swish'"),
        ({"cutoff": {"from": 5.0, "to": 4.0}}, "cutoff: .*LOW < HIGH"),
        ({"cutoff": {"from": 5.0}}, "cutoff: .*from = LOW"),
        ({"weight_decay": {"from": 0.0, "to": 1.0, "log": True}}, "weight_decay: .*log = true only above 0"),
        ({"learning_rate": {"from": -1.0, "to": 1.0}}, "learning_rate: got -1"),
        ({"order": [4, 5], "validation_fraction": 0.0}, "validation_fraction: got 0"),
        ({"seed": [0, 1]}, "seed: got several values, expected one"),
    ],
)
def test_a_space_that_cannot_be_searched(values, message):
    with pytest.raises(InputError, match=message):
        SearchSpace.from_dict(values)


def test_fields_that_depend_on_others():
    space = SearchSpace.from_dict(
        {"descriptor": ["power_spectrum", "bispectrum"], "order": [3, 4], "twojmax": {"from": 4, "to": 10}}
    )
    assert space.varied["order"] == Choice((3, 4))
    assert space.varied["twojmax"] == Range(4, 10)
    assert space.values(space.fixed).keys() == {"descriptor", "order"}
    designs = space.designs(("descriptor", "order", "twojmax"))
    assert sum(config.descriptor == "power_spectrum" for config in designs) == 2
    assert sorted(config.twojmax for config in designs if config.descriptor == "bispectrum") == [4, 6, 7, 8, 10]
    config = space.config({"descriptor": '"bispectrum"', "twojmax": 5})
    assert (config.descriptor, config.twojmax) == ("bispectrum", 5)
    assert SearchSpace.default().varied.keys() >= {"hidden", "cutoff"}


def test_wrong_words(data, tmp_path):
    space = SearchSpace.from_dict(SPACE)
    for options, message in (
        ({"minimise": "loss"}, "minimise: got 'loss'"),
        ({"trials": -1}, "trials: got -1"),
        ({"timeout": 0.0}, "timeout"),
        ({"workers": 0}, "workers: got 0"),
    ):
        with pytest.raises(InputError, match=message):
            tune(data, tmp_path / "study", space, **({"trials": 1} | options))
    assert not (tmp_path / "study").exists()


def test_a_trial_that_diverges_does_not_end_the_search(data, tmp_path):
    space = SearchSpace.from_dict(SMALL | {"learning_rate": [1e30, 1e-3]})
    tuned = tune(data, tmp_path, space, trials=5)
    lost = [trial for trial in tuned.trials if trial.reason]
    assert lost
    assert all(trial.state == "pruned" and "loss is" in trial.reason for trial in lost)
    assert tuned.best is not None
    assert tuned.best.config.learning_rate == 1e-3


def test_cosine_distance():
    generator = np.random.default_rng(0)
    ldos = generator.random((60, 12))
    assert cosine_distance(3 * ldos, ldos) < 1e-15
    descriptors = generator.random((60, 5))
    value = cosine_distance(descriptors, ldos)
    order = generator.permutation(60)
    np.testing.assert_allclose(cosine_distance(descriptors[order], ldos[order]), value, rtol=1e-12)

    def cosine(a, b):
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    pairs = itertools.combinations(range(60), 2)
    by_hand = [abs(cosine(descriptors[i], descriptors[j]) - cosine(ldos[i], ldos[j])) for i, j in pairs]
    np.testing.assert_allclose(value, np.mean(by_hand), rtol=1e-12)


def test_naswot_by_hand():
    network = Mlp(1, (3,), 2, "silu", dtype="float64")
    with torch.no_grad():
        network.layers[0].weight.copy_(torch.tensor([[1.0], [1.0], [-1.0]]))
        network.layers[0].bias.copy_(torch.tensor([0.0, -2.0, 1.0]))
    points = torch.tensor([[-1.0], [0.5], [3.0]], dtype=torch.float64)  # on: --+, +-+, ++-
    kernel = torch.tensor([[3.0, 2.0, 0.0], [2.0, 3.0, 1.0], [0.0, 1.0, 3.0]], dtype=torch.float64)
    torch.testing.assert_close(activation_kernel(network, points), kernel)
    assert naswot(network, points) == pytest.approx(float(torch.logdet(kernel + torch.eye(3))), rel=1e-12)


def test_naswot_grows_with_width():
    points = torch.from_numpy(np.random.default_rng(0).normal(size=(64, 10)))
    scores = [naswot(Mlp(10, (width, width), 5, dtype="float64"), points) for width in (8, 32, 128)]
    assert scores[0] < scores[1] < scores[2]


def test_points_are_those_of_the_grid(data):
    dataset = Dataset.load(data)
    config = TrainingConfig.from_dict(SMALL)
    descriptor = config.make_descriptor(["Al"])
    chosen, ldos = sampled_points(dataset, 40, seed=1)
    some = descriptors_at(dataset, descriptor, chosen)
    snapshot, index = dataset[2], chosen[2]
    whole = descriptor.compute(snapshot.atoms, snapshot.grid).reshape(-1, descriptor.features)
    np.testing.assert_allclose(some[20:30], whole[index], rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(ldos[20:30], snapshot.read_ldos(slice(None))[index])


def test_rankings_are_judged_by_trials(data, tmp_path, capsys):
    space = tmp_path / "space.toml"
    space.write_text(
        "order = [1, 2, 3]\ncutoff = 4.0\nhidden = [[4], [16], [64]]\nepochs = 2\nbatch_size = 64\n"
        "validation_fraction = 0.25\n"
    )
    arguments = ["tune", str(data), "--out", str(tmp_path / "study"), "--space", str(space), "--no-prune", "--rank"]
    assert main([*arguments, "--trials", "0"]) == 0
    out = capsys.readouterr().out
    assert "none yet, 0 descriptors from 0 complete trials" in out
    assert main([*arguments, "--trials", "9", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["trials"]) == 9
    descriptors, networks = told["rankings"]
    assert len(descriptors["rows"]) == 3
    assert sum(row["trials"] for row in networks["rows"]) == 9
    assert networks["rows"][0]["design"] == {"hidden": [64]}
    assert -1 <= networks["spearman"] <= 1
    assert main([*arguments, "--trials", "9"]) == 0
    out = capsys.readouterr().out
    assert f"Spearman {networks['spearman']:+.2f}, Kendall {networks['kendall']:+.2f} (3 networks from 9" in out
    names = {path.name for path in (tmp_path / "study").iterdir()}
    assert names >= {"trials.csv", "best.toml", "trials.png", "trials.svg", "descriptors.csv", "networks.csv"}


def test_rankings_without_trials(data):
    space = SearchSpace.from_dict(SMALL | {"cutoff": {"from": 3.0, "to": 5.0}})
    (found,) = rankings(Dataset.load(data), space)
    assert [row.value for row in found.rows] == [None] * 5
    assert [row.score for row in found.rows] == sorted(row.score for row in found.rows)
    assert found.spearman is None


def test_without_optuna(data, tmp_path):
    (tmp_path / "optuna.py").write_text("raise ModuleNotFoundError('no optuna', name='optuna')")
    done = subprocess.run(
        [*COMMAND, "tune", str(data), "--out", str(tmp_path / "study")],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "fermisea: tune: optuna is not installed; install it with pip install 'fermisea[tune]'"
    ]


def test_wrong_files_are_one_line(data, tmp_path, capsys):
    assert main(["tune", str(data), "--out", str(tmp_path / "s"), "--space", str(Path("nowhere.toml"))]) == 2
    assert capsys.readouterr().err.startswith("fermisea: nowhere.toml: cannot be read")
    assert main(["tune", str(tmp_path / "nothing"), "--out", str(tmp_path / "s")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "s").exists()
