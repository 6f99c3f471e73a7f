from __future__ import annotations

import errno
from pathlib import Path

import pytest

from fermisea.errors import InputError, StorageError
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


@pytest.mark.parametrize("content", ["xc = " + "[" * 10_000, "xc = " + "{a = " * 10_000, "xc = 1" + "0" * 10_000])
def test_values_without_end_are_refused(tmp_path, content):
    (tmp_path / "a.toml").write_text(content)
    with pytest.raises(InputError, match=r"a\.toml: not a TOML file") as caught:
        read_toml(tmp_path / "a.toml", ["xc"])
    assert "\n" not in str(caught.value)


def test_other_files_are_not_read_to_their_end():
    with pytest.raises(InputError, match="/dev/zero: larger than 1048576 bytes"):
        read_toml("/dev/zero", ["xc"])


def test_a_byte_order_mark_is_no_key(tmp_path):
    (tmp_path / "a.toml").write_text("xc = 'pbe'\n", encoding="utf-8-sig")
    assert read_toml(tmp_path / "a.toml", ["xc"]) == {"xc": "pbe"}


def test_a_file_that_cannot_be_read_now(tmp_path, monkeypatch):
    def refused(*_args, **_kwargs):
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(
        StorageError, match=r"a\.toml: cannot be read now \(Permission denied\); change the permissions"
    ):
        read_toml(tmp_path / "a.toml", ["xc"])
