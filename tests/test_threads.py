"""Cores of a process, and threads whose results come in the order of the parts."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from fermisea.utilities import threads
from fermisea.utilities.threads import Workers, cores, in_order


@pytest.mark.parametrize(("variable", "expected"), [(None, 6), ("", 6), ("4", 4), ("9", 6), ("0", 6), ("two", 6)])
def test_cores_are_those_of_the_process_and_at_most_omp_num_threads(monkeypatch, variable, expected):
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    monkeypatch.setattr(threads.os, "cpu_count", lambda: 64)
    if variable is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert cores() == expected


def test_cores_where_there_is_no_affinity(monkeypatch):
    monkeypatch.delattr(threads.os, "sched_getaffinity", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads.os, "cpu_count", lambda: 3)
    assert cores() == 3


@pytest.fixture
def torch_threads():
    torch.set_num_threads(2)
    yield 2
    torch.set_num_threads(1)


@pytest.mark.parametrize(("number", "inside"), [(1, 2), (3, 1)])
def test_results_come_in_the_order_of_the_parts(torch_threads, number, inside):
    seen = []

    def work(part):
        time.sleep(0.002 * (5 - part % 5))
        seen.append((threading.get_ident(), torch.get_num_threads()))
        return part**2

    assert list(in_order(work, iter(range(20)), number)) == [k**2 for k in range(20)]
    assert {count for _, count in seen} == {inside}
    assert 1 <= len({thread for thread, _ in seen} - {threading.get_ident()}) <= number
    assert torch.get_num_threads() == torch_threads


def test_few_parts_are_ahead_and_the_rest_is_left_after_an_error(torch_threads):
    begun = []

    def work(part):
        begun.append(part)
        if part == 4:
            raise ValueError("broken")
        return part

    with pytest.raises(ValueError, match="broken"):
        list(in_order(work, range(1000), 2))
    assert max(begun) < 12
    assert torch.get_num_threads() == torch_threads


def test_workers_take_the_threads_of_torch(torch_threads):
    barrier = threading.Barrier(torch_threads, timeout=10)  # passed only by as many threads at once
    with Workers() as workers:
        assert torch.get_num_threads() == 1
        assert len(list(workers.map(lambda _: barrier.wait(), range(4)))) == 4
    assert torch.get_num_threads() == torch_threads
