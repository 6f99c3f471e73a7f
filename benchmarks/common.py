"""Shared parts of the benchmarks: workers with their own number of threads, machine facts, tables, output.

This module needs the standard library only, so that the environment of the other codes can import it too.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "bench-output"

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_PACKAGES = ("fermisea", "numpy", "numba", "torch")


@dataclass(frozen=True)
class Table:
    """A table of text, printed and written to the documentation in the same form.

    Attributes:
        name: key of the table in the documentation.
        title: measured quantity and settings.
        columns: column headings.
        rows: cells, one for each column.
        note: explanation below the table.
    """

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def markdown(self) -> str:
        """Returns title, table and note in Markdown with aligned columns."""
        lines = [list(self.columns), *map(list, self.rows)]
        widths = [max(3, *(len(line[k]) for line in lines)) for k in range(len(self.columns))]
        text = [f"| {' | '.join(cell.ljust(w) for cell, w in zip(line, widths, strict=True))} |" for line in lines]
        text.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
        return "\n".join([f"{self.title}", "", *text] + (["", self.note] if self.note else []))


def options(description: str | None, name: str, repeat: int, *, threads: bool = False) -> argparse.ArgumentParser:
    """Returns the common parser of the benchmarks: ``--quick``, ``--repeat``, ``--out``, optionally ``--threads``.

    Args:
        description: docstring of the script.
        name: name of the benchmark.
        repeat: usual number of runs.
        threads: whether the benchmark compares numbers of threads.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="quick check that the script runs; its numbers are not meaningful"
    )
    parser.add_argument(
        "--repeat", type=int, default=None, help=f"number of runs; medians are quoted  [{repeat}, quick 1]"
    )
    parser.add_argument("--out", type=Path, help=f"JSON file  [bench-output/{name}.json, quick bench-output/quick/...]")
    if threads:
        parser.add_argument("--threads", type=int, nargs="+", help="numbers of threads  [1 2, quick 2]")
    parser.set_defaults(name=name, usual_repeat=repeat)
    return parser


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Returns the options with the defaults of a quick or a full run filled in, and a ``Pace`` as ``pace``."""
    values = parser.parse_args()
    if values.repeat is None:
        values.repeat = 1 if values.quick else values.usual_repeat
    if getattr(values, "threads", ()) is None:
        values.threads = [2] if values.quick else [1, 2]
    values.pace = Pace()
    if values.out is None:
        values.out = OUTPUT / ("quick" if values.quick else "") / f"{values.name}.json"
    return values


def kept(folder: Path | None, name: str, compute: Callable[[], Any]) -> Any:
    """Returns the result of a case as plain data, from an earlier start if ``folder`` holds it.

    Args:
        folder: folder of finished cases; None to keep none.
        name: name of the case, with all settings that change its result.
        compute: function of the case.
    """
    if folder is None:
        return compute()
    file = folder / f"{name}.json"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".part")
        unfinished.write_text(json.dumps(compute()), encoding="utf-8")
        unfinished.replace(file)
    return json.loads(file.read_text(encoding="utf-8"))


def finish(values: argparse.Namespace, tables: Sequence[Table], results: Mapping[str, Any], **peers: str) -> None:
    """Prints the tables and writes them with all numbers and the machine as JSON.

    Args:
        values: options from ``parse``.
        tables: tables to print.
        results: measured results of each run, plain data.
        peers: versions of the other codes.
    """
    facts = machine() | {"peers": peers, "pace": values.pace.spread()}
    print(f"\n{facts_line(facts)}")
    for table in tables:
        print(f"\n{table.markdown()}", flush=True)
    content = {
        "benchmark": values.name,
        "quick": values.quick,
        "repeat": values.repeat,
        "machine": facts,
        "pace_s": values.pace.seconds,
        "tables": [asdict(table) for table in tables],
        "results": results,
    }
    values.out.parent.mkdir(parents=True, exist_ok=True)
    values.out.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(f"\n{values.out}")


def machine() -> dict[str, Any]:
    """Returns processor, cores, vector extensions, load and versions."""
    cpu, flags = platform.processor() or platform.machine(), ""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        entries = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
        entries = {key.strip(): value.strip() for key, value in entries.items()}
        cpu, flags = entries.get("model name", cpu), entries.get("flags", "")
    vectors = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags.split()]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        versions[package] = metadata.version(package)
    return {"cpu": cpu, "vectors": vectors, "cores": cores, "load": os.getloadavg()[0], "versions": versions}


def facts_line(facts: Mapping[str, Any]) -> str:
    """Returns a line with the result of ``machine()``, the versions of the other codes and the pace."""
    versions = ", ".join(f"{name} {version}" for name, version in (facts["versions"] | facts["peers"]).items())
    pace = f"; pace within a factor {facts['pace']:.2f}" if facts["pace"] else ""
    return f"{facts['cpu']}, {facts['cores']} cores, {' '.join(facts['vectors'])}; {versions}{pace}"


def digits(value: float, count: int = 3) -> str:
    """Returns a number with a given number of significant digits, without an exponent unless it is tiny."""
    if value == 0 or abs(value) < 1e-3:
        return f"{value:.{count - 1}e}" if value else "0"
    whole = f"{value:.{count}g}"
    return f"{float(whole):,.0f}".replace(",", " ") if abs(value) >= 10**count else f"{float(whole):g}"


def timed(function: Callable[..., Any], *arguments: Any, **named: Any) -> tuple[float, Any]:
    """Returns the duration of a call, s, and its result."""
    with Clock() as clock:
        result = function(*arguments, **named)
    return clock.seconds, result


class Clock:
    """Time of a block and number of busy cores, which is below the number of threads if it waits or shares cores.

    Attributes:
        seconds: wall time.
        cores: processor time of this process over wall time.
    """

    def __init__(self) -> None:
        self.seconds = self.cores = 0.0

    def __enter__(self) -> Self:
        self._start, self._processor = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._start
        self.cores = (time.process_time() - self._processor) / self.seconds


class Pace:
    """Time of a fixed loop between runs, which shows whether the machine was equally fast in all runs.

    Other work on the machine, or on the host of a virtual one, can slow a process by half without taking processor time
    from it.

    Attributes:
        seconds: all measured times of the loop.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def take(self) -> None:
        """Runs the loop, some hundredths of a second."""
        self.seconds.append(min(timed(sum, (k * k for k in range(100_000)))[0] for _ in range(5)))

    def spread(self) -> float | None:
        """Returns the ratio of the longest to the shortest time, or None for fewer than two times."""
        return max(self.seconds) / min(self.seconds) if len(self.seconds) > 1 else None


