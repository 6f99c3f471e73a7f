"""Running an executable of Quantum ESPRESSO: parsing of its output, and one-line errors."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from fermisea import units
from fermisea.engines.scf_step import ScfStep
from fermisea.errors import ConvergenceError, EngineError, InputError, StorageError

_ITERATION = re.compile(r"^\s*iteration #\s*(\d+)")
_ENERGY = re.compile(r"^!?\s*total energy\s+=\s+(\S+) Ry")
_ACCURACY = re.compile(r"estimated scf accuracy\s+<\s+(\S+) Ry")
_MARK = re.compile(r"^\s*%{10,}\s*$", re.MULTILINE)
_FULL = re.compile(r"No space left on device|Disk quota exceeded")
_GRACE = 10
"""Time allowed for a program to end its processes when a run is aborted, s."""


def run_pw(command: str, folder: Path, name: str, atoms: int, report: Callable[[ScfStep], None] | None = None) -> str:
    """Runs pw.x on ``NAME.in`` in ``folder`` and returns its output.

    Args:
        command: command that starts pw.x, with its launcher and options: "mpirun -n 4 pw.x -nk 2".
        folder: folder of input and output.
        name: name of the files.
        atoms: number of atoms.
        report: callback after each SCF iteration.

    Raises:
        EngineError: if pw.x cannot be started or fails, with its error message.
        ConvergenceError: if the SCF cycle did not converge, with the history.
        StorageError: if the disk is full.
    """
    history: list[ScfStep] = []
    iteration, energy, given_up = 0, 0.0, False

    def follow(line: str) -> None:
        nonlocal iteration, energy, given_up
        if match := _ITERATION.match(line):
            iteration = int(match[1])
        elif match := _ENERGY.match(line):
            energy = float(match[1]) * units.RYDBERG
        elif match := _ACCURACY.search(line):
            history.append(ScfStep(iteration, energy, float(match[1]) * units.RYDBERG / atoms, float("nan")))
            if report is not None:
                report(history[-1])
        elif "convergence NOT achieved" in line:
            given_up = True

    try:
        text = run_program(command, folder, name, follow)
    except EngineError:
        if not given_up:
            raise
    if given_up:
        raise ConvergenceError(
            f"pw.x: the SCF cycle did not converge in {iteration} iterations; change mixing_beta or electron_maxstep "
            f"in input_data; the files of pw.x are in {folder}",
            [asdict(step) for step in history],
        )
    return text


def run_program(command: str, folder: Path, name: str, follow: Callable[[str], None] | None = None) -> str:
    """Runs ``command -in NAME.in`` in ``folder``, writes its output to ``NAME.out``, and returns it.

    Args:
        command: command that starts the program, with its launcher and options.
        folder: folder of input and output.
        name: name of the files.
        follow: callback with each line of the output.

    Raises:
        EngineError: if the program cannot be started or fails, with its error message.
        StorageError: if the disk is full.
    """
    words = [*shlex.split(command), "-in", f"{name}.in"]
    try:
        process = subprocess.Popen(  # noqa: S603  # the user's own command
            words, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace",
        )  # fmt: skip
    except OSError as error:
        raise EngineError(
            f"{words[0]}: cannot be started ({error.strerror}); install Quantum ESPRESSO, or give the right command"
        ) from error
    lines = []
    with process, (folder / f"{name}.out").open("w", encoding="utf-8") as copy:
        assert process.stdout is not None  # noqa: S101  # a pipe
        try:
            for line in process.stdout:
                lines.append(line)
                copy.write(line)
                if follow is not None:
                    follow(line)
        except BaseException:
            _end(process)
            raise
    text = "".join(lines)
    if process.returncode != 0 or "JOB DONE" not in text:
        if _FULL.search(text):
            raise StorageError(f"{words[0]}: the disk of {folder} is full; free some space or choose another folder")
        raise EngineError(f"{words[0]}: {_reason(text, process.returncode)}; the files of the run are in {folder}")
    return text


def check_command(command: str) -> None:
    """Raises EngineError if the first word of a command is not an executable program."""
    words = shlex.split(command)
    if not words or shutil.which(words[0]) is None:
        raise EngineError(
            f"{command or 'command'}: no such program; install Quantum ESPRESSO, or give the command that starts pw.x"
        )


def other_program(command: str, name: str) -> str:
    """Returns the command that starts another program of the same installation, such as pp.x, in the same way as pw.x.

    Raises:
        InputError: if no word of the command is pw.x.
    """
    words = shlex.split(command)
    if not any(Path(word).name == "pw.x" for word in words):
        raise InputError(
            f"command: got {command!r}, which does not name pw.x; give pp_command, the command that starts {name}"
        )
    return shlex.join(str(Path(word).with_name(name)) if Path(word).name == "pw.x" else word for word in words)


def _end(process: subprocess.Popen[str]) -> None:
    """Ends a program; a launcher passes the signal on to its child processes."""
    process.terminate()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()


def _reason(text: str, status: int) -> str:
    marks = [match.span() for match in _MARK.finditer(text)]
    if len(marks) >= 2:
        return " ".join(text[marks[0][1] : marks[1][0]].split())
    last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no output")
    ended = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
    return f"{ended}; last line of its output: {last!r}"
