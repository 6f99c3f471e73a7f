"""Commands killed, terminated and interrupted at random moments: the same command afterwards gives the same results.

Every trial starts a command in an empty folder, sends one signal at a random moment of its run, and repeats the command
undisturbed. Counted are the trials in which a signal had the right effect: SIGTERM and Ctrl-C (to the whole process
group, as by a terminal) end the command with one line and status 143 or 130, no process survives, the results of the
repetition equal those of an undisturbed run, and no temporary file is left.

    python benchmarks/interruptions.py [--quick] [--trials 10] [--seed 0] [--only dft train] [--cold]
"""

from __future__ import annotations

import csv
import faulthandler
import hashlib
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common import THREADS, Table, options, parse

SIGNALS = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "int": signal.SIGINT}
_MARK = "FERMISEA_TRIAL"
_START = 0.05
"""Time in which an interpreter starts, before a program can handle a signal, s."""

_LIMIT = 120.0
"""Longest time of a command after its signal, s."""

_LEFT = re.compile(r"\.(tmp|checkpoint)$")
"""Names of temporary files."""

_TIMES = re.compile(r"\d+(\.\d+)?(e[+-]?\d+)?")
_CELL = "--electron-temperature 3000 --xc lda --cutoff 80 --kpts 1 1 1 --energy-spacing 0.5"
COMMANDS = {
    "sample": "sample structures/a.extxyz --repeat 2 1 1 --ion-temperature 300 500 --snapshots 2 --thermalise 0.2 "
    "--spacing 0.1 --out out",
    "dft": f"dft structures {_CELL} --out out",
    "dft, 2 workers": f"dft structures {_CELL} --workers 2 --out out",
    "train": "train data --config train.toml --out out/al.safetensors --resume",
    "tune": "tune data --space space.toml --trials 3 --out out",
    "predict": "predict al.safetensors structures/a.extxyz --electron-temperature 300 3000 --cube density --out out",
    "evaluate": "evaluate al.safetensors data --out out",
    "thermo": "thermo al.safetensors structures/a.extxyz --to 4000 --out out",
    "convert": "convert mala data --out out --twojmax 2 --overwrite",
    "report": "report pages",
    "study": "study transfer --settings study.toml --out out",
}
"""Words of each command; all inputs are tiny."""

QUICK = ("sample", "dft", "train", "predict")
"""Commands of a quick run."""

_TRAIN = """
order = 1
hidden = [8]
epochs = 30
batch_size = 64
validation_fraction = 0.0
anchor = false
allow_closure_error = true
"""
_SPACE = """
order = 1
hidden = [[8], [16]]
epochs = 4
learning_rate = { from = 1e-3, to = 1e-2 }
validation_fraction = 0.4
allow_closure_error = true
"""
_STUDY = """
lattice_constant = 4.05
repeat = [1, 1, 1]
ion_temperatures = [100, 500]
training_snapshots = 2
test_snapshots = 2
combinations = [[100, 500]]
reference_electron_temperature = 3000
references = [[5000, 100]]
thermalise = 0.1
spacing = 0.1

[dft]
cutoff = 60
kpts = [1, 1, 2]
energy_spacing = 0.5
energy_window = [-8.0, 16.0]

[training]
validation_fraction = 0.0
epochs = 2
hidden = [8]
order = 1
ensemble = 2
anchor_order = 1
batch_size = 256
allow_closure_error = true
"""


@dataclass
class Effect:
    """What happened in one trial.

    Attributes:
        late: whether the command had ended before the signal.
        told: whether the signal gave one line and the right status; always for SIGKILL.
        alone: whether all processes of the command ended.
        same: whether the repetition gave the results of an undisturbed run.
        clean: whether no temporary file is left after the repetition.
        notes: output of a trial that failed.
    """

    late: bool = False
    told: bool = True
    alone: bool = True
    same: bool = True
    clean: bool = True
    notes: list[str] = field(default_factory=list)


