"""The page about large cells: its commands and scripts run, on a small cell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk

PAGE = (Path(__file__).parents[1] / "docs" / "many-atoms.md").read_text(encoding="utf-8")


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a small cell, and programs in place of SLURM's, for one machine."""
    place = tmp_path_factory.mktemp("many-atoms")
    atoms = bulk("Al", cubic=True) * (2, 2, 1)
    atoms.rattle(0.05, seed=1)
    for name in ("large", "million"):
        atoms.write(place / f"{name}.extxyz")
    (place / "bin").mkdir()
    for name, text in {"srun": 'exec "$@"', "scontrol": "echo 127.0.0.1"}.items():
        (place / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (place / "bin" / name).chmod(0o755)
    return place


def run(folder, *words):
    path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    job = {"SLURM_CPUS_PER_TASK": "2", "SLURM_JOB_NUM_NODES": "1", "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "here"}
    environment = os.environ | job | {"PATH": path}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_every_command_of_the_page_runs(folder):
    outputs = [run(folder, "bash", "-e", "-c", script) for script in blocks("bash")]
    assert len(outputs) == 3
    assert outputs[0].startswith("estimate: 0:00:")
    rows = [re.findall(r"^│ 10?000? .*", output, re.MULTILINE) for output in outputs[1:]]
    assert rows[0] == rows[1] != []  # one process and two
    (job,) = blocks("sh")
    assert "processes=16" in job
    run(folder, "bash", "-e", "-c", job.replace("processes=16", "processes=2"))
    assert sorted(p.name for p in (folder / "million").iterdir() if p.suffix == ".nc") == ["density.nc"]
    reading, dynamics = blocks("python")
    check = "assert layer.shape == density.shape[2:] and 0.1 < layer.mean() < 0.3"
    run(folder, sys.executable, "-c", f"{reading}\n{check}")
    (folder / "md.py").write_text(dynamics)
    run(folder, "torchrun", "--standalone", "--nproc-per-node", "2", "md.py")
    before, after = (ase.io.read(folder / f"{name}.extxyz") for name in ("large", "last"))
    assert 0 < np.abs(after.positions - before.positions).max() < 0.1
