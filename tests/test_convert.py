"""``fermisea convert``, and every command and block of Python in the page about files."""

from __future__ import annotations

import glob
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import fermisea
from fermisea.cli import main
from fermisea.data.snapshot import Snapshot
from fermisea.data.structures import write_structure
from fermisea.interop.cube import read_cube
from fermisea.interop.ldos_cubes import UNIT, ldos_from_cubes
from synthetic import made_up_snapshot, structure

DATA = Path(__file__).parent / "data"
CUBES = DATA / "mala-be2" / "cubes"
PAGE = Path(__file__).parents[1] / "docs" / "files.md"
CONFIG = "order = 1\nhidden = [8]\nepochs = 1\nvalidation_fraction = 0.0\n"
COMMANDS = ("cube", "espresso", "mala", "openpmd")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Snapshots, a model, a structure, cube files and files of MALA, named as in the page."""
    folder = tmp_path_factory.mktemp("convert")
    for name in ("Be_snapshot0.out.npy", "Be_snapshot0.info.json", "Be_model.zip"):
        shutil.copy(DATA / "mala-be2" / name, folder / name)
    (folder / "data").mkdir()
    for seed in range(2):
        made_up_snapshot(seed).save(folder / "data" / f"al-{seed}.nc")
    write_structure(folder / "al.extxyz", structure(7))
    (folder / "train.toml").write_text(CONFIG)
    command = ["train", f"{folder}/data", "--out", f"{folder}/al.safetensors", "--config", f"{folder}/train.toml"]
    assert main(command) == 0
    shutil.copytree(CUBES, folder / "cubes")
    return folder


@pytest.fixture
def work(prepared, tmp_path, monkeypatch):
    """A copy of it that is the working folder."""
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, words):
    """Runs a command line as the shell would and returns its status, output and errors."""
    capsys.readouterr()
    arguments = [name for word in shlex.split(words) for name in (sorted(glob.glob(word)) if "*" in word else [word])]  # noqa: PTH207
    status = main(arguments)
    return status, *capsys.readouterr()


def content(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_every_block_of_the_page_runs(work, capsys):
    blocks = re.findall(r"```(bash|python)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) > 7
    before, names = content(work), {}
    for kind, text in blocks:
        if kind == "python":
            exec(compile(text, str(PAGE), "exec"), names)  # noqa: S102
            continue
        for line in text.strip().splitlines():
            program, _, words = line.partition(" ")
            assert program == "fermisea"
            status, _, error = run(capsys, words)
            assert status == 0, (line, error)
    after = content(work)
    assert {name: after[name] for name in before} == before  # input is left as it was
    # a snapshot that went through cube or openPMD files is the same again
    one = Snapshot.load("data/al-0.nc")
    back, again = Snapshot.load("back.nc"), Snapshot.load("again.nc")
    assert back.to_xarray().identical(one.to_xarray())
    np.testing.assert_array_equal(again.ldos, one.ldos)
    np.testing.assert_allclose(again.density, one.density, rtol=1e-11)
    np.testing.assert_array_equal(np.load("mala-data/al-1.out.npy"), Snapshot.load("data/al-1.nc").ldos)
    [slice_file] = Path("slice").iterdir()
    np.testing.assert_allclose(read_cube(slice_file).field(UNIT), one.ldos[..., 16], rtol=1e-11)
    model = fermisea.load_model("al.safetensors")
    predicted = model.ldos(structure(7))
    np.testing.assert_allclose(ldos_from_cubes("ldos/*.cube", model.energy_grid), predicted, rtol=1e-6, atol=1e-9)


def test_help_has_examples_and_takes_no_time(capsys):
    for command in COMMANDS:
        assert main(["convert", command, "--help"]) == 0
        assert f"Example: fermisea convert {command} " in " ".join(capsys.readouterr().out.split())
    assert main(["convert", "--help"]) == 0
    out = capsys.readouterr().out
    assert all(f" {command} " in out for command in COMMANDS)
    program = """
