"""The study of temperature transfer, small: what it writes, that its numbers are right, and that it goes on."""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from rich.console import Console

from fermisea.campaign import Campaign
from fermisea.cli import main
from fermisea.data.snapshot import Snapshot
from fermisea.engines import LdosOptions, PlaneWave
from fermisea.errors import ConvergenceError, InputError
from fermisea.grid import EnergyGrid
from fermisea.model.loading import load_model
from fermisea.report import read_sections
from fermisea.studies.folder import claim_folder
from fermisea.studies.transfer import PRESETS, TransferSettings, run_transfer
from fermisea.studies.transfer import run as run_module
from fermisea.studies.transfer.plans import EVERYTHING, plans
from fermisea.studies.transfer.size import k_mesh_difference
from fermisea.training.config import TrainingConfig

pytestmark = pytest.mark.filterwarnings("ignore:.*F from the LDOS differs from F of the DFT code")
SMALL = TransferSettings(
    lattice_constant=4.05,
    repeat=(1, 1, 1),
    ion_temperatures=(100.0, 500.0),
    training_snapshots=2,
    test_snapshots=2,
    combinations=((100.0, 500.0),),
    reference_electron_temperature=1000.0,
    references=((4000.0, 100.0), (3000.0, 500.0)),
    thermalise=0.1,
    spacing=0.1,
    scales=(0.98,),
    scaled_ion_temperature=100.0,
    large_repeat=(1, 1, 2),
    large_kpts=(1, 1, 1),
    large_energy_window=(-8.0, 12.0),
    dft=Campaign(cutoff=60.0, kpts=(1, 1, 2), energy_spacing=0.5, energy_window=(-8.0, 16.0)),
    training=TrainingConfig(
        energy_axis="absolute",
        validation_fraction=0.0,
        epochs=2,
        hidden=(8,),
        order=1,
        ensemble=2,
        anchor_order=1,
        batch_size=256,
        allow_closure_error=True,
    ),
)


@pytest.fixture(scope="module")
def finished(made_once):
    out = made_once("study", lambda folder: run_transfer(SMALL, folder, Console(quiet=True)))
    return out, out / "report.html"


@pytest.fixture
def _undrawn(monkeypatch):
    """The figures that are there stay."""
    monkeypatch.setattr("fermisea.studies.transfer.results._figures", lambda *_: {})


def table(path):
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
def test_the_page_stands_alone_and_shows_every_figure_and_table(finished):
    out, page = finished
    text = page.read_text(encoding="utf-8")
    assert text.count('src="data:image/png;base64,') == text.count("src=") > 0
    assert 'href="http' not in text
    assert "<link" not in text
    _, sections, _ = read_sections(out)
    shown = {name for section in sections for name in section.tables}
    assert shown == {path.name for path in out.glob("*.csv")}
    assert {name for section in sections for name in section.figures} == {
        f"figures/{path.name}" for path in (out / "figures").glob("*.png")
    }
    assert "{{" not in text
    assert "None" not in text


@pytest.mark.slow
def test_errors_are_those_of_the_models_against_the_snapshots(finished):
    out, _ = finished
    model = load_model(out / "models" / "100-500K-4.safetensors")
    found = [Snapshot.load(out / "data" / "test" / f"al4-500K-0{number}.nc") for number in range(2)]
    errors = [
        1000 * abs(model.predict(s.atoms, 1000.0, s.grid, anchor=True).free_energy - s.reference.free_energy) / 4
        for s in found
    ]
    (row,) = [
        row
        for row in table(out / "errors.csv")
        if (row["model"], row["ion_temperature"], float(row["electron_temperature"])) == ("100-500K-4", "500.0", 1000.0)
    ]
    assert float(row["anchored_free_energy_error"]) == pytest.approx(np.mean(errors), rel=1e-6)
    assert int(row["structures"]) == 2