class Worker:
    """A process that runs functions of a script on request, with its own number of threads.

    The script passes its functions to ``serve`` when it is called with ``--serve``. Arguments and results are JSON.
    """

    def __init__(
        self, script: Path, threads: int, python: Path | str = sys.executable, environment: Mapping[str, str] = {}
    ) -> None:
        """Starts the process.

        Args:
            script: file with the functions.
            threads: number of threads of every library.
            python: interpreter.
            environment: additional environment variables.
        """
        variables = os.environ | dict.fromkeys(THREADS, str(threads)) | dict(environment)
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed with the worker
        self._process = subprocess.Popen(
            [str(python), str(script), "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=variables,
            cwd=tempfile.gettempdir(),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin  # noqa: S101  # opened above
        assert self._process.stdout  # noqa: S101
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def start(self, name: str, **arguments: Any) -> None:
        """Requests a call of the function ``name`` without waiting for it."""
        assert self._process.stdin  # noqa: S101
        self._process.stdin.write(json.dumps([name, arguments]) + "\n")
        self._process.stdin.flush()

    def result(self) -> Any:
        """Returns the result of the requested call.

        Raises:
            RuntimeError: with the traceback, if the call failed.
        """
        assert self._process.stdout  # noqa: S101
        line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            raise RuntimeError(f"a worker ended with status {self._process.wait()}:\n{self._log.read()[-4000:]}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["result"]

    def call(self, name: str, **arguments: Any) -> Any:
        """Returns the result of the function ``name``."""
        self.start(name, **arguments)
        return self.result()


def serve(*functions: Callable[..., Any]) -> None:
    """Answers the requests of a ``Worker`` until it closes; the output of the functions goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    known = {function.__name__: function for function in functions}
    for line in sys.stdin:
        name, arguments = json.loads(line)
        try:
            answer = {"result": known[name](**arguments)}
        except Exception:  # noqa: BLE001  # the other side raises it
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