import sys
from fermisea.cli import main
main(["convert", "--help"])
assert not {"torch", "ase", "h5py", "xarray", "scipy"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_json_says_what_was_made(work, capsys):
    command = "convert cube cubes --electron-temperature 300 --valence Be=2 --constants mala --out be.nc --json"
    status, out, _ = run(capsys, command)
    assert status == 0
    found = json.loads(out)
    assert found["file"] == "be.nc"
    assert found["energies_eV"] == {"start": -5.0, "stop": 20.0, "spacing": 2.5, "size": 11}
    assert found["broadening_eV"] == pytest.approx(9.069, abs=1e-3)
    assert found["electrons"] == 4.0
    assert "core charge is unknown" in found["obstacle_to_total_energies"]
    snapshot = Snapshot.load(work / "be.nc")
    np.testing.assert_array_equal(snapshot.ldos, np.load(DATA / "mala-be2" / "Be_snapshot0.out.npy"))
    assert snapshot.total_energy_obstacle == found["obstacle_to_total_energies"]
    assert snapshot.highest_electron_temperature > 0
    status, out, _ = run(capsys, "convert openpmd be.nc --out be.h5 --json")
    assert json.loads(out) == {"files": ["be.h5"]}
    status, out, _ = run(capsys, "convert cube be.nc --energy 0 --out one --json")
    assert json.loads(out) == {"files": ["one/ldos-003.cube"]}


def test_pseudopotentials_bring_valence_and_core_charge(work, capsys):
    upf = DATA / "pseudopotentials" / "PD_Al_std.upf"
    assert run(capsys, "convert cube data/al-0.nc --out fields")[0] == 0
    files = "fields/ldos-*.cube --electron-temperature 1000 --broadening 0.5 --ion-temperature 300"
    status, _, error = run(capsys, f"convert cube {files} --pseudopotentials Al={upf} --structure al.extxyz --out b.nc")
    assert status == 2
    assert "got a structure that differs from the cube files" in error
    status, _, error = run(capsys, f"convert cube {files} --pseudopotentials Al={upf} --out al.nc")
    assert status == 0, error
    snapshot = Snapshot.load(work / "al.nc")
    assert snapshot.ions["Al"].core is not None
    assert snapshot.total_energy_obstacle is None
    assert np.isfinite(snapshot.free_energy(1000.0))
    assert snapshot.ion_temperature == 300.0


INFO = "Be_snapshot0.info.json"
BASE = "convert cube cubes --electron-temperature 300 --valence Be=2"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("convert cube cubes --valence Be=2 --out x.nc", "--electron-temperature: missing"),
        ("convert cube cubes --electron-temperature 300 --out x.nc", "Be: number of valence electrons is unknown"),
        ("convert cube cubes --electron-temperature 300 --valence Be=two --out x.nc", "expected SYMBOL=ELECTRONS"),
        ("convert cube cubes --electron-temperature -1 --valence Be=2 --out x.nc", "expected a finite value above 0 K"),
        (f"{BASE} --out x.h5", "expected a name that ends with .nc"),
        (f"{BASE} --out data/al-0.nc", "data/al-0.nc: the file exists already"),
        (f"{BASE} --energies -5 2.4 11 --out x.nc", "states an energy of -2.5 eV"),
        (f"{BASE} --energies -5 2.5 12 --out x.nc", "expected one for each of 12 energies"),
        (f"{BASE} --density al.extxyz --out x.nc", "al.extxyz: the header is not the header of a cube file"),
        (f"{BASE} --pseudopotentials Be=gone.upf --out x.nc", "gone.upf: cannot be read"),
        (f"{BASE} --pseudopotentials Be= --out x.nc", "expected gth, or SYMBOL=FILE"),
        (f"{BASE} --smearing cold --out x.nc", "is not one of"),
        ("convert cube data --electron-temperature 300 --valence Be=2 --out x.nc", "data: got no cube files"),
        ("convert cube data/al-0.nc --energy 99 --out x", "energy: got 99.0 eV"),
        ("convert cube data/al-0.nc --out cubes", "the file exists already"),
        ("convert cube gone.nc --out x", "gone.nc: no such file"),
        ("convert openpmd gone.h5 --out x.nc", "gone.h5: no such file"),
        ("convert openpmd gone.nc --out x.h5", "gone.nc: no such file"),
        ("convert openpmd al.extxyz --out x.nc", "not readable as openPMD"),
        ("convert openpmd data/al-0.nc --out x.nc", "expected a name that ends with .h5"),
        ("convert mala al.extxyz --out x.nc", "expected LDOS.npy and INFO.json"),
        ("convert mala a.npy b.json --out x.nc", "--energies: missing"),
        ("convert mala a.zip --out x.nc", "ends with .safetensors"),
        ("convert mala data data/al-0.nc cubes --out x", "cubes: no snapshots"),
        ("convert mala data --twojmax 99 --out x", "twojmax: got 99"),
        ("convert mala Be_model.zip --pseudopotentials gth --out x.safetensors", "expected SYMBOL=FILE"),
        ("convert mala Be_model.zip --layer-activations old --out x.safetensors", "is not one of"),
        (f"convert mala Be_snapshot0.out.npy {INFO} --energies -5 2.5 12 --broadening 9 --out x.nc", "11"),
        (f"convert mala gone.npy {INFO} --energies -5 2.5 11 --broadening 9 --out x.nc", "gone.npy: no such file"),
        ("convert espresso run --out x.h5", "expected a name that ends with .nc"),
        ("convert cubes", "No such command 'cubes'"),
        ("convert openpmd data/al-0.nc", "See fermisea convert openpmd --help"),
    ],
)
def test_wrong_input_ends_in_one_line_and_writes_nothing(work, capsys, command, message):
    before = content(work)
    status, out, error = run(capsys, command)
    assert status == 2
    assert message in error
    assert error.startswith("fermisea: ")
    assert error.count("\n") == 1
    assert not out
    assert content(work) == before


