"""The page for users of MALA: its code runs."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import fermisea
from mala_files import BE2

PAGE = Path(__file__).parents[1] / "docs" / "mala.md"


@pytest.mark.filterwarnings("ignore:.*MALA's files do not say how the LDOS is broadened")
def test_code_of_the_page_runs_in_order(tmp_path, monkeypatch, capsys):
    for file in BE2.iterdir():
        if file.is_file():
            shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 6
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)  # noqa: S102
    printed = capsys.readouterr().out
    assert "EnergyGrid(start=-5.0, spacing=2.5, size=11)" in printed
    assert "10.2407" in printed  # the Fermi level that MALA finds
    assert "MALA's files do not hold the pseudopotential of Be" in printed
    assert fermisea.Snapshot.load("be-0000.nc").energy_grid.size == 11
    assert fermisea.load_model("be.safetensors").elements == ("Be",)