def main() -> None:
    """Runs the trials and prints a table; exits with status 1 if a trial failed."""
    parser = options(__doc__, "interruptions", 10)
    parser.add_argument("--seed", type=int, default=0, help="random seed of the moments  [0]")
    parser.add_argument("--only", nargs="+", choices=list(COMMANDS), help="commands  [all, quick: a few]")
    parser.add_argument("--cold", action="store_true", help="start a new interpreter for every run, also for imports")
    values = parse(parser)
    names = values.only or (QUICK if values.quick else tuple(COMMANDS))
    chance = random.Random(values.seed)  # noqa: S311
    failures = 0
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runner = Runner(folder, cold=values.cold)
        if not values.cold:
            os.environ |= dict.fromkeys(THREADS, "1")  # a copy would wait for threads that it lacks
        inputs(folder / "inputs", names)
        if not values.cold:
            warm_up(folder / "inputs", names)
        for command in names:
            whole = runner.undisturbed(command)
            for kind in SIGNALS:
                effects = [runner.trial(command, kind, _START + chance.random() * whole) for _ in range(values.repeat)]
                rows.append(row(command, kind, whole, effects))
                failures += sum(bool(effect.notes) for effect in effects)
                print(" ".join(rows[-1]), flush=True)
                for note in dict.fromkeys(note for effect in effects for note in effect.notes):
                    print("   ", note, flush=True)
    columns = ("command", "signal", "s", "trials", "late", "one line", "no process left", "same results", "clean")
    print("\n" + Table("interruptions", __doc__.splitlines()[0], columns, rows).markdown())
    raise SystemExit(min(failures, 1))


def row(command: str, kind: str, whole: float, effects: list[Effect]) -> tuple[str, ...]:
    """Returns the cells of a command and a signal: counts of trials."""
    counts = Counter(
        name for effect in effects for name in ("late", "told", "alone", "same", "clean") if getattr(effect, name)
    )
    cells = [str(counts[name]) for name in ("late", "told", "alone", "same", "clean")]
    return (command, kind, f"{whole:.1f}", str(len(effects)), *cells)


class Runner:
    """Runs of commands, each in its own copy of the inputs."""

    def __init__(self, folder: Path, *, cold: bool) -> None:
        """Stores the folder of the runs, and whether each run starts a new interpreter."""
        self._folder, self._cold, self._count = folder, cold, 0
        self._expected: dict[str, Mapping[str, Any]] = {}
        self._lines: dict[str, set[str]] = {}

    def undisturbed(self, command: str) -> float:
        """Runs a command, keeps its results, and returns its duration, s."""
        place = self._place()
        started = time.perf_counter()
        status = self._start(place, command).wait(_LIMIT)
        seconds = time.perf_counter() - started
        if status:
            raise SystemExit(f"{command}: status {status}: {(place / 'err').read_text()}")
        self._expected[command] = results(place)
        self._lines[command] = shapes(place)
        shutil.rmtree(place)
        return seconds

    def trial(self, command: str, kind: str, moment: float) -> Effect:
        """Sends a signal to a command at a moment, s after its start, and repeats the command."""
        place, effect = self._place(), Effect()
        process = self._start(place, command)
        try:
            process.wait(moment)
            effect.late = True
        except TimeoutError:
            (os.killpg if kind == "int" else os.kill)(process.number, SIGNALS[kind])
        try:
            status = process.wait(_LIMIT)
        except TimeoutError:
            with suppress(ProcessLookupError):
                os.kill(process.number, signal.SIGABRT)  # writes the stacks of all threads
            with suppress(TimeoutError):
                process.wait(5.0)
            with suppress(ProcessLookupError):
                os.killpg(process.number, signal.SIGKILL)
            status = process.wait(_LIMIT)
            effect.notes.append("did not end")
        self._judge_end(effect, place, command, kind, status)
        effect.alone = ended(process.mark)
        again = self._start(place, command).wait(10 * _LIMIT)
        found = results(place)
        effect.same = again == 0 and found == self._expected[command]
        left = [path.name for path in place.rglob("*") if _LEFT.search(path.name)]
        effect.clean = not left
        if not effect.same:
            differ = [
                name
                for name in {*found, *self._expected[command]}
                if found.get(name) != self._expected[command].get(name)
            ]
            text = (place / "err").read_text()[-300:]
            effect.notes.append(f"{kind} at {moment:.2f} s: again {again}, different {sorted(differ)}: {text!r}")
        if left:
            effect.notes.append(f"{kind} at {moment:.2f} s: left {left}")
        if not effect.alone:
            effect.notes.append(f"{kind} at {moment:.2f} s: processes survive")
        shutil.rmtree(place)
        return effect

    def _judge_end(self, effect: Effect, place: Path, command: str, kind: str, status: int) -> None:
        text = (place / "err").read_text()
        if kind == "kill" or status == 0:
            return
        lines = [line for line in text.splitlines() if not line.startswith("fermisea: warning: ")]
        own = [line for line in lines if line.startswith("fermisea: ")]
        other = shapes(place) - self._lines[command] - {_TIMES.sub("#", line) for line in own}
        effect.told = status == 128 + SIGNALS[kind] and len(own) == 1 and not other
        if not effect.told:
            effect.notes.append(f"{kind}: status {status}: {text[-6000:]!r}")

    def _place(self) -> Path:
        self._count += 1
        place = self._folder / f"run-{self._count}"
        shutil.copytree(self._folder / "inputs", place)
        return place

    def _start(self, place: Path, command: str) -> Process:
        mark = f"{os.getpid()}-{place.name}-{time.monotonic_ns()}"
        return Process(place, COMMANDS[command].split(), mark, cold=self._cold)


