"""Steps of the study that are computed ahead by several processes."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from fermisea.errors import InputError
from fermisea.studies.ahead import compute_ahead


def test_jobs_run_in_other_processes_and_what_fails_is_left_to_others(tmp_path):
    jobs = [partial(Path.touch, tmp_path / "one"), partial(int, "no number"), partial(Path.touch, tmp_path / "two")]
    ended = []
    compute_ahead(jobs, 2, lambda: ended.append(None))
    assert len(ended) == 3
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two"}


def test_one_worker_leaves_everything_to_the_steps(tmp_path):
    compute_ahead([partial(Path.touch, tmp_path / "one")] * 2, 1, lambda: None)
    assert not list(tmp_path.iterdir())


def test_a_process_that_is_killed_is_told():
    with pytest.raises(InputError, match="a process was killed; run the same command again"):
        compute_ahead([partial(os._exit, 9), partial(int, 1)], 2, lambda: None)