@pytest.mark.slow
def test_transfer_is_judged_by_self_consistent_runs(finished):
    out, _ = finished
    snapshot = Snapshot.load(out / "data" / "test" / "al4-100K-00.nc")
    run = SMALL.dft.make_engine().solve(snapshot.atoms, 4000.0).reference
    model = load_model(out / "models" / f"{EVERYTHING}.safetensors")
    predicted = model.predict(snapshot.atoms, [1000.0, 4000.0], snapshot.grid)
    (row,) = [
        row
        for row in table(out / "transfer_structures.csv")
        if (row["model"], float(row["electron_temperature"])) == (EVERYTHING, 4000.0)
    ]
    change = 1000 * (run.free_energy - snapshot.reference.free_energy) / 4  # meV/atom
    assert float(row["change"]) == pytest.approx(change, abs=1e-4)
    spread = 1000 * predicted.uncertainty.free_energy_change[1] / 4
    assert float(row["change_spread"]) == pytest.approx(spread, rel=1e-6)
    for form in ("naive", "second_order"):
        first, last = 1000 * predicted.free_energy_by(form) / 4
        assert float(row[f"change_error_{form}"]) == pytest.approx(last - first - change, abs=1e-4)


@pytest.mark.slow
def test_data_are_named_by_their_checksums(finished):
    out, _ = finished
    rows = table(out / "data.csv")
    assert [row["part"] for row in rows] == ["training"] * 4 + ["scaled"] + ["test"] * 4 + ["large"]
    assert {len(row["sha256"]) for row in rows} == {64}
    assert len({row["sha256"] for row in rows}) == 10
    assert float(rows[4]["volume_A3_per_atom"]) == pytest.approx(0.98**3 * 4.05**3 / 4)


@pytest.mark.slow
def test_a_larger_cell_is_there_with_its_own_k_points(finished):
    out, _ = finished
    rows = table(out / "size.csv")
    assert {row["model"] for row in rows} == {plan.name for plan in plans(SMALL)}
    row = rows[0]
    (mesh,) = json.loads((out / "references" / "k-mesh.json").read_text(encoding="utf-8"))["rows"]
    # two cubes with 1x1x1 and one with 1x1x2 have the same k-points
    assert mesh == pytest.approx({"offset": 0.0, "dos_percent": 0.0, "density_percent": 0.0}, abs=1e-9)
    assert float(row["free_energy_error_without_offset"]) == pytest.approx(float(row["free_energy_error"]), abs=1e-9)
    assert row["atoms"] == "8"


def test_other_k_points_are_told_by_the_crystal(tmp_path):
    coarse = replace(SMALL, large_kpts=(1, 1, 2), large_shift=(1, 1, 1), large_energy_window=None)
    found = k_mesh_difference(coarse, tmp_path / "k-mesh.json")
    cube = bulk("Al", "fcc", a=4.05, cubic=True)
    window = LdosOptions(energy_grid=EnergyGrid(-8.0, 0.5, 49), broadening=0.5)
    large, others = (
        PlaneWave(cutoff=60.0, kpts=kpts, shift=shift, ldos=window).run(cube, 1000.0)
        for kpts, shift in (((1, 1, 4), (1, 1, 1)), ((1, 1, 2), (0, 0, 0)))
    )
    change = large.reference.free_energy - others.reference.free_energy
    assert abs(change) > 0.1
    assert found["offset"] == pytest.approx(change / 4, abs=1e-7)
    for name in ("dos", "density"):
        true, other = getattr(large, name), getattr(others, name)
        percent = 100 * np.abs(other - true).sum() / true.sum()
        assert percent > 1
        assert found[f"{name}_percent"] == pytest.approx(percent, rel=1e-5)
    assert k_mesh_difference(coarse, tmp_path / "k-mesh.json") == found


@pytest.mark.slow
def test_forces_are_those_of_the_anchored_prediction(finished):
    out, _ = finished
    model = load_model(out / "models" / f"{EVERYTHING}.safetensors")
    found = [Snapshot.load(out / "data" / "test" / f"al4-500K-0{number}.nc") for number in range(2)]
    predicted = [model.predict(s.atoms, 1000.0, s.grid, anchor=True, forces=True) for s in found]
    forces = [np.abs(p.forces - s.reference.forces).mean() for p, s in zip(predicted, found, strict=True)]
    pressures = [abs(np.trace(p.stress - s.reference.stress)) / 3 for p, s in zip(predicted, found, strict=True)]
    (row,) = [
        row for row in table(out / "forces.csv") if (row["model"], row["ion_temperature"]) == (EVERYTHING, "500.0")
    ]
    assert float(row["force_error"]) == pytest.approx(1000 * np.mean(forces), rel=1e-5)
    assert float(row["pressure_error_GPa"]) == pytest.approx(160.2176634 * np.mean(pressures), rel=1e-5)


