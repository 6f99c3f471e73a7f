"""What all tests share."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Workers of pytest-xdist share the cores; and sums are the same in every run."""
    torch.set_num_threads(1)
