"""The page about free energies: its commands and programs run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fermisea.data.dataset import Dataset
from fermisea.training import TrainingConfig, train
from synthetic import made_up_snapshot

PAGE = (Path(__file__).parents[1] / "docs" / "free-energies.md").read_text(encoding="utf-8")
EXAMPLE = Path(__file__).parents[1] / "examples" / "laser_heating.py"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path) -> Path:
    data = Dataset(tuple(made_up_snapshot(seed) for seed in range(10)))  # enough for a potential
    config = TrainingConfig(
        order=2, cutoff=4.0, validation_fraction=0.0, hidden=(16,), epochs=4, anchor_order=2, anchor_cutoff=4.0
    )
    train(data, config).save(tmp_path / "al.safetensors")
    data[0].atoms.write(tmp_path / "Al.extxyz")
    return tmp_path


@pytest.mark.slow
def test_every_command_and_program_of_the_page_runs(folder):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    scripts = [["bash", "-e", "-c", script] for script in blocks("bash")]
    scripts.append([sys.executable, "-c", "\n".join(blocks("python"))])
    assert (len(blocks("bash")), len(blocks("python"))) == (3, 4)
    for command in scripts:
        done = subprocess.run(
            command,
            cwd=folder,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"
    assert (folder / "out" / "forces.extxyz").exists()
    assert (folder / "thermo" / "electrons.ttm").exists()
    for name in ("electrons.fdm", "electrons-eph.dat", "electrons-udkm1dsim.json"):
        assert (folder / "ttm" / name).exists()


@pytest.mark.slow
def test_the_example_goes_on_after_an_interruption(folder):
    command = [
        sys.executable,
        str(EXAMPLE),
        str(folder / "al.safetensors"),
        str(folder / "laser"),
        "--repeat",
        "1",
        "1",
        "1",
    ]
    command += ["--grid", "6", "6", "6", "--equilibration", "10", "--electron-temperature", "298", "4000"]
    for steps in ("10", "20"):
        done = subprocess.run([*command, "--steps", steps], capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr
    for tau_e in ("298", "4000"):
        lines = (folder / "laser" / f"electrons-{tau_e}K.csv").read_text().splitlines()
        assert [line.split(",")[0] for line in lines] == ["time_fs", "0", "5", "10", "15", "20"]
    assert (folder / "laser" / "laser_heating.png").exists()