class Process:
    """A command in a session of its own, with its output in the files ``out.txt`` and ``err``.

    Attributes:
        number: number of the process.
        mark: value of an environment variable of the process and its children.
    """

    def __init__(self, place: Path, words: list[str], mark: str, *, cold: bool) -> None:
        """Starts the command in a folder: in a new interpreter, or in a copy of this process."""
        self.mark = mark
        self._status: int | None = None
        if not cold and len(list(Path("/proc/self/task").iterdir())) > 1:
            raise SystemExit("interruptions: this process has several threads, which its copies would wait for")
        sys.stdout.flush()
        self.number = os.fork()
        if self.number:
            return
        os.setsid()
        os.chdir(place)
        os.environ[_MARK] = mark
        for number, name in ((1, "out.txt"), (2, "err")):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ["PYTHONFAULTHANDLER"] = "1"
        faulthandler.enable()
        command = Path(sys.executable).with_name("fermisea")
        if cold:
            os.execv(command, [str(command), *words])  # noqa: S606
        sys.argv[:] = [str(command), *words]
        os._exit(_run())

    def wait(self, seconds: float) -> int:
        """Returns the exit status, negative for a signal.

        Raises:
            TimeoutError: if the process does not end in time.
        """
        deadline = time.monotonic() + seconds
        while self._status is None:
            number, status = os.waitpid(self.number, os.WNOHANG)
            if number:
                self._status = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > deadline:
                raise TimeoutError
            else:
                time.sleep(0.002)
        return self._status


def _run() -> int:
    from fermisea.cli import main as command  # noqa: PLC0415

    try:
        status = command()
    except BaseException:  # noqa: BLE001  # as the interpreter does at its end
        import traceback  # noqa: PLC0415

        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def inputs(folder: Path, names: Sequence[str]) -> None:
    """Writes the inputs of commands: two structures, their snapshots, a model, a folder to report."""
    import numpy as np  # noqa: PLC0415  # not in workers
    from ase.build import bulk  # noqa: PLC0415

    from fermisea.data.structures import write_structure  # noqa: PLC0415

    (folder / "structures").mkdir(parents=True)
    for number, name in enumerate("ab"):
        atoms = bulk("Al", "fcc", a=4.05 + 0.02 * number)
        atoms.positions += np.random.default_rng(number).normal(0, 0.05, atoms.positions.shape)
        write_structure(folder / "structures" / f"{name}.extxyz", atoms)
    (folder / "train.toml").write_text(_TRAIN)
    (folder / "space.toml").write_text(_SPACE)
    (folder / "study.toml").write_text(_STUDY)
    if not set(names) <= {"sample", "dft", "dft, 2 workers", "study"}:
        prepare(folder, f"dft structures {_CELL} --out data")
        shutil.rmtree(folder / "data" / ".campaign")
    if not set(names).isdisjoint(("predict", "evaluate", "thermo", "report")):
        prepare(folder, "train data --config train.toml --out al.safetensors")
    if "report" in names:
        prepare(folder, "predict al.safetensors structures/a.extxyz --out pages")


