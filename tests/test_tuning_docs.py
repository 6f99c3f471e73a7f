"""The page about tuning: its commands run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fermisea.model.loading import load_model
from synthetic import made_up_snapshot

PAGE = (Path(__file__).parents[1] / "docs" / "tuning.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_every_command_of_the_page_runs(tmp_path):
    (tmp_path / "data").mkdir()
    for seed in range(4):
        made_up_snapshot(seed).save(tmp_path / "data" / f"{seed}.nc")
    scripts, spaces = (
        re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE) for kind in ("bash", "toml")
    )
    assert (len(scripts), len(spaces)) == (3, 2)
    (tmp_path / "space.toml").write_text(spaces[0])
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    printed = ""
    for script in scripts:
        done = subprocess.run(
            ["bash", "-e", "-c", script],
            cwd=tmp_path,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        printed += done.stdout
    assert "Best of 12 trials" in printed
    assert printed.count("Rank correlation with trained results") == 2
    for name in ("trials.csv", "best.toml", "trials.png"):
        assert name in PAGE
        assert (tmp_path / "study" / name).exists()
    hidden = load_model(tmp_path / "al.safetensors").network.widths
    assert hidden in {(16, 16), (32, 32)}
