from __future__ import annotations

import pytest

from fermisea.errors import InputError
from fermisea.utilities.toml import read_toml


def test_known_keys_come_back(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text("kpts = [2, 2, 2]\nxc = 'pbe'\n")
    assert read_toml(path, ["xc", "kpts", "cutoff"]) == {"kpts": [2, 2, 2], "xc": "pbe"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cutof = 3\n", r"a\.toml: unknown key cutof; the known keys are xc, cutoff"),
        ("xc = \n", r"a\.toml: not a TOML file"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path, text, message):
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_toml(path, ["xc", "cutoff"])


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_toml(tmp_path / "none.toml", ["xc"])
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not a TOML file"):
        read_toml(tmp_path / "b.toml", ["xc"])
