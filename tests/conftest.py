"""What all tests share."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal

import pytest
import torch
from filelock import FileLock

from fermisea.utilities import processes

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background by a shell
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    """Tests marked ``espresso`` are skipped where there is no pw.x."""
    if shutil.which("pw.x") is None:
        for item in items:
            if item.get_closest_marker("espresso"):
                item.add_marker(pytest.mark.skip(reason="pw.x is not installed"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Workers of pytest-xdist share the cores; and sums are the same in every run, whatever a test before has set.

    Fixtures of modules are made after this.
    """
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """Makes a folder once for all workers of pytest-xdist, and returns a copy of the folder for the caller alone."""
    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder

    def copy_of(name, make):
        with FileLock(shared / f"{name}.lock"):
            if not (shared / f"{name}.made").exists():
                make(shared / name)
                (shared / f"{name}.made").touch()
        return shutil.copytree(shared / name, tmp_path_factory.mktemp(name) / name)

    return copy_of


@pytest.fixture(scope="session")
def forkserver():
    """Starts processes that fork from a server which has imported the package, so that they start at once."""
    method = multiprocessing.get_context("forkserver")
    method.set_forkserver_preload(["fermisea.campaign", "fermisea.training"])
    return method


@pytest.fixture
def _quick_processes(forkserver, monkeypatch):
    """Processes of the package start at once."""
    monkeypatch.setattr(processes, "_METHOD", forkserver)


@pytest.fixture
def _bfloat16(monkeypatch):
    """Arithmetic for bfloat16, imitated where the processor has none."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
