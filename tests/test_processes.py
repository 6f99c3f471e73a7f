"""A pool of processes: messages, results, deaths and threads."""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing
from pathlib import Path

import pytest
import torch

from fermisea.errors import StorageError
from fermisea.utilities.processes import in_processes


def count_down(number, send):
    for k in range(number, 0, -1):
        send(k)
    return number**2


def obey(order, _):
    if order == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if order == "exit":
        os._exit(3)
    if order == "full":
        raise StorageError("the disk is full")
    if order == "threads":
        return os.environ["OMP_NUM_THREADS"], torch.get_num_threads()
    return os.getpid()


def write_and_wait(path, send):
    path.write_text(str(os.getpid()))
    send("written")
    time.sleep(60)


def test_messages_come_before_the_result_of_their_job():
    answers = list(in_processes(count_down, [3, 1, 2, 0], 2, name="count"))
    for number in (3, 1, 2, 0):
        own = [answer for answer in answers if answer.job == number]
        assert [answer.value for answer in own] == [*range(number, 0, -1), number**2]
        assert [answer.ended for answer in own] == [False] * number + [True]
        assert {answer.status for answer in own} == {None}


def test_a_process_that_dies_takes_one_job_with_it():
    answers = list(in_processes(obey, ["kill", "exit", "", ""], 2, name="obey"))
    assert all(answer.ended for answer in answers)
    assert {answer.job: answer.status for answer in answers} == {"kill": -signal.SIGKILL, "exit": 3, "": None}
    assert os.getpid() not in {answer.value for answer in answers}
    assert len(answers) == 4


def test_a_full_disk_ends_all():
    with pytest.raises(StorageError, match="the disk is full"):
        list(in_processes(obey, ["full", "full"], 2, name="obey"))


@pytest.mark.parametrize(("workers", "jobs", "threads"), [(2, 3, 4), (8, 1, 8)])
def test_processes_share_the_cores(monkeypatch, workers, jobs, threads):
    monkeypatch.setattr("fermisea.utilities.processes.cores", lambda: 8)
    answers = list(in_processes(obey, ["threads"] * jobs, workers, name="obey"))
    assert [answer.value for answer in answers] == [(str(threads), threads)] * jobs


def test_closing_the_generator_ends_the_processes(tmp_path):
    with closing(in_processes(write_and_wait, [tmp_path / "process"], 1, name="wait")) as answers:
        assert next(answers).value == "written"
        process = int((tmp_path / "process").read_text())
        assert Path(f"/proc/{process}").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_the_parent_is_called_while_it_waits():
    calls = []
    list(in_processes(count_down, [1], 1, name="count", poll=lambda: calls.append(None)))
    assert len(calls) >= 2  # after each of the two answers, and while the process starts
