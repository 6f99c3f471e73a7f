"""The page about training: its commands run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fermisea.model.loading import load_model
from synthetic import made_up_snapshot

PAGE = (Path(__file__).parents[1] / "docs" / "training.md").read_text(encoding="utf-8")
SCONTROL = "#!/bin/sh\necho localhost\n"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.slow
def test_every_command_of_the_page_runs(tmp_path):
    (tmp_path / "data").mkdir()
    for seed in range(8):
        made_up_snapshot(seed, (6, 7, 6)).save(tmp_path / "data" / f"{seed}.nc")
    (tmp_path / "train.toml").write_text(blocks("toml")[0])
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("srun", '#!/bin/sh\nexec "$@"\n'), ("scontrol", SCONTROL)):  # SLURM's, on one node
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    slurm = {"SLURM_JOB_NODELIST": "localhost", "SLURM_NNODES": "1", "SLURM_JOB_ID": "7"}
    scripts = [*blocks("bash"), *blocks("sh")]
    assert len(scripts) == 6
    for script in scripts:
        done = subprocess.run(
            ["bash", "-e", "-c", script],
            cwd=tmp_path,
            env=os.environ | slurm | {"PATH": path},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    assert (tmp_path / "log" / "training.csv").exists()
    assert (tmp_path / "errors" / "errors.csv").exists()
    assert (tmp_path / "calibration" / "calibration.csv").exists()
    assert not list(tmp_path.glob("*.checkpoint"))
    assert load_model(tmp_path / "long.safetensors").provenance["epochs"] >= 40
    models = [load_model(tmp_path / f"{name}.safetensors").network.state_dict() for name in ("al", "al2", "al4")]
    for other in models[1:]:
        for key, tensor in models[0].items():
            torch.testing.assert_close(other[key], tensor, rtol=1e-3, atol=1e-3)
