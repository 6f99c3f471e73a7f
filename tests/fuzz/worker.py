"""Reading of damaged files in a forked process with limits of time and memory."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import resource
import shutil
import signal
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fermisea.cli import main
from fermisea.errors import FermiseaError
from fuzz.kinds import Format, not_finite, same

SECONDS = 20
"""Limit of the processor time of one reading, s."""

PATIENCE = 300
"""Limit of the time that one reading waits without computing, s; other programs may use the same cores."""

MEMORY = 2 * 2**30
"""Memory that one reading may add to the process, bytes."""

COMMANDS = 4
"""One command line for so many readings."""

OUTCOMES = (
    "own error", "unchanged", "different", "wrong number", "wrong exception", "wrong status", "hang", "memory", "crash",
)  # fmt: skip
FAULTS = OUTCOMES[3:]


@dataclass(frozen=True)
class Result:
    """Outcome of one mutation.

    Attributes:
        index: number of the mutation, which is its seed too.
        outcome: one of ``OUTCOMES``.
        change: description of the mutation.
        detail: the error, or the place of a wrong number.
    """

    index: int
    outcome: str
    change: str
    detail: str


def results(kind: Format, mutations: range, folder: Path) -> Iterator[Result]:
    """Yields the outcome of each mutation of a format; a process that ends is replaced by a new one.

    Args:
        kind: the format.
        mutations: numbers of the mutations.
        folder: an empty folder for the seed and the damaged files.
    """
    seed = folder / "seed"
    seed.mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kind.make(seed)
    pending = list(mutations)
    while pending:
        before = len(pending)
        for result in _forked(kind, pending, folder):
            yield result
            pending.remove(result.index)
        assert len(pending) < before, f"{kind.name}: the process does not start"


def _forked(kind: Format, pending: list[int], folder: Path) -> Iterator[Result]:
    """Yields results of one process until it ends, and the outcome that ended it."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the threads of this process are not needed in the child
        child = os.fork()
    if child == 0:
        os.close(reader)
        status = 1
        try:
            _work(kind, pending, folder, writer)
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    begun: dict[str, Any] | None = None
    try:
        with os.fdopen(reader) as stream:
            for line in stream:
                entry = json.loads(line)
                if "broken" in entry:
                    raise RuntimeError(f"{kind.name}, mutation {entry['broken']}")
                if "outcome" in entry:
                    begun = None
                    yield Result(**entry)
                else:
                    begun = entry
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL if begun is None else signal.SIGCONT)
        _, status = os.waitpid(child, 0)
    if begun is not None:
        ended = os.waitstatus_to_exitcode(status)
        outcome = "hang" if -ended in (signal.SIGALRM, signal.SIGPROF) else "crash"
        yield Result(begun["index"], outcome, begun["change"], f"exit {ended}")


def _work(kind: Format, pending: list[int], folder: Path, writer: int) -> None:
    for number in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(number, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    warnings.simplefilter("ignore")
    expected = kind.read(folder / "seed") if _has_content(folder / "seed") else None
    size = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    place = folder / "damaged"
    for index in pending:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(folder / "seed", place)
        try:
            change = kind.damage(random.Random(f"{kind.name} {index}"), place)  # noqa: S311  # repeatable
        except BaseException:
            os.write(writer, (json.dumps({"broken": f"{index}: {traceback.format_exc()}"}) + "\n").encode())
            raise
        change = change.encode("ascii", "backslashreplace").decode()[:200]
        os.write(writer, (json.dumps({"index": index, "change": change}) + "\n").encode())
        _limit(SECONDS, PATIENCE)
        outcome, detail = outcome_of(kind, place, expected)
        if kind.command is not None and index % COMMANDS == 0 and outcome not in FAULTS:
            _limit(SECONDS, PATIENCE)
            fault = command_fault(kind.command(place))
            outcome, detail = ("wrong status", fault) if fault else (outcome, detail)
        _limit(0, 0)
        detail = detail.encode("ascii", "backslashreplace").decode()[:600]
        entry = {"index": index, "outcome": outcome, "change": change, "detail": detail}
        os.write(writer, (json.dumps(entry) + "\n").encode())


def _limit(seconds: float, patience: float) -> None:
    """Starts the clocks that end this process, or stops them with 0."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, patience)


def _has_content(seed: Path) -> bool:
    """Whether the seed can be read; the seeds of settings are empty."""
    return any(path.stat().st_size for path in seed.iterdir() if path.is_file())


def outcome_of(kind: Format, place: Path, expected: Any) -> tuple[str, str]:
    """Outcome of reading damaged files, and its detail."""
    try:
        content = kind.read(place)
        place_of_nan = not_finite(content)
        wrong = None if place_of_nan is None else f"{place_of_nan} is not finite"
    except MemoryError as error:
        return "memory", _text(error)
    except FermiseaError as error:
        if _lacked_memory(error):
            return "memory", str(error)
        return ("own error" if str(error).strip() and "\n" not in str(error) else "wrong exception"), str(error)
    except BaseException as error:  # noqa: BLE001  # any other exception is the fault that is looked for
        return "wrong exception", _text(error)
    known = expected is not None and same(content, expected)
    if wrong is None and kind.checked and not known:
        wrong = "differs in spite of a checksum"
    if wrong is not None:
        return "wrong number", wrong
    return ("unchanged" if known else "different"), ""


def command_fault(arguments: list[str]) -> str:
    """What is wrong with the end of a command: empty for success, or status 2 and one line."""
    output, errors = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            status = main(arguments)
    except BaseException as error:  # noqa: BLE001  # as above
        return _text(error)
    lines = [line for line in errors.getvalue().splitlines() if not line.startswith("fermisea: warning: ")]
    if status == 0 and not lines:
        return ""
    if status == 2 and len(lines) == 1 and lines[0].startswith("fermisea: "):
        return ""
    return f"status {status} with {len(lines)} lines: {' | '.join(lines)[:300]}"


def _lacked_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _text(error: BaseException) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "fermisea" in frame.filename] or (
        traceback.extract_tb(error.__traceback__)
    )
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__} in {place}: {' '.join(str(error).split())[:200]}"


def counts(found: list[Result]) -> Counter[str]:
    """Number of results by outcome."""
    return Counter(result.outcome for result in found)