def test_output_is_replaced_when_told(work, capsys):
    (work / "x.h5").write_text("old")
    assert run(capsys, "convert openpmd data/al-0.nc --out x.h5 --overwrite")[0] == 0
    with h5py.File(work / "x.h5") as file:
        assert file.attrs["openPMD"] == b"1.1.0"
    assert run(capsys, "convert mala data --twojmax 2 --out m")[0] == 0
    status, _, error = run(capsys, "convert mala data --twojmax 2 --out m")
    assert status == 2
    assert "--overwrite" in error
    assert run(capsys, "convert mala data --twojmax 2 --out m --overwrite")[0] == 0


def test_two_snapshots_of_one_name_are_refused(work, capsys):
    shutil.copytree(work / "data", work / "more")
    (work / "more" / "al-0.nc").write_bytes((work / "data" / "al-1.nc").read_bytes())
    status, _, error = run(capsys, "convert mala data more/al-0.nc --out m")
    assert status == 2
    assert "another snapshot has the name al-0 too" in error


def test_ldos_and_model_of_mala(work, capsys):
    """The numbers are those of test_mala.py; here the command hands on what it was given."""
    options = "--energies -5 2.5 11 --broadening 0.1 --ion-temperature 298 --functional pbe"
    status, _, error = run(capsys, f"convert mala {INFO} Be_snapshot0.out.npy {options} --out be.nc")
    assert status == 0, error
    snapshot = Snapshot.load(work / "be.nc")
    np.testing.assert_array_equal(snapshot.ldos, np.load("Be_snapshot0.out.npy"))
    assert snapshot.broadening.standard_deviation == 0.1
    assert snapshot.ion_temperature == 298.0
    assert snapshot.functional == "pbe"
    status, out, error = run(capsys, "convert mala Be_model.zip --broadening 0.1 --out be.safetensors --json")
    assert status == 0, error
    assert json.loads(out)["broadening_eV"] == 0.1
    model = fermisea.load_model(work / "be.safetensors")
    assert model.broadening.standard_deviation == 0.1
    # both readings of the activations are there to be chosen, and differ
    for reading in ("legacy", "current"):
        command = f"convert mala Be_model.zip {INFO} --broadening 0.1 --layer-activations {reading}"
        status, _, error = run(capsys, f"{command} --out {reading}.safetensors")
        assert status == 0, error
    legacy, current = (fermisea.load_model(f"{name}.safetensors") for name in ("legacy", "current"))
    shape = (2, 2, 2)
    np.testing.assert_array_equal(legacy.ldos(snapshot.atoms, shape), model.ldos(snapshot.atoms, shape))
    assert not np.allclose(current.ldos(snapshot.atoms, shape), model.ldos(snapshot.atoms, shape))


def test_exported_data_set_is_read_again(work, capsys):
    assert run(capsys, "convert mala data/al-0.nc --twojmax 2 --out m")[0] == 0
    command = "convert mala m/al-0.out.npy m/al-0.info.json --energies -6 0.5 36 --broadening 0.5 --out again.nc"
    status, _, error = run(capsys, command)
    assert status == 0, error
    one, again = Snapshot.load(work / "data/al-0.nc"), Snapshot.load(work / "again.nc")
    np.testing.assert_array_equal(again.ldos, one.ldos)
    np.testing.assert_array_equal(again.atoms.positions, one.atoms.positions)
    np.testing.assert_allclose(again.grid.lattice, one.grid.lattice, rtol=1e-14)
    assert again.electrons == one.electrons
    assert again.electron_temperature == one.electron_temperature
    assert again.reference.free_energy == one.reference.free_energy
    assert again.reference.fermi_level == one.reference.fermi_level
    assert again.reference.entropy_term == one.reference.entropy_term
