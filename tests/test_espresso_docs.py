"""The page about Quantum ESPRESSO: its commands and programs run, in the order in which a reader would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ase.build import bulk

from espresso import FILES
from fermisea.data.snapshot import Snapshot
from fermisea.data.structures import write_structure

PAGE = (Path(__file__).parents[1] / "docs" / "quantum-espresso.md").read_text(encoding="utf-8")

pytestmark = [pytest.mark.espresso, pytest.mark.slow]


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_every_command_of_the_page_runs(tmp_path):
    (settings,), (text,) = blocks("toml"), blocks("text")
    (campaign, convert, later, estimate), (run, read) = blocks("bash"), blocks("python")
    shutil.copy(FILES["Al"], tmp_path / "Al.upf")
    (tmp_path / "qe.toml").write_text(settings)
    (tmp_path / "scf.in").write_text(text)
    (tmp_path / "run").mkdir()
    atoms = bulk("Al", "fcc", a=4.05)
    atoms.rattle(0.05, seed=1)
    write_structure(tmp_path / "al.extxyz", atoms)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for words in (
        [sys.executable, "-c", run],
        ["bash", "-e", "-c", estimate],
        ["bash", "-e", "-c", campaign],
        ["bash", "-e", "-c", later],
        ["bash", "-e", "-c", convert],
        [sys.executable, "-c", read],
    ):
        done = subprocess.run(
            words,
            cwd=tmp_path,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{words[-1]}\n{done.stdout}\n{done.stderr}"
    one, campaign_made, imported = (Snapshot.load(tmp_path / name) for name in ("al-0000.nc", "data/al.nc", "al.nc"))
    for snapshot in (one, campaign_made, imported):
        assert snapshot.free_energy(3000.0) == pytest.approx(snapshot.reference.free_energy, abs=0.5e-3)
    assert campaign_made.reference.free_energy == pytest.approx(one.reference.free_energy, abs=1e-6)
    assert imported.electron_temperature == pytest.approx(3000.0, abs=1.0)
    assert imported.reference.forces is not None
