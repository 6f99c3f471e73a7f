"""Files are whole or not there, and failures are one InputError with the path in it."""

from __future__ import annotations

import os
import stat

import pytest

from fermisea.errors import InputError
from fermisea.utilities.files import atomic_path, check_writable_folder, write_text


def test_the_file_appears_only_at_the_end(tmp_path):
    target = tmp_path / "a.txt"
    with atomic_path(target) as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path
        assert not target.exists()
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, kind):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def fail():
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise kind

    with pytest.raises(kind):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_an_input_error_that_names_the_file(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def fail():
        with atomic_path(target):
            raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match=r"a\.txt: could not be written .*No space left.*unchanged"):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_missing_folders_are_made(tmp_path):
    write_text(tmp_path / "a" / "b" / "c.txt", "μ = 1 eV\n")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == "μ = 1 eV\n".encode()


def test_the_file_has_the_rights_that_any_new_file_has(tmp_path):
    plain, atomic = tmp_path / "plain", tmp_path / "atomic"
    plain.write_text("x")
    write_text(atomic, "x")
    assert stat.S_IMODE(atomic.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_a_folder_is_not_overwritten(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="folder: could not be written"):
        write_text(tmp_path / "folder", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_name_that_is_too_long_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="File name too long"):
        write_text(tmp_path / ("x" * 250), "x")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_a_folder_is_an_input_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=r"file: cannot write files to this folder \(.*\); choose another folder"):
        check_writable_folder(tmp_path / "file")
    with pytest.raises(InputError, match="cannot write files to this folder"):
        write_text(tmp_path / "file" / "below.txt", "x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_an_input_error(tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(InputError, match="locked: cannot write files to this folder"):
        check_writable_folder(folder)


def test_a_folder_that_the_system_refuses_is_an_input_error():
    with pytest.raises(InputError, match="/proc/fermisea: cannot write files to this folder"):
        check_writable_folder("/proc/fermisea")


def test_a_writable_folder_is_returned_and_stays_empty(tmp_path):
    assert check_writable_folder(tmp_path / "new" / "er") == tmp_path / "new" / "er"
    assert list((tmp_path / "new" / "er").iterdir()) == []