def prepare(folder: Path, words: str) -> None:
    """Runs a command in a new interpreter."""
    if status := Process(folder, words.split(), "inputs", cold=True).wait(_LIMIT):
        raise SystemExit(f"{words}: status {status}: {(folder / 'err').read_text()}")


def warm_up(folder: Path, names: Sequence[str]) -> None:
    """Runs commands in this process, whose copies then start with compiled functions and loaded modules."""
    from fermisea.cli import main as command  # noqa: PLC0415

    before = Path.cwd()
    os.chdir(folder)
    try:
        with Path("err").open("w") as lines, redirect_stdout(lines), redirect_stderr(lines):
            for name in names:
                if "workers" not in name and (status := command(COMMANDS[name].split())):
                    raise SystemExit(f"{name}: status {status}: {(folder / 'err').read_text()}")
    finally:
        os.chdir(before)
    shutil.rmtree(folder / "out", ignore_errors=True)


def results(folder: Path) -> dict[str, Any]:
    """Returns the content of all files below a folder that a command may write, without times."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        skipped = name in {"out.txt", "err"} or _LEFT.search(name) or any(part in _STATE for part in path.parts)
        if path.is_file() and not skipped:
            found[name] = content(path)
    return found


_STATE = (".campaign", ".running", "study.journal", "settings.json")
"""Files and folders with the state of a campaign or a search, which holds times and numbers of processes."""


def content(path: Path) -> object:
    """Returns the results in a file, without times and, for pictures, without the data of the picture."""
    if path.suffix == ".nc":
        import fermisea  # noqa: PLC0415

        snapshot = fermisea.Snapshot.load(path, verify=True)
        return digest(snapshot.ldos), digest(snapshot.density), snapshot.reference.free_energy
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file  # noqa: PLC0415

        return {name: digest(tensor) for name, tensor in load_file(path).items()}
    if path.suffix in {".png", ".svg", ".html"} or (path.suffix == ".json" and path.parent.name == "models"):
        return path.stat().st_size > 0  # a picture, or the duration of a training
    if path.name == "trials.csv":
        with path.open(newline="") as stream:
            lines = [
                {key: line[key] for key in line if key not in {"trial", "seconds"}} for line in csv.DictReader(stream)
            ]
        return sorted(lines, key=str)
    if path.name == "best.toml":
        return re.sub(r"# trial \d+ of \d+", "#", path.read_text())  # a repeated trial has another number
    return path.read_bytes()


def digest(array: Any) -> str:
    """Returns a digest of the numbers of an array."""
    return hashlib.sha256(array.tobytes()).hexdigest()


def shapes(place: Path) -> set[str]:
    """Returns the lines that a command has written to standard error, without numbers."""
    return {_TIMES.sub("#", line) for line in (place / "err").read_text().splitlines()}


def ended(mark: str) -> bool:
    """Returns whether all processes of a command have ended, after a few seconds at most."""
    deadline = time.monotonic() + 10
    while any(mark in environment(place) for place in Path("/proc").glob("[0-9]*")):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def environment(place: Path) -> str:
    """Returns the environment variables of a process, empty for a process that has ended."""
    try:
        return (place / "environ").read_bytes().decode(errors="replace")
    except OSError:
        return ""


if __name__ == "__main__":
    main()
