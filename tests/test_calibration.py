"""What the spread of an ensemble says about its error."""

from __future__ import annotations

import csv
import dataclasses
import json
import math

import numpy as np
import pytest

from fermisea.analysis.calibration import calibration
from fermisea.analysis.evaluation import evaluate, summary
from fermisea.cli import main
from fermisea.errors import InputError
from fermisea.plots import calibration_figure
from fermisea.training import train
from test_training import QUICK, dataset


def rows_of(error, spread, member_errors, quantity="free_energy"):
    rows = [
        {f"{quantity}_error": e, f"{quantity}_spread": s, f"{quantity}_member_errors": m, "electron_temperature": 300.0}
        for e, s, m in zip(error, spread, member_errors, strict=True)
    ]
    return [
        {"band_energy_spread": 0.0, "band_energy_error": 0.0, "band_energy_member_errors": [0.0, 0.0]} | row
        for row in rows
    ]


def test_known_numbers():
    rows = rows_of(
        [0.001, -0.004, 0.003, 0.02],
        [0.002, 0.003, 0.004, 0.005],
        [[2e-3, 8e-3, 0], [-4e-3, 4e-3, 0], [6e-3, 6e-3, -1e-3], [8e-3, 0, 0]],
    )
    (row,) = calibration(rows, 3)  # E_b has neither error nor spread
    assert (row["quantity"], row["electron_temperature"], row["structures"]) == ("free_energy", 300.0, 4)
    assert row["mean_error"] == pytest.approx(0.007)
    assert row["median_member_error"] == pytest.approx(0.0045)  # of 5, 4.5 and 0.25 meV
    assert row["spearman"] == pytest.approx(0.8)
    assert row["pearson"] == pytest.approx(np.corrcoef([1, 4, 3, 20], [2, 3, 4, 5])[0, 1])
    assert (row["within_one"], row["within_two"]) == (0.5, 0.75)
    ratios = np.array([0.5, 4 / 3, 0.75, 4])
    assert row["factor"] == pytest.approx(math.sqrt((ratios**2).mean()))


def test_truth_drawn_as_the_members_meets_the_expectation():
    random = np.random.default_rng(3)
    scale = random.uniform(0.5, 5, 20_000)
    draws = scale[:, None] * random.standard_normal((20_000, 6))
    members, truth = draws[:, :5], draws[:, 5]
    error, spread = members.mean(1) - truth, members.std(1, ddof=1)
    (row,) = calibration(rows_of(error, spread, members - truth[:, None]), 5)
    assert row["within_one"] == pytest.approx(row["expected_one"], abs=0.01)
    assert row["within_two"] == pytest.approx(row["expected_two"], abs=0.01)
    assert row["mean_error"] < row["median_member_error"]
    assert row["spearman"] > 0.3


def test_rows_without_spreads_are_refused():
    with pytest.raises(InputError, match="rows without spreads"):
        calibration([{"free_energy_error": 1.0}], 5)
    with pytest.raises(InputError, match="rows without spreads"):
        calibration_figure([{"free_energy_error": 1.0}])
    varies_not = rows_of([1e-3, 2e-3], [1e-3, 1e-3], [[1e-3], [1e-3]])
    assert calibration(varies_not, 3)[0]["spearman"] is None


@pytest.fixture(scope="module")
def evaluated():
    model = train(dataset(1, 2, 3, 4), dataclasses.replace(QUICK, epochs=4, ensemble=3))
    held = dataset(11, 12, 13)
    return model, held, evaluate(model, held, [300.0, 1000.0, 5000.0])


def test_spreads_and_errors_of_members_in_the_rows(evaluated):
    model, held, rows = evaluated
    singles = [
        evaluate(dataclasses.replace(model, network=member), held, [300.0, 1000.0, 5000.0])
        for member in model.network.members
    ]
    for number, row in enumerate(rows):
        for name in ("fermi_level", "band_energy", "entropy_term", "free_energy", "free_energy_change"):
            errors = [single[number][f"{name}_error"] for single in singles]
            assert row[f"{name}_spread"] == pytest.approx(np.std(errors, ddof=1), rel=1e-3, abs=1e-9)
            assert row[f"{name}_member_errors"] == pytest.approx(errors, rel=1e-3, abs=1e-8)
        assert "free_energy_spread" not in singles[0][number]
    reference = [row for row in rows if row["electron_temperature"] == model.reference_electron_temperature]
    assert all(row["free_energy_change_spread"] < 1e-9 for row in reference)
    names = {(row["quantity"], row["electron_temperature"]) for row in calibration(rows, 3)}
    assert ("free_energy_change", 5000.0) in names
    assert ("free_energy_change", model.reference_electron_temperature) not in names


def test_electrons_below_the_true_fermi_level(evaluated):
    model, held, rows = evaluated
    snapshot, row = held[0], rows[1]
    level = snapshot.observables(1000.0)[0].fermi_level
    dos = model.predict(snapshot.atoms, 1000.0, snapshot.grid, uncertainty=False).density_of_states
    expected = (dos.electrons(level, 1000.0) - snapshot.electrons) / len(snapshot.atoms)
    assert row["electrons_error"] == pytest.approx(expected, rel=1e-6)
    table = summary(rows)
    hot = next(entry for entry in table if entry["electron_temperature"] == 5000.0)
    errors = [abs(row["electrons_error"]) for row in rows if row["electron_temperature"] == 5000.0]
    assert hot["electrons_error_mean"] == pytest.approx(np.mean(errors))
    assert hot["electrons_error_worst"] == pytest.approx(max(errors))
    assert hot["electrons_error"] == pytest.approx(math.sqrt(np.mean(np.square(errors))))
    assert hot["atoms"] == "4"


def test_command_line(evaluated, tmp_path, capsys):
    model, held, _ = evaluated
    model.save(tmp_path / "al.safetensors")
    (tmp_path / "data").mkdir()
    for number, snapshot in enumerate(held):
        snapshot.save(tmp_path / "data" / f"{number}.nc")
    words = ["evaluate", str(tmp_path / "al.safetensors"), str(tmp_path / "data"), "--electron-temperature", "300"]
    assert main([*words, "5000", "--out", str(tmp_path / "errors")]) == 0
    out = capsys.readouterr().out
    assert "Spread of 3 networks against the error of their mean" in out
    names = {path.name for path in (tmp_path / "errors").iterdir()}
    figures = {f"{stem}.{suffix}" for stem in ("errors", "calibration") for suffix in ("png", "svg")}
    assert names == figures | {"errors.csv", "summary.csv", "errors.json", "calibration.csv", "report.json"}
    content = json.loads((tmp_path / "errors" / "errors.json").read_text())
    with (tmp_path / "errors" / "calibration.csv").open() as stream:
        table = list(csv.DictReader(stream))
    assert [float(row["factor"]) for row in table] == [row["factor"] for row in content["calibration"]]
    assert len(content["rows"]) == 6
