"""The commands as a user calls them, on small inputs; wrong input has a file of its own."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace

import ase.io
import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.io.cube import read_cube_data

import fermisea
from fermisea import __version__
from fermisea.campaign import Campaign
from fermisea.cli import main
from fermisea.cli.dft_settings import settings_lines, used_settings
from fermisea.cli.shell import spread
from fermisea.data.snapshot import Snapshot
from fermisea.data.structures import read_structures, write_structure
from fermisea.model.loading import load_model
from fermisea.potential.calculator import PotentialCalculator
from fermisea.pseudopotentials.gth import cutoffs
from synthetic import made_up_snapshot, structure

COMMANDS = ("sample", "dft", "train", "predict", "evaluate", "info")
CONFIG = "order = 2\nhidden = [16]\nepochs = 3\nvalidation_fraction = 0.0\n"


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Made-up snapshots, a structure file and a model trained on the snapshots by the command line."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "data").mkdir()
    for seed in range(2):
        made_up_snapshot(seed).save(folder / "data" / f"al-{seed}.nc")
    write_structure(folder / "al.extxyz", structure(7))
    (folder / "train.toml").write_text(CONFIG)
    command = ["train", f"{folder}/data", "--out", f"{folder}/al.safetensors", "--config", f"{folder}/train.toml"]
    assert main(command) == 0
    return folder


def rows_of(path):
    with path.open() as stream:
        return list(csv.DictReader(stream))


def run_json(capsys, *words):
    """Runs a command with --json and returns the one document that it prints."""
    capsys.readouterr()
    assert main([*map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_help_has_an_example_for_every_command(capsys):
    for command in COMMANDS:
        assert main([command, "--help"]) == 0
        assert f"Example: fermisea {command} " in " ".join(capsys.readouterr().out.split())
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f" {command} " in out for command in COMMANDS)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"fermisea {__version__}\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("x --t 1 2 3 --out o", "x --t 1 --t 2 --t 3 --out o"),
        ("--t 1e3 10_000 -5 y", "--t 1e3 --t 10_000 --t -5 y"),
        ("--t=1 2 z", "--t=1 --t 2 z"),
        ("--p Al=a.upf Si=b=c.upf x", "--p Al=a.upf --p Si=b=c.upf x"),
        ("--p gth x --t 1", "--p gth x --t 1"),
        ("--out 3 4", "--out 3 4"),
        ("--t", "--t"),
    ],
)
def test_list_options_take_several_values(words, expected):
    assert spread(words.split(), {"--t", "--p"}) == expected.split()


def test_options_for_files_take_all_words_up_to_the_next_option():
    words, expected = "model --f a.xyz b.xyz 3 --out o c", "model --f a.xyz --f b.xyz --f 3 --out o c"
    assert spread(words.split(), {"--f"}, {"--f"}) == expected.split()


def test_sample_writes_structures_with_their_ion_temperature(tmp_path, capsys):
    write_structure(tmp_path / "Al.extxyz", bulk("Al", "fcc", a=4.05, cubic=True))
    out = tmp_path / "structures"
    options = ("--snapshots", 2, "--thermalise", 0.02, "--spacing", 0.01, "--out", out)
    result = run_json(capsys, "sample", tmp_path / "Al.extxyz", "--ion-temperature", 100, 298.5, *options)
    assert [row["ion_temperature"] for row in result["rows"]] == [100, 298.5]
    assert result["atoms"] == 4
    assert all(row["mean_temperature"] > 0 and row["mean_square_displacement"] > 0 for row in result["rows"])
    found = read_structures(out)
    assert list(found) == ["Al-100K-00", "Al-100K-01", "Al-298.5K-00", "Al-298.5K-01"]
    assert [atoms.info["ion_temperature"] for atoms in found.values()] == [100, 100, 298.5, 298.5]


def test_sample_prints_temperature_and_displacement(tmp_path, capsys):
    write_structure(tmp_path / "Al.extxyz", bulk("Al", "fcc", a=4.05))
    options = ["--repeat", "2", "1", "1", "--snapshots", "1", "--thermalise", "0", "--spacing", "0.01"]
    command = ["sample", str(tmp_path / "Al.extxyz"), "--ion-temperature", "50", *options, "--out", str(tmp_path / "s")]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "mean temperature (K)" in out
    assert "mean square displacement" in out
    assert "1 structure of 2 atoms" in out


def test_sample_with_the_potential_of_a_model(tmp_path, capsys):
    crystal = bulk("Al", "fcc", a=4.05, cubic=True)
    write_structure(tmp_path / "Al.extxyz", crystal)
    options = ["--ion-temperature", "100", "--snapshots", "1", "--thermalise", "0.1", "--spacing", "0.02"]
    command = ["sample", str(tmp_path / "Al.extxyz"), *options, "--out", str(tmp_path / "s")]
    assert main([*command, "--calculator", "aluminium"]) == 0
    (found,) = read_structures(tmp_path / "s").values()
    assert 1e-4 < np.abs(found.positions - crystal.positions).max() < 0.3
    potential = load_model("aluminium").anchor
    found.calc = PotentialCalculator(potential)
    expected = potential.predict(found)
    assert found.get_potential_energy() == expected.free_energy
    np.testing.assert_array_equal(found.get_forces(), expected.forces)
    np.testing.assert_allclose(found.get_stress(voigt=False), expected.stress, atol=1e-12)
    capsys.readouterr()
    replace(load_model("aluminium"), anchor=None).save(tmp_path / "alone.safetensors")
    assert main([*command, "--calculator", str(tmp_path / "alone.safetensors")]) == 2
    assert "alone.safetensors: a model without an anchor, expected one with an anchor" in capsys.readouterr().err


def test_sample_thins_a_trajectory(tmp_path, capsys):
    from test_trajectories import trajectory  # noqa: PLC0415

    ase.io.write(tmp_path / "md.extxyz", trajectory(120, 3.0, energies=True))
    command = ("sample", tmp_path / "md.extxyz", "--thin", "--ion-temperature", 298, "--snapshots", 4, "--skip", 20)
    (row,) = run_json(capsys, *command, "--out", tmp_path / "s")["rows"]
    assert row["frames"] == [44, 69, 94, 119]
    assert row["mean_temperature"] == pytest.approx(298, rel=0.15)
    found = read_structures(tmp_path / "s")
    assert list(found) == [f"md-298K-{number:02d}" for number in range(4)]
    assert all(atoms.info["ion_temperature"] == 298.0 for atoms in found.values())
    assert main([*map(str, command), "--out", str(tmp_path / "t")]) == 0
    assert "4 of 120 frames of 4 atoms, 25 apart" in capsys.readouterr().out
    words = ["sample", str(tmp_path / "md.extxyz"), "--thin", "--ion-temperature", "298", "500"]
    assert main([*words, "--out", str(tmp_path / "u")]) == 2
    assert "--thin: got 2 ion temperatures, expected one" in capsys.readouterr().err


def test_dft_computes_then_keeps(tmp_path, capsys):
    (tmp_path / "s").mkdir()
    write_structure(tmp_path / "s" / "al.extxyz", bulk("Al", "fcc", a=4.05))
    (tmp_path / "dft.toml").write_text("xc = 'lda'\ncutoff = 70\nenergy_spacing = 0.5\n")
    command = ("dft", tmp_path / "s", "--electron-temperature", 3000, "--kpts", 2, 2, 2, "--out", tmp_path / "data")
    command = (*command, "--config", tmp_path / "dft.toml", "--cutoff", 80, "--highest-electron-temperature", 5000)
    (row,) = run_json(capsys, *command)["rows"]
    assert (row["name"], row["status"], row["atoms"]) == ("al", "computed", 1)
    snapshot = Snapshot.load(tmp_path / "data" / "al.nc")
    assert snapshot.reference.free_energy == row["free_energy"]
    assert (snapshot.functional, snapshot.provenance["kpts"]) == ("lda", [2, 2, 2])
    assert snapshot.provenance["cutoff_eV"] == 80  # the option wins over the file
    found = run_json(capsys, *command)
    assert found["rows"][0]["status"] == "kept"
    assert found["settings"]["chosen"] == ["pseudopotentials"]
    assert found["settings"]["kpts"] == {"al": [2, 2, 2]}
    (warning,) = found["settings"]["warnings"]
    assert warning.startswith("cutoff: got 80 eV, but with GTH-LDA Al-q3 F is converged to 10 meV/atom at ")
    assert found["settings"]["energy_window"] == [snapshot.energy_grid.start, snapshot.energy_grid.stop]


@pytest.mark.filterwarnings("ignore:bands. got 12, too few below a tail")
def test_dft_with_a_number_of_bands_and_a_tail(tmp_path, capsys):
    write_structure(tmp_path / "al.extxyz", bulk("Al", "fcc", a=4.05))
    command = ["dft", tmp_path / "al.extxyz", "--electron-temperature", 40_000, "--kpts", 2, 2, 2, "--cutoff", 150]
    options = ["--energy-spacing", 1, "--energy-window", -15, 25]
    rows = {}
    for name, choice in {"some": ["--bands", 12], "whole": ["--bands", "all", "--no-tail"]}.items():
        (row,) = run_json(capsys, *command, *options, *choice, "--out", tmp_path / name)["rows"]
        rows[name] = Snapshot.load(row["file"])
    assert rows["some"].reference.tail_electrons > 0.001
    assert rows["whole"].reference.tail_electrons == 0
    assert (rows["some"].provenance["bands"], rows["whole"].provenance["bands"]) == (12, "all")
    assert rows["some"].reference.free_energy == pytest.approx(rows["whole"].reference.free_energy, abs=0.03)


def test_dft_prints_what_it_chose(tmp_path, capsys):
    write_structure(tmp_path / "mg.extxyz", bulk("Mg", "fcc", a=4.52))
    options = ["--electron-temperature", "30000", "--energy-spacing", "0.5"]
    command = ["dft", str(tmp_path / "mg.extxyz"), *options, "--out", str(tmp_path / "data")]
    assert main([*command, "--kpts", "2", "2", "2"]) == 0
    printed = capsys.readouterr()
    out, before = (" ".join(text.split()) for text in printed)
    soft, hard = cutoffs("pbe")["Mg-q2"], cutoffs("pbe")["Mg-q10"]
    assert "k-mesh 2 2 2" in before
    assert f"cutoff {soft:g} eV (default: F converged to 10 meV/atom; --cutoff)" in before
    assert f"pseudopotential GTH-PBE Mg-q2 (converged at {soft:g} eV)" in before
    assert f"also there: Mg-q10 (converged at {hard:g} eV) (--pseudopotentials Mg=Mg-q10)" in before
    assert "(default: for tau_e up to 30000 K)" in out
    assert f"DFT at tau_e = 30000 K, k-mesh 2 2 2, cutoff {soft:g} eV, GTH-PBE Mg-q2" in out
    snapshot = Snapshot.load(tmp_path / "data" / "mg.nc")
    assert snapshot.provenance["cutoff_eV"] == soft
    assert snapshot.reference.electrons == 2
    assert abs(snapshot.closure_error()) < 0.001  # the window holds the electrons of tau_ref
    # a folder of explicit settings is not continued with other ones
    assert main(command) == 1
    assert "made with k-spacing unknown (k-mesh [2, 2, 2]), expected 0.2" in " ".join(capsys.readouterr().err.split())


def test_settings_of_a_campaign_with_several_cells():
    cells = {"one": bulk("Al", "fcc", a=4.05), "four": bulk("Al", "fcc", a=4.05, cubic=True)}
    campaign = Campaign()
    found = used_settings(campaign, campaign.make_engine().for_elements(["Al"]), cells, 1000.0)
    assert found["kpts"] == {"one": [14, 14, 14], "four": [8, 8, 8]}
    assert found["chosen"] == ["cutoff", "kpts", "pseudopotentials"]
    assert found["warnings"] == []
    lines = settings_lines(found)
    assert lines[0].startswith("k-mesh 8 8 8 to 14 14 14, shift 1 1 1 (default: at most 0.2/Å between k-points")


def test_dft_goes_on_after_a_failure_and_ends_with_1(tmp_path, capsys):
    folder = tmp_path / "s"
    folder.mkdir()
    write_structure(folder / "a-tight.extxyz", bulk("Al", "fcc", a=1.9))
    write_structure(folder / "b-normal.extxyz", bulk("Al", "fcc", a=4.05))
    options = ["--electron-temperature", "3000", "--xc", "lda", "--cutoff", "80", "--energy-spacing", "0.5"]
    options += ["--kpts", "1", "1", "1"]
    assert main(["dft", str(folder), *options, "--out", str(tmp_path / "data")]) == 1
    captured = capsys.readouterr()
    assert "failed" in captured.err
    assert "a-tight" in captured.err
    assert [path.name for path in (tmp_path / "data").glob("*.nc")] == ["b-normal.nc"]
    assert "b-normal" in captured.out


def test_train_writes_a_model(work, tmp_path, capsys):
    command = ("train", work / "data", "--config", work / "train.toml", "--epochs", 2, "--seed", 5)
    result = run_json(capsys, *command, "--out", tmp_path / "new" / "al.safetensors")
    model = load_model(tmp_path / "new" / "al.safetensors")
    assert result["epochs"] == model.provenance["epochs"] == 2
    assert model.provenance["config"]["seed"] == 5
    assert result["elements"] == ["Al"]
    assert result["snapshots"] == 2


def test_train_stops_at_sigterm_and_resumes(work, tmp_path, capsys):
    words = ["train", f"{work}/data", "--config", f"{work}/train.toml", "--epochs", "250", "--log", f"{tmp_path}/log"]
    words += ["--out", str(tmp_path / "al.safetensors")]
    command = [sys.executable, "-c", "from fermisea.cli import main; raise SystemExit(main())", *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while "training 25/250" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert "holds the state" in process.communicate()[1].splitlines()[-1]
    assert process.returncode == 143
    assert {path.name for path in tmp_path.iterdir()} == {"log", "al.checkpoint"}
    assert main(words) == 2
    assert "holds an unfinished training" in capsys.readouterr().err
    assert main([*words, "--resume"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"log", "al.safetensors"}
    assert len((tmp_path / "log" / "training.csv").read_text().splitlines()) == 251
    other = tmp_path / "other.safetensors"
    assert main([*words[:-1], str(other)]) == 0
    one, two = load_model(other).network.state_dict(), load_model(tmp_path / "al.safetensors").network.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_predict_writes_tables_figures_and_cubes(work, tmp_path, capsys):
    out = tmp_path / "out"
    command = ("predict", work / "al.safetensors", work / "al.extxyz", "--electron-temperature", 300, 2000)
    result = run_json(capsys, *command, "--grid", 5, 6, 4, "--cube", "density", "--out", out)
    prediction = load_model(work / "al.safetensors").predict(structure(7), [300.0, 2000.0], (5, 6, 4))
    for name in ("free_energy", "entropy", "fermi_level", "heat_capacity", "transfer_error"):
        got = [row[name] for row in result["rows"]]
        np.testing.assert_allclose(got, getattr(prediction, name), rtol=1e-6, atol=1e-9)
    names = {"observables.csv", "observables_per_atom.csv", "dos.csv", "density-300K.cube", "density-2000K.cube"}
    names |= {f"{stem}.{suffix}" for stem in ("dos", "free_energy") for suffix in ("png", "svg")}
    assert names == {path.rsplit("/", 1)[1] for path in result["files"]}
    assert {path.name for path in out.iterdir()} == names | {"report.json"}
    table = rows_of(out / "observables.csv")
    assert [float(row["free_energy (eV)"]) for row in table] == [row["free_energy"] for row in result["rows"]]
    table = rows_of(out / "observables_per_atom.csv")
    assert [4 * float(row["F (eV/atom)"]) for row in table] == [row["free_energy"] for row in result["rows"]]
    table = rows_of(out / "dos.csv")
    np.testing.assert_allclose([float(row["dos (1/eV)"]) for row in table], prediction.dos, rtol=1e-5, atol=1e-6)
    per_atom = [4 * float(row["dos_per_atom (1/(eV atom))"]) for row in table]
    np.testing.assert_allclose(per_atom, [float(row["dos (1/eV)"]) for row in table], rtol=1e-12)
    values, _ = read_cube_data(str(out / "density-2000K.cube"))
    assert values.shape == (5, 6, 4)


def test_predict_writes_forces_and_marks_what_is_zero_at_tau_ref(work, tmp_path, capsys):
    words = ["predict", str(work / "al.safetensors"), str(work / "al.extxyz"), "--electron-temperature", "300", "1000"]
    assert main([*words, "--grid", "6", "6", "6", "--forces", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    frames = ase.io.read(tmp_path / "forces.extxyz", index=":")
    forces, stresses = rows_of(tmp_path / "forces.csv"), rows_of(tmp_path / "stress.csv")
    assert [float(row["electron_temperature (K)"]) for row in stresses] == [300, 1000]
    for k, frame in enumerate(frames):
        table = [[float(row[f"force_{axis} (eV/Angstrom)"]) for axis in "xyz"] for row in forces[4 * k : 4 * k + 4]]
        np.testing.assert_allclose(table, frame.get_forces(), atol=1e-7)
        names = ("xx", "yy", "zz", "yz", "xz", "xy")
        stress = [float(stresses[k][f"stress_{name} (eV/Angstrom^3)"]) for name in names]
        np.testing.assert_allclose(stress, frame.get_stress(), atol=1e-7)
        pressure = float(stresses[k]["pressure (GPa)"])
        assert pressure == pytest.approx(-frame.get_stress()[:3].mean() / fermisea.units.GIGAPASCAL, abs=1e-4)
    cold, reference = rows_of(tmp_path / "observables_per_atom.csv")
    assert float(cold["transfer error (meV/atom)"]) > 0
    assert reference["transfer error (meV/atom)"] == ""
    (line,) = (line for line in out.splitlines() if line.startswith("│ 1000") and "—" in line)
    assert line.count("—") == 1
    assert main(["report", str(tmp_path)]) == 0
    page = (tmp_path / "report.html").read_text()
    for heading in ("Free energy", "Density of states", "Forces and stress", "All observables"):
        assert f"<h2>{heading}</h2>" in page
    assert "Al4, 4 atoms: prediction by the model al" in page


def test_predict_prints_a_table(work, tmp_path, capsys):
    words = [str(work / "al.safetensors"), str(work / "al.extxyz"), "--electron-temperature", "300"]
    assert main(["predict", *words, "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "F (eV/atom)" in out
    assert "Al4, 4 atoms" in out
    assert not (tmp_path / "out" / "free_energy.png").exists()  # a single temperature makes no curve


def test_predict_needs_a_model_and_a_structure(work, tmp_path, capsys, monkeypatch):
    write_structure(tmp_path / "al.extxyz", structure(7))
    monkeypatch.chdir(tmp_path)
    words = ["predict", str(work / "al.safetensors"), "al.extxyz", "--grid", "8", "8", "8"]
    assert main([*words, "--forces", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["electron_temperature"] for row in found["rows"]] == [1000.0]
    assert found["files"] == []
    assert main(words) == 0
    assert "files:" not in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["al.extxyz"]
    assert main([*words, "--cube", "density"]) == 2
    assert "--cube density: no folder for the files; add --out FOLDER" in capsys.readouterr().err


@pytest.mark.parametrize(("scale", "warned"), [(1.0, False), (1.02, True)])
def test_predict_warns_of_a_volume_that_training_had_not(work, tmp_path, capsys, scale, warned):
    atoms = structure(7)
    atoms.set_cell(scale * atoms.cell.array, scale_atoms=True)
    write_structure(tmp_path / "al.extxyz", atoms)
    words = [str(work / "al.safetensors"), str(tmp_path / "al.extxyz"), "--electron-temperature", "1000"]
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main(["predict", *words, "--grid", "8", "8", "8", "--out", str(tmp_path / "out")]) == 0
    shown = " ".join(capsys.readouterr().err.split())
    volume, known = atoms.get_volume() / len(atoms), structure(7).get_volume() / len(atoms)
    text = f"warning: volume: got {volume:.2f} Å³ per atom, outside the training range of {known:.2f}"
    assert (text in shown) == ("warning" in shown) == warned


def test_predict_without_the_density(work, tmp_path, capsys):
    words = [str(work / "al.safetensors"), str(work / "al.extxyz"), "--electron-temperature", "300", "2000"]
    command = ("predict", *words, "--grid", 8, 8, 8, "--no-density", "--out", tmp_path / "out")
    result = run_json(capsys, *command)
    expected = load_model(work / "al.safetensors").predict(structure(7), [300.0, 2000.0], (8, 8, 8))
    np.testing.assert_allclose([row["band_energy"] for row in result["rows"]], expected.band_energy, rtol=1e-6)
    assert not any("free_energy" in name and "band" not in name for row in result["rows"] for name in row)
    names = {"observables.csv", "observables_per_atom.csv", "dos.csv", "dos.png", "dos.svg", "report.json"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    assert main(["predict", *words, "--no-density", "--out", str(tmp_path / "table")]) == 0
    out = capsys.readouterr().out
    assert "E_b (eV/atom)" in out
    assert "F (eV/atom)" not in out
    assert "±" not in out


@pytest.mark.usefixtures("_bfloat16")
def test_predict_says_what_short_cuts_cost(work, tmp_path, capsys):
    words = [str(work / "al.safetensors"), str(work / "al.extxyz"), "--electron-temperature", "300", "2000"]
    options = ["--grid", "12", "12", "12", "--dos-grid", "6", "6", "6", "--precision", "bfloat16"]
    assert main(["predict", *words, *options, "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert re.search(r"the grid of the DOS changes E_b - TS by at most [+-]\d+\.\d{3} meV/atom", out)
    assert re.search(r"bfloat16 changes E_b - TS by at most [+-]\d+\.\d{3} meV/atom", out)
    rows = rows_of(tmp_path / "out" / "observables.csv")
    prediction = load_model(work / "al.safetensors").predict(
        structure(7), [300.0, 2000.0], (12, 12, 12), dos_grid=(6, 6, 6), precision="bfloat16"
    )
    got = [float(row["dos_grid_error (eV)"]) for row in rows]
    np.testing.assert_allclose(got, prediction.dos_grid_error, rtol=0.02)
    got = [float(row["precision_error_band_free_energy (eV)"]) for row in rows]
    np.testing.assert_allclose(got, prediction.precision_error, rtol=0.02)  # rounding of the positions in the file


def test_evaluate_compares_with_snapshots(work, tmp_path, capsys):
    command = ("evaluate", work / "al.safetensors", work / "data", "--electron-temperature", 300, 1000)
    result = run_json(capsys, *command, "--out", tmp_path / "errors")
    assert [row["file"] for row in result["rows"]] == [f"al-{n}.nc" for n in "0011"]
    assert [row["electron_temperature"] for row in result["summary"]] == [300, 1000]
    assert {path.name for path in (tmp_path / "errors").iterdir()} == {
        "errors.csv",
        "summary.csv",
        "errors.json",
        "errors.png",
        "errors.svg",
        "report.json",
    }
    for name in ("errors", "summary"):
        heads = list(rows_of(tmp_path / "errors" / f"{name}.csv")[0])
        assert {"electron_temperature (K)", "free_energy_error (eV/atom)", "density_error_percent (%)"} <= set(heads)
        bare = {head for head in heads if "(" not in head}
        assert bare <= {"file", "snapshot", "snapshots", "formula", "atoms"}
    assert main([*map(str, command)]) == 0
    out = capsys.readouterr().out
    assert "density" in out
    assert "(%)" in out
    line = next(line for line in out.splitlines() if " 300 │" in line and "1000" not in line)
    assert line.count("—") == 1  # F(tau_ref) has a meaning at tau_ref alone


def test_info_shows_both_kinds_of_file(work, capsys):
    snapshot = run_json(capsys, "info", work / "data" / "al-0.nc")
    assert (snapshot["kind"], snapshot["atoms"], snapshot["ion_temperature"]) == ("snapshot", 4, 300)
    model = run_json(capsys, "info", work / "al.safetensors")
    assert (model["kind"], model["elements"], model["network"][1]) == ("model", ["Al"], 16)
    for name in ("data/al-0.nc", "al.safetensors"):
        assert main(["info", str(work / name)]) == 0
        assert "broadening" in capsys.readouterr().out


def test_sampled_temperatures_are_kept_when_a_later_one_is_interrupted(tmp_path, monkeypatch, capsys):
    honest = fermisea.sample

    def interrupted(atoms, temperature, *arguments, **options):
        if temperature == 500.0:
            raise KeyboardInterrupt
        return honest(atoms, temperature, *arguments, **options)

    monkeypatch.setattr(fermisea, "sample", interrupted)
    write_structure(tmp_path / "Al.extxyz", bulk("Al", "fcc", a=4.05, cubic=True))
    words = ["sample", str(tmp_path / "Al.extxyz"), "--ion-temperature", "300", "500", "--snapshots", "1"]
    assert main([*words, "--thermalise", "0", "--spacing", "0.01", "--out", str(tmp_path / "s")]) == 130
    assert capsys.readouterr().err.endswith(
        "fermisea: interrupted; finished files are kept, the same command starts again\n"
    )
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["Al-300K-00.extxyz"]


def test_interruption_ends_with_130_and_one_line(tmp_path):
    write_structure(tmp_path / "Al.extxyz", bulk("Al", "fcc", a=4.05, cubic=True))
    # a shell starts background jobs deaf to the signal; this one shall hear it
    hear = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f"{hear}; import sys; from fermisea.cli import main; sys.exit(main())"]
    words = ["sample", str(tmp_path / "Al.extxyz"), "--ion-temperature", "300", "--thermalise", "1000000"]
    process = subprocess.Popen(
        [*command, *words, "--out", str(tmp_path / "s")],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TERM": "dumb"},
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "s").exists() and time.monotonic() < deadline:  # made once the work begins
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "fermisea: interrupted; finished files are kept, the same command starts again"
    assert not (tmp_path / "s").exists()


def test_a_folder_of_frames_is_accepted(tmp_path, capsys, work):
    ase.io.write(tmp_path / "two.traj", [structure(1), structure(2)])
    words = [str(work / "al.safetensors"), f"{tmp_path}/two.traj@1", "--electron-temperature", "1000"]
    assert main(["predict", *words, "--out", str(tmp_path / "o")]) == 0
    assert main(["predict", *words[:1], f"{tmp_path}/two.traj", *words[2:], "--out", str(tmp_path / "o")]) == 2
    assert "choose a frame as in" in capsys.readouterr().err
