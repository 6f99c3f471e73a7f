"""Files are whole or not there, and failures are one InputError with the path in it."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from multiprocessing import get_context

import pytest
from filelock import Timeout

from fermisea.errors import InputError, StorageError
from fermisea.utilities.files import (
    UNSUPPORTED,
    atomic_path,
    check_writable_folder,
    readable,
    remove_leftovers,
    unreadable,
    write_text,
)
from fermisea.utilities.locks import file_lock


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


@pytest.mark.parametrize("number", sorted(UNSUPPORTED))
def test_a_file_system_without_fsync_chmod_and_flock_works(tmp_path, monkeypatch, number):
    def unsupported(*_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    for name in ("fsync", "chmod", "fchmod"):
        monkeypatch.setattr(os, name, unsupported)
    monkeypatch.setattr(fcntl, "flock", unsupported)
    write_text(tmp_path / "a.txt", "x")
    with file_lock(tmp_path / "lock").acquire(timeout=0), pytest.raises(Timeout):
        file_lock(tmp_path / "lock").acquire(timeout=0)
    with file_lock(tmp_path / "lock").acquire(timeout=0):
        assert (tmp_path / "a.txt").read_text() == "x"


def test_a_failing_fsync_is_an_error(tmp_path, monkeypatch):
    def failing(_descriptor):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(StorageError, match=r"a\.txt: could not be written .*Input/output error"):
        write_text(tmp_path / "a.txt", "x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EAGAIN, "HDF5_USE_FILE_LOCKING=FALSE"),
        (errno.EACCES, "change the permissions"),
        (errno.EIO, "check the disk or the network"),
        (errno.ESTALE, "check the disk or the network"),
        (errno.EMFILE, "ulimit -n"),
    ],
)
def test_errors_of_the_system_say_nothing_about_the_content(number, remedy):
    def read():
        raise ValueError("the content is damaged") from OSError(number, os.strerror(number))

    with pytest.raises(StorageError, match=rf"a\.nc: cannot be read now \(.*\); .*{remedy}"), readable("a.nc"):
        read()
    assert unreadable("a.nc", ValueError("the content is damaged")) is None
    assert unreadable("a.nc", OSError(errno.EINVAL, "seek beyond the end")) is None


def _writes_forever(path, pipe):
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        pipe.send(temporary.name)
        time.sleep(600)


def test_what_a_killed_process_left_goes_with_the_next_write_and_what_a_live_one_writes_stays(tmp_path):
    target, method = tmp_path / "a.nc", get_context("fork")
    here, there = method.Pipe()
    writers = [method.Process(target=_writes_forever, args=(target, there)) for _ in range(2)]
    for writer in writers:
        writer.start()
    names = {here.recv() for _ in writers}
    writers[0].kill()
    writers[0].join()
    try:
        write_text(tmp_path / "other.nc", "x")
        assert names < {path.name for path in tmp_path.iterdir()}
        write_text(target, "whole")
        (left,) = names & {path.name for path in tmp_path.iterdir()}
        assert f"-{writers[1].pid}-" in left
    finally:
        writers[1].kill()
        writers[1].join()
    write_text(target, "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nc", "other.nc"]


def test_temporary_files_of_unknown_processes_stay_for_a_day(tmp_path):
    names = [".a.nc.00000000-1-ab12.tmp", ".a.nc.x1_y2z3w.tmp"]
    kept = [".a.nc.tmp", ".b.nc.x1_y2z3w.tmp", "a.nc.x.tmp", ".a.nc.b.nc.x1_y2z3w.tmp"]
    for name in names + kept:
        (tmp_path / name).write_text("half")
    write_text(tmp_path / "a.nc", "x")
    assert set(names) < {path.name for path in tmp_path.iterdir()}
    for name in names + kept:
        os.utime(tmp_path / name, (0, 0))
    write_text(tmp_path / "a.nc", "x")
    assert {path.name for path in tmp_path.iterdir()} == {"a.nc", *kept}
    (tmp_path / ".folder.nc.x.tmp").mkdir()
    os.utime(tmp_path / ".folder.nc.x.tmp", (0, 0))
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"a.nc", "a.nc.x.tmp", ".folder.nc.x.tmp"}
