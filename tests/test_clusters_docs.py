"""The page about campaigns: its commands run, on a Dask cluster of this machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ase.build import bulk

from fermisea.data.dataset import Dataset
from fermisea.data.structures import write_structure

PAGE = (Path(__file__).parents[1] / "docs" / "clusters.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.slow
def test_every_command_of_the_page_runs(tmp_path):
    write_structure(tmp_path / "Al.extxyz", bulk("Al", "fcc", a=4.05).repeat((2, 1, 1)))
    (tmp_path / "dft.toml").write_text(blocks("toml")[0])
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "srun").write_text('#!/bin/sh\nexec "$@"\n')  # of SLURM's, which starts a program once for each task
    (programs / "srun").chmod(0o755)
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "SLURM_CPUS_PER_TASK": "1"}
    scripts = [*blocks("bash"), *blocks("sh")]
    assert len(scripts) == 4
    for script in scripts:
        done = subprocess.run(
            ["bash", "-e", "-c", script] if "srun" not in script else ["bash", "-c", script],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    sets = [Dataset.load(tmp_path / name) for name in ("data", "data-dask", "data-cluster")]
    for one in sets:
        assert one.ion_temperatures == [298.0, 933.0]
        assert len(one) == 4
        for snapshot, other in zip(one, sets[0], strict=True):
            assert snapshot.reference.free_energy == pytest.approx(other.reference.free_energy, abs=1e-7)
