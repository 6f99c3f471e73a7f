"""What all tests share."""

from __future__ import annotations

import shutil

import pytest
import torch


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


@pytest.fixture
def _bfloat16(monkeypatch):
    """Arithmetic for bfloat16, imitated where the processor has none."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