@pytest.mark.slow
def test_the_card_says_what_the_tables_say(finished):
    out, _ = finished
    card = (out / "models" / f"{EVERYTHING}.md").read_text(encoding="utf-8")
    (whole,) = [
        row
        for row in table(out / "errors.csv")
        if (row["model"], row["ion_temperature"], row["electron_temperature"]) == (EVERYTHING, "all", "1000.0")
    ]
    line = next(line for line in card.splitlines() if line.startswith("| all |"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1:6] == [
        "4",
        *(f"{float(whole[f'{name}_error_percent']):.2f}" for name in ("density", "dos")),
        f"{float(whole['free_energy_error']):.1f}",
        f"{float(whole['anchored_free_energy_error']):.2f}",
    ]
    assert "5 structures of 4 atoms" in card
    assert f"| volume | {0.98**3 * 4.05**3 / 4:.2f} to {4.05**3 / 4:.2f} Å³/atom |" in card
    assert "| tau_i | 100 to 500 K |" in card
    assert "BSD-3-Clause" in card


@pytest.mark.slow
def test_every_number_of_the_text_stands_in_a_table(finished):
    out, _ = finished
    numbers = {row["name"]: float(row["value"]) for row in table(out / "numbers.csv")}
    _, sections, _ = read_sections(out)
    told = set(re.findall(r"(?<![\w.])\d+\.\d+(?![\w.]*\w)", " ".join(t for section in sections for t in section.text)))
    assert len(told) > 30
    shown = {d: {f"{abs(value):.{d}f}" for value in numbers.values()} for d in (1, 2)}
    assert {number for number in told if number not in shown[len(number.partition(".")[2])]} == set()
    (text,) = [section.text for section in sections if section.title == "Trained at one ionic temperature"]
    assert f"Measured, F from the LDOS: {numbers['alone.own']:.1f} meV/atom" in text[1]
    (row,) = [
        row
        for row in table(out / "errors.csv")
        if (row["model"], row["ion_temperature"], row["electron_temperature"]) == (EVERYTHING, "all", "1000.0")
    ]
    assert numbers[f"whole.{EVERYTHING}.free_energy_error.mean"] == float(row["free_energy_error"])


@pytest.mark.slow
def test_a_second_run_computes_nothing_and_gives_the_same(finished, monkeypatch):
    out, page = finished
    before = {path: path.read_bytes() for path in out.rglob("*") if path.suffix in (".csv", ".html", ".png")}

    def never(*_, **__):
        raise AssertionError("computed again")

    monkeypatch.setattr("fermisea.studies.training.train", never)
    monkeypatch.setattr("fermisea.studies.transfer.errors.evaluate", never)
    monkeypatch.setattr("fermisea.studies.transfer.size._size_errors", never)
    monkeypatch.setattr("fermisea.studies.transfer.data.sample", never)
    monkeypatch.setattr("fermisea.engines.PlaneWave.solve", never)
    monkeypatch.setattr("fermisea.engines.PlaneWave.run", never)
    run_transfer(SMALL, out, Console(quiet=True))
    assert {path: path.read_bytes() for path in before} == before
    assert page in before


@pytest.mark.slow
@pytest.mark.usefixtures("_undrawn", "_quick_processes")
def test_several_processes_train_and_judge(finished, tmp_path, monkeypatch):
    out, _ = finished
    copy = tmp_path / "study"
    shutil.copytree(out, copy, ignore=shutil.ignore_patterns("models", "errors", "transfer", "*.csv", "*.html"))

    def never(*_, **__):
        raise AssertionError("computed here")

    monkeypatch.setattr("fermisea.studies.training.train", never)
    monkeypatch.setattr("fermisea.studies.transfer.errors.evaluate", never)
    run_transfer(SMALL, copy, Console(quiet=True), workers=2)
    for found, known in zip(table(copy / "errors.csv"), table(out / "errors.csv"), strict=True):
        assert (found["model"], found["ion_temperature"]) == (known["model"], known["ion_temperature"])
        # another number of threads may add up in another order
        assert float(found["free_energy_error"]) == pytest.approx(float(known["free_energy_error"]), rel=0.02, abs=0.5)
        assert float(found["density_error_percent"]) == pytest.approx(float(known["density_error_percent"]), rel=0.02)


@pytest.mark.slow
@pytest.mark.usefixtures("_undrawn")
def test_a_damaged_model_is_trained_again(finished):
    out, _ = finished
    path = out / "models" / "100K-2.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    run_transfer(SMALL, out, Console(quiet=True))
    assert path.read_bytes() == whole


@pytest.mark.slow
def test_other_settings_do_not_mix(finished):
    out, _ = finished
    with pytest.raises(InputError, match=r"holds a study with other settings \(seed\)"):
        run_transfer(replace(SMALL, seed=2), out, Console(quiet=True))


@pytest.mark.slow
def test_a_folder_of_another_version_goes_on(finished, tmp_path):
    out, _ = finished
    copy = tmp_path / "study"
    shutil.copytree(out, copy)
    stored = json.loads((copy / "settings.json").read_text(encoding="utf-8"))
    del stored["large_shift"]  # as if it had not been there
    (copy / "settings.json").write_text(json.dumps(stored | {"fermisea": "0.0.1"}), encoding="utf-8")
    assert run_transfer(SMALL, copy, Console(quiet=True)).read_bytes() == (out / "report.html").read_bytes()


@pytest.mark.slow
@pytest.mark.usefixtures("_undrawn")
def test_what_failed_is_told_once_all_else_is_done_and_tried_again(finished, tmp_path, monkeypatch):
    out, _ = finished
    copy = tmp_path / "study"
    shutil.copytree(out, copy)
    for name in ("training/al4-100K-01.nc", "test/al4-500K-00.nc"):
        (copy / "data" / name).unlink()
    honest, hopeless = PlaneWave.run, []

    def run(engine, atoms, *arguments, **options):
        if len(hopeless) == 0:
            hopeless.append(atoms)
            raise ConvergenceError("no end in sight", [])
        return honest(engine, atoms, *arguments, **options)

    monkeypatch.setattr(PlaneWave, "run", run)
    with pytest.raises(InputError, match="1 of 10 structures failed, the first is al4-100K-01: no end in sight"):
        run_transfer(SMALL, copy, Console(quiet=True))
    assert (copy / "data" / "test" / "al4-500K-00.nc").exists()
    run_transfer(SMALL, copy, Console(quiet=True))
    assert (copy / "data" / "training" / "al4-100K-01.nc").exists()


@pytest.mark.slow
def test_references_beyond_the_window_are_refused_before_they_are_computed(finished, tmp_path):
    out, _ = finished
    copy = tmp_path / "study"
    shutil.copytree(out, copy)
    with pytest.raises(InputError, match="references: got 90000 K, but the energy window of the data is valid up to"):
        run_transfer(replace(SMALL, references=((90_000.0, 100.0),)), copy, Console(quiet=True))


@pytest.mark.slow
def test_a_study_without_references_and_other_cells_has_its_page_and_card(tmp_path):
    settings = replace(SMALL, references=(), scales=(), large_repeat=None)
    page = run_transfer(settings, tmp_path, Console(quiet=True)).read_text(encoding="utf-8")
    assert "Far beyond the electronic temperature" not in page
    assert "A larger cell" not in page
    assert not (tmp_path / "size.csv").exists()
    card = (tmp_path / "models" / f"{EVERYTHING}.md").read_text(encoding="utf-8")
    assert "Against self-consistent DFT" not in card
    assert f"| volume | {4.05**3 / 4:.2f} to {4.05**3 / 4:.2f} Å³/atom |" in card


@pytest.mark.slow
@pytest.mark.usefixtures("_undrawn")
def test_another_recipe_goes_on_with_the_same_data(finished, monkeypatch, tmp_path):
    out, _ = finished
    copy = tmp_path / "study"
    shutil.copytree(out, copy)

    def never(*_, **__):
        raise AssertionError("computed again")

    monkeypatch.setattr("fermisea.studies.transfer.data.sample", never)
    monkeypatch.setattr("fermisea.engines.PlaneWave.run", never)
    changed = replace(SMALL, training=replace(SMALL.training, hidden=(6,)), references=SMALL.references[:1])
    run_transfer(changed, copy, Console(quiet=True))
    assert load_model(copy / "models" / "100K-2.safetensors").network.members[0].widths == (6,)
    assert {row["electron_temperature"] for row in table(copy / "transfer.csv")} == {"4000.0"}


@pytest.mark.parametrize("name", PRESETS)
def test_shipped_settings_can_be_used(name):
    settings = TransferSettings.load(name)
    names = [plan.name for plan in plans(settings)]
    assert len(set(names)) == len(names)
    assert settings.dft.energy_window is not None
    assert sum(len(plan.structures) for plan in plans(settings)[: len(settings.ion_temperatures)]) == (
        settings.training_snapshots * len(settings.ion_temperatures)
    )


def test_the_larger_cell_has_a_grid_of_the_same_spacing():
    settings = replace(SMALL, repeat=(2, 1, 1), large_repeat=(3, 1, 2), dft=replace(SMALL.dft, grid=(21, 12, 12)))
    assert settings.campaign("test") == settings.dft
    large = settings.campaign("large")
    assert large.grid == (32, 12, 24)
    assert (large.kpts, large.energy_window) == (settings.large_kpts, settings.large_energy_window)
    assert replace(SMALL, large_repeat=(3, 1, 2)).campaign("large").grid is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ion_temperatures": (500.0, 100.0)}, "ascending"),
        ({"combinations": ((100.0, 700.0),)}, "other settings use 700 K"),
        ({"references": ((4000.0, 300.0),)}, "other settings use 300 K"),
        ({"training_snapshots": 1}, "expected at least 2"),
        ({"scales": (0.9, 1.0, 1.1)}, "at most 2, the number of structures to scale"),
        ({"test_snapshots": 1}, "test_snapshots: got 1, expected at least 2"),
        ({"combinations": ()}, "expected sets of at least two"),
        ({"combinations": ((100.0,),)}, "expected sets of at least two"),
        ({"training": replace(SMALL.training, anchor=False)}, "compares anchored and other free energies"),
        ({"training": replace(SMALL.training, energy_axis="density")}, "energy_axis = density, expected absolute"),
        ({"dft": replace(SMALL.dft, engine="espresso", pseudopotentials={"Al": "Al.upf"})}, "need planewave"),
        ({"dft": replace(SMALL.dft, energy_window=None)}, "got no energy_window"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        replace(SMALL, **changes)


def test_the_command_takes_a_file_and_names_what_is_wrong_in_it(tmp_path, capsys):
    file = tmp_path / "mine.toml"
    file.write_text("lattice_constant = 4.05\n", encoding="utf-8")
    assert main(["study", "transfer", "--settings", str(file), "--out", str(tmp_path / "out")]) == 2
    assert "mine.toml: the keys combinations, ion_temperatures" in capsys.readouterr().err
    assert main(["study", "transfer", "--quick", "--settings", "cluster", "--out", str(tmp_path / "out")]) == 2
    assert "expected one of them" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_command_runs_the_study(tmp_path, capsys, monkeypatch):
    seen = {}

    def fake(settings, out, _, *, workers, device):
        seen.update(settings=settings, out=out, workers=workers, device=device)
        return out / "report.html"

    monkeypatch.setattr(run_module, "run_transfer", fake)
    monkeypatch.setattr("fermisea.studies.transfer.run_transfer", fake)
    assert main(["study", "transfer", "--quick", "--workers", "2", "--out", str(tmp_path)]) == 0
    assert seen == {"settings": TransferSettings.load("quick"), "out": tmp_path, "workers": 2, "device": "cpu"}
    assert capsys.readouterr().out.strip() == str(tmp_path / "report.html")


def test_memory_and_command_of_pw_x_may_change_between_calls(tmp_path):
    espresso = Campaign(engine="espresso", pseudopotentials={"Al": "Al.upf"}, energy_window=(-8.0, 16.0))
    settings = replace(SMALL, dft=espresso, references=(), large_repeat=None)
    claim_folder(tmp_path, settings, ())
    claim_folder(tmp_path, replace(settings, dft=replace(espresso, memory=8e9, command="mpirun -n 4 pw.x")), ())
    with pytest.raises(InputError, match=r"other settings \(dft\)"):
        claim_folder(tmp_path, replace(settings, dft=replace(espresso, cutoff=300.0)), ())
