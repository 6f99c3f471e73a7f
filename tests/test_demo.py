"""The demonstration from end to end, small: what it writes, and that it goes on where it was."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from fermisea.campaign import Campaign
from fermisea.data.snapshot import Snapshot
from fermisea.demo import DemoSettings, run, run_demo, steps
from fermisea.demo.__main__ import main
from fermisea.engines import PlaneWave
from fermisea.errors import InputError
from fermisea.training.config import TrainingConfig

pytestmark = pytest.mark.filterwarnings("ignore:.*F from the LDOS differs from F of the DFT code")
SMALL = DemoSettings(
    ion_temperatures=(100.0, 500.0),
    snapshots=(1, 1),
    dft=Campaign(cutoff=60.0, kpts=(1, 1, 1), energy_spacing=0.5),
    training=TrainingConfig(validation_fraction=0.0, epochs=2, hidden=(8,), order=1, allow_closure_error=True),
    electron_temperatures=(1000.0, 3000.0),
    curve=5,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    return out, run_demo(SMALL, out, Console(quiet=True))


def test_summary_has_the_numbers_of_dft_and_of_the_model(finished):
    out, summary = finished
    assert json.loads((out / "summary.json").read_text(encoding="utf-8")) == summary
    assert summary["atoms"] == 4
    rows = summary["rows"]
    assert [row["electron_temperature"] for row in rows] == [1000.0, 3000.0]
    unseen = Snapshot.load(out / "data" / "test.nc")
    assert rows[0]["free_energy_dft"] == unseen.reference.free_energy
    fresh = SMALL.dft.make_engine().solve(unseen.atoms, 3000.0)
    assert rows[1]["free_energy_dft"] == pytest.approx(fresh.reference.free_energy, abs=1e-6)
    change = [row["free_energy_predicted"] - row["free_energy_dft"] for row in rows]
    assert rows[1]["change_error_second_order_meV_per_atom"] == pytest.approx(250 * (change[1] - change[0]), abs=1e-9)
    assert all(row["density_error_percent"] > 0 for row in rows)


def test_the_test_structure_is_not_trained_on(finished):
    out, summary = finished
    assert [row["unseen"] for row in summary["errors_against_own_ldos"]] == [False] * 4 + [True] * 2
    unseen = Snapshot.load(out / "data" / "test.nc")
    assert unseen.ion_temperature == 700.0


def test_figures_are_written(finished):
    out, _ = finished
    names = {path.name for path in (out / "figures").iterdir()}
    stems = ("shipped_model", "free_energy", "density_of_states", "errors")
    assert names == {f"{stem}.{suffix}" for stem in stems for suffix in ("png", "svg")}


def test_a_second_run_computes_nothing_and_gives_the_same(finished, monkeypatch):
    out, summary = finished

    def refuse(*_args, **_options):
        raise AssertionError("computed again")

    for where, name in ((PlaneWave, "run"), (PlaneWave, "solve"), (steps, "train"), (steps, "sample")):
        monkeypatch.setattr(where, name, refuse)
    monkeypatch.setattr(run, "draw", lambda *_: None)
    again = run_demo(SMALL, out, Console(quiet=True))
    for row, before in zip(again["rows"], summary["rows"], strict=True):
        assert row == pytest.approx(before, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("damage", ["truncated", "of another structure", "missing"])
def test_a_reference_that_does_not_belong_is_computed_again(finished, tmp_path, damage):
    out, summary = finished
    unseen = Snapshot.load(out / "data" / "test.nc")
    settings = replace(SMALL, electron_temperatures=(3000.0,))
    steps.dft_points(settings, unseen, tmp_path, "key", Console(quiet=True))
    path = tmp_path / "3000K.npz"
    whole = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "missing":
        path.unlink()
    point = steps.dft_points(
        settings, unseen, tmp_path, "other key" if damage == "of another structure" else "key", Console(quiet=True)
    )[3000.0]
    assert point.free_energy == pytest.approx(summary["rows"][1]["free_energy_dft"], abs=1e-8)
    with np.load(path) as data:
        np.testing.assert_array_equal(data["density"], point.density)


def test_other_settings_do_not_touch_the_folder(finished):
    out, _ = finished
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    with pytest.raises(InputError, match="other settings"):
        run_demo(replace(SMALL, curve=6), out, Console(quiet=True))
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_errors_and_interruption_are_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert main(["--out", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.count("\n") == 1

    def interrupt(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "make_structures", interrupt)
    assert main(["--out", str(tmp_path / "out")]) == 130
    assert capsys.readouterr().err == "fermisea: interrupted; the same command resumes\n"


def test_warnings_are_lines(tmp_path, monkeypatch, capsys):
    def warned(*_):
        warnings.warn("structures are\nnear each other", stacklevel=2)
        warnings.warn("of no use to a user", DeprecationWarning, stacklevel=2)

    monkeypatch.setattr("fermisea.demo.__main__.run_demo", warned)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main(["--out", str(tmp_path)]) == 0
    assert capsys.readouterr().err == "fermisea: warning: structures are near each other\n"
