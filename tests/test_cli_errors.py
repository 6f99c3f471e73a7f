"""Wrong input through the real command line: one line on standard error, exit status 2, nothing written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from ase.build import bulk

from fermisea import engines
from fermisea.cli import main
from fermisea.data.structures import write_structure
from synthetic import made_up_snapshot, structure

UPF = Path(__file__).parent / "data" / "pseudopotentials" / "Al.gth-pbe.upf"
CONFIG = "order = 1\nhidden = [8]\nepochs = 1\nvalidation_fraction = 0.0\n"


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder of good and bad input: a real snapshot, damaged copies, a model, structures, settings."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "data").mkdir()
    (folder / "real").mkdir()
    engine = engines.PlaneWave(cutoff=80.0, kpts=(2, 2, 2), ldos=engines.LdosOptions(spacing=0.5, broadening=0.5))
    engine.run(bulk("Al", "fcc", a=4.05), 3000.0).save(folder / "real" / "al.nc")
    whole = (folder / "real" / "al.nc").read_bytes()
    (folder / "truncated.nc").write_bytes(whole[: len(whole) // 2])
    (folder / "almost.nc").write_bytes(whole[:-1])
    (folder / "empty.nc").write_bytes(b"")
    for number, place in enumerate((3, len(whole) // 3, len(whole) // 2, len(whole) - 200, len(whole) - 2)):
        flipped = bytearray(whole)
        flipped[place] ^= 0b100
        (folder / f"flipped-{number}.nc").write_bytes(flipped)
    for seed in range(2):
        made_up_snapshot(seed).save(folder / "data" / f"al-{seed}.nc")

    (folder / "train.toml").write_text(CONFIG)
    (folder / "unknown.toml").write_text("epoks = 3\n")
    (folder / "broken.toml").write_text("epochs = = 3\n")
    (folder / "negative.toml").write_text("learning_rate = -1.0\n")
    assert (
        main(["train", f"{folder}/data", "--out", f"{folder}/al.safetensors", "--config", f"{folder}/train.toml"]) == 0
    )
    model = (folder / "al.safetensors").read_bytes()
    (folder / "truncated.safetensors").write_bytes(model[: len(model) // 2])
    (folder / "flipped.safetensors").write_bytes(model[:-9] + bytes([model[-9] ^ 1]) + model[-8:])
    (folder / "text.safetensors").write_text("not a model")
    safetensors.torch.save_file({"weight": torch.ones(3)}, folder / "other.safetensors")
    torch.save({"weight": torch.ones(3)}, folder / "pickle.safetensors")

    write_structure(folder / "al.extxyz", structure(7))
    write_structure(folder / "au.extxyz", structure(7, symbol="Au"))
    write_structure(folder / "pu.extxyz", structure(7, symbol="Pu"))
    nan = structure(7)
    nan.positions[2, 1] = np.nan
    write_structure(folder / "nan.extxyz", nan)
    molecule = structure(7)
    molecule.pbc = (True, True, False)
    write_structure(folder / "slab.extxyz", molecule)
    (folder / "ultrasoft.upf").write_text(UPF.read_text().replace('pseudo_type="NC"', 'pseudo_type="USPP"'))
    (folder / "nothing").mkdir()
    (folder / "file").write_text("in the way\n")
    return folder


PREDICT = "predict al.safetensors al.extxyz --electron-temperature"
DFT = "dft al.extxyz --electron-temperature 1000 --cutoff 80 --out out"
LEARN = "--config train.toml --out out/new.safetensors"
CASES = {
    # snapshot files
    "a truncated snapshot to train on": (f"train truncated.nc {LEARN}", "truncated.nc: truncated"),
    "a truncated snapshot beside a good one": (f"train real/al.nc truncated.nc {LEARN}", "truncated.nc: truncated"),
    "a snapshot without its last byte": (f"train almost.nc {LEARN}", "almost.nc: truncated"),
    "an empty snapshot": ("info empty.nc", "empty.nc: not a snapshot"),
    "a truncated snapshot to compare with": ("evaluate al.safetensors truncated.nc --out out", "truncated.nc"),
    "a truncated snapshot to look at": ("info truncated.nc", "truncated.nc: truncated"),
    **{
        f"a flipped bit, {command}, place {number}": (f"{command} flipped-{number}.nc {rest}", f"flipped-{number}.nc")
        for command, rest in (("info", ""), ("train", LEARN), ("evaluate al.safetensors", "--out out"))
        for number in range(5)
    },
    "snapshots that do not belong together": (f"train data real {LEARN}", "expected the same value in all snapshots"),
    "a snapshot that the model does not fit": ("evaluate al.safetensors real --out out", "snapshot 0: its energy grid"),
    "a folder without snapshots": (f"train nothing {LEARN}", "nothing"),
    "no such snapshot": ("info missing.nc", "missing.nc: no such file"),
    # structures
    "positions that are not numbers, dft": (
        DFT.replace("al.ext", "nan.ext"),
        "nan.extxyz: atom 2 (Al) is at",
        "finite",
    ),
    "positions that are not numbers, predict": (
        PREDICT.replace("al.ext", "nan.ext") + " 1000 --out out",
        "nan.extxyz: atom 2 (Al) is at",
    ),
    "positions that are not numbers, sample": (
        "sample nan.extxyz --ion-temperature 300 --out out",
        "nan.extxyz: atom 2",
    ),
    "a slab": (DFT.replace("al.ext", "slab.ext"), "slab.extxyz: got pbc [True, True, False]"),
    "no such structure": (DFT.replace("al.ext", "missing.ext"), "missing.extxyz: no such file"),
    "a structure file that is none": (
        "predict al.safetensors file --electron-temperature 300 --out out",
        "file: not a",
    ),
    "a folder without structures": (DFT.replace("al.extxyz", "nothing"), "nothing: no structure files in this folder"),
    "an element that the model does not know": (
        PREDICT.replace("al.ext", "au.ext") + " 1000 --out out",
        "element Au",
        "the model knows Al",
    ),
    "an element that the calculator does not know": (
        "sample pu.extxyz --ion-temperature 300 --out out",
        "calculator emt: fails for Pu4",
    ),
    # pseudopotentials
    "an element without a pseudopotential": (DFT.replace("al.ext", "pu.ext"), "Pu"),
    "a pseudopotential file that is missing": (f"{DFT} --pseudopotentials Al=missing.upf", "missing.upf"),
    "a pseudopotential for another element": (f"{DFT} --pseudopotentials Au={UPF}", "Al"),
    "an ultrasoft pseudopotential": (f"{DFT} --pseudopotentials Al=ultrasoft.upf", "ultrasoft"),
    "a pseudopotential that is none": (f"{DFT} --pseudopotentials Al=file", "file"),
    # temperatures
    **{
        f"tau_e of {value}, {name}": (command.replace("TAU", value), "electron temperature: ", value.strip("-"))
        for value in ("0", "-300", "nan", "inf")
        for name, command in (
            ("predict", f"{PREDICT} 1000 TAU --out out"),
            ("dft", DFT.replace("1000", "TAU")),
            ("evaluate", "evaluate al.safetensors data --electron-temperature TAU --out out"),
        )
    },
    "tau_e beyond the window": (f"{PREDICT} 300 90000 --no-tail --out out", "got 90000 K", "is valid up to"),
    "tau_e beyond the tail": (
        f"{PREDICT} 300 90000 --out out",
        "tail: at tau_e = 90000 K",
        "meV/atom, expected at most",
    ),
    "tau_e beyond the tail, evaluate": (
        "evaluate al.safetensors data --electron-temperature 90000 --out out",
        "tail: at tau_e = 90000 K",
        "meV/atom, expected at most",
    ),
    "tau_i of 0": ("sample al.extxyz --ion-temperature 0 --out out", "ion temperature: got 0.0"),
    # model files
    **{
        f"a model file that is {name}": (f"predict {name} al.extxyz --electron-temperature 300 --out out", f"{name}: ")
        for name in (
            "truncated.safetensors",
            "flipped.safetensors",
            "text.safetensors",
            "other.safetensors",
            "pickle.safetensors",
            "real/al.nc",
            "nothing",
            "missing.safetensors",
        )
    },
    "a model by another name": (f"train data {LEARN}".replace("new.safetensors", "new.pkl"), "ends with .safetensors"),
    "a frame that is not there": (
        PREDICT.replace("extxyz", "extxyz@3") + " 1000 --out out",
        "got frame 3, which is not in the file",
    ),
    "no structures to sample": ("sample al.extxyz --ion-temperature 300 --snapshots 0 --out out", "snapshots: got 0"),
    "a tau_e near zero": (f"{PREDICT} 1 --out out", "got 1 K, expected at least 5 K"),
    "a report of nothing": ("report missing", "missing: no such folder"),
    # output
    **{
        f"output at {place}, {name}": (command.replace(" out", f" {place}"), place)
        for place in ("file", "file/below", "/proc/fermisea/below")
        for name, command in (
            ("sample", "sample al.extxyz --ion-temperature 300 --thermalise 0 --spacing 0.01 --out out"),
            ("dft", DFT),
            ("predict", f"{PREDICT} 1000 --out out"),
            ("evaluate", "evaluate al.safetensors data --out out"),
        )
    },
    "a model to be written below a file": ("train data --config train.toml --out file/new.safetensors", "file"),
    "a model to be written over a folder": ("train data --config train.toml --out nothing", "nothing"),
    # settings
    "an unknown key, train": (
        f"train data {LEARN}".replace("train.toml", "unknown.toml"),
        "unknown key epoks",
        "the known keys are descriptor, order",
    ),
    "an unknown key, dft": (
        f"{DFT} --config unknown.toml",
        "unknown key epoks",
        "the known keys are engine, xc, cutoff",
    ),
    "a TOML file that is none": (f"train data {LEARN}".replace("train.toml", "broken.toml"), "broken.toml: not a TOML"),
    "a TOML value out of range": (
        f"train data {LEARN}".replace("train.toml", "negative.toml"),
        "got -1",
    ),
    "no such TOML file": (f"{DFT} --config missing.toml", "missing.toml: cannot be read"),
    "an unknown functional": (f"{DFT} --xc b3lyp", "b3lyp", "pbesol"),
    "a cutoff of zero": (DFT.replace("--cutoff 80", "--cutoff 0"), "cutoff: got 0.0 eV"),
    "a k-mesh of zero": (f"{DFT} --kpts 0 2 2", "kpts: got (0, 2, 2)"),
    "a broadening below the spacing": (f"{DFT} --energy-spacing 0.4 --broadening 0.1", "got broadening 0.1 eV"),
    # usage
    "a density where there is none": (f"{PREDICT} 1000 --no-density --cube density --out out", "--no-density"),
    "a precision that does not exist": (f"{PREDICT} 1000 --precision float16 --out out", "float16", "bfloat16"),
    "a grid of the DOS without points": (f"{PREDICT} 1000 --dos-grid 4 0 4 --out out", "grid shape"),
    "a missing option": ("dft al.extxyz --out new-data", "--electron-temperature"),
    "an unknown option": (f"{DFT} --functional pbe", "--functional"),
    "an unknown command": ("forces al.safetensors", "forces"),
    "an unknown engine": (f"{DFT} --engine vasp", "planewave"),
    "two numbers where three belong": (
        f"{PREDICT} 1000 --grid 24 24 --out out",
        "'--grid': got '24 24', expected three numbers: --grid N N N",
    ),
    "no numbers where two belong": (f"{DFT} --energy-window --json", "got nothing, expected two numbers"),
    "a word where a number belongs": (
        "predict al.safetensors al.extxyz --electron-temperature hot --out out",
        "valid number",
    ),
}


def tree(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("case", CASES)
def test_wrong_input_is_one_line_and_status_2(work, monkeypatch, capsys, case):
    monkeypatch.chdir(work)
    words, *expected = CASES[case]
    before = tree(work)
    capsys.readouterr()
    status = main(words.split())
    captured = capsys.readouterr()
    assert status == 2, captured.err
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("fermisea: ")
    assert all(text in lines[0] for text in expected), lines[0]
    assert tree(work) == before


def test_nothing_is_lost_where_a_result_was_there(work, monkeypatch, capsys):
    monkeypatch.chdir(work)
    before = (work / "al.safetensors").read_bytes()
    assert main(["train", "truncated.nc", "--config", "train.toml", "--out", "al.safetensors"]) == 2
    assert "truncated.nc" in capsys.readouterr().err
    assert (work / "al.safetensors").read_bytes() == before


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(work, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(work)
    (tmp_path / "locked").mkdir(mode=0o500)
    assert main(f"{PREDICT} 1000 --out {tmp_path}/locked".split()) == 2
    assert "cannot write files to this folder" in capsys.readouterr().err


@pytest.mark.parametrize("case", ["a truncated snapshot to look at", "a missing option"])
def test_the_installed_command_behaves_alike(work, case):
    words, *expected = CASES[case]
    command = [str(Path(sys.executable).parent / "fermisea"), *words.split()]
    result = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("fermisea: ")
    assert all(text in line for text in expected)
