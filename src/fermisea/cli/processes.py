"""Commands in several processes, which share the work: started by torchrun, or on this machine by ``--processes``."""

from __future__ import annotations

import io
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import closing, redirect_stderr, redirect_stdout, suppress
from functools import partial

import fermisea
from fermisea.terminal import fail
from fermisea.utilities.processes import in_processes

SHARED = ("predict", "train")
"""Commands that several processes share."""

_GRACE = 3.0
"""Time for the first process to print an error that all processes have, s."""


def number_of_this_process() -> int:
    """Returns the number of this process under torchrun; 0 without torchrun."""
    text = os.environ.get("RANK", "0")
    return int(text) if text.isdigit() else 0


def in_the_background(main: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """Runs a command line in a process that is not the first one: without output, except for an error of its own."""
    errors = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(errors):
        status = main(arguments)
    if status != 0:
        time.sleep(_GRACE)
        fail(f"process {number_of_this_process()}: {_last_line(errors) or f'status {status}'}", status)
    return status


def _last_line(errors: io.StringIO) -> str:
    return errors.getvalue().strip().rpartition("\n")[2].removeprefix("fermisea: ")


def is_lost(error: RuntimeError) -> bool:
    """Returns whether an error comes from the end of another process, which the launcher reports."""
    text = str(error).lower()
    return any(words in text for words in ("connection closed by peer", "connection reset by peer", "pair closure"))


def wait_for_the_launcher() -> None:
    """Waits, so that the launcher can end this process and report the process that failed first."""
    time.sleep(_GRACE)


def run_in_processes(arguments: Sequence[str], count: int) -> int:
    """Runs a command line in several processes and returns its exit status; the first process prints.

    If a process fails or is killed, all of them end. An error that the first process has too is printed once.

    Args:
        arguments: words after ``fermisea``.
        count: number of processes, which share the cores of this process.
    """
    work = partial(_run, list(arguments), count, _free_port())
    failures: list[tuple[float, int, str]] = []  # time, exit status and error

    def wait_for_the_first() -> None:
        if failures and time.monotonic() - failures[0][0] > _GRACE:
            raise TimeoutError

    answers = in_processes(work, range(count), count, name="fermisea", poll=wait_for_the_first)
    with closing(answers), suppress(TimeoutError):
        for answer in answers:
            if answer.status is not None:
                code = answer.status
                how = f"by {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
                return fail(f"process {answer.job} of {count} was ended {how}; the other processes were ended too", 1)
            if answer.ended and answer.value[0] != 0:
                if answer.job == 0:
                    return int(answer.value[0])
                failures.append((time.monotonic(), *answer.value))
    if failures:
        return fail(failures[0][2], failures[0][1])
    return 0


def command_problem(command: str) -> str | None:
    """Returns the error for a command under torchrun that its processes do not share; None for any other."""
    count = os.environ.get("WORLD_SIZE", "1")
    if count == "1" or command in SHARED:
        return None
    return f"torchrun: got {count} processes, but fermisea {command} runs in one; start it without torchrun"


def check_count(count: int) -> None:
    """Raises InputError for fewer than one process, or a number that differs from the number started by torchrun."""
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if count < 1 or (started > 1 and count not in (1, started)):
        expected = "at least 1" if count < 1 else f"the {started} of torchrun"
        raise fermisea.InputError(f"processes: got {count}, expected {expected}; omit the option, or change the number")


def _run(
    arguments: list[str],
    count: int,
    port: int,
    rank: int,
    tell: Callable[[object], None],  # noqa: ARG001  # no messages
) -> tuple[int, str]:
    """Runs the command line as one of the processes; returns its exit status and the last line of hidden errors."""
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
    os.environ.update({name: str(number) for name, number in numbers.items()}, MASTER_ADDR="127.0.0.1")
    from fermisea.cli import main  # noqa: PLC0415  # this module is a part of the command line

    if rank == 0:
        return main(arguments), ""
    with redirect_stderr(io.StringIO()) as errors:
        status = main(arguments)
    return status, _last_line(errors)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
