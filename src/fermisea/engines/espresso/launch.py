"""Runs an executable of Quantum ESPRESSO, follows what it prints, and says in a line why it failed."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from fermisea import units
from fermisea.engines.scf_step import ScfStep
from fermisea.errors import ConvergenceError, EngineError

_ITERATION = re.compile(r"^\s*iteration #\s*(\d+)")
_ENERGY = re.compile(r"^!?\s*total energy\s+=\s+(\S+) Ry")
_ACCURACY = re.compile(r"estimated scf accuracy\s+<\s+(\S+) Ry")
_FERMI = re.compile(r"the Fermi energy is\s+(\S+) ev")
_MARK = re.compile(r"^\s*%{10,}\s*$", re.MULTILINE)


def run_pw(command: str, folder: Path, name: str, atoms: int, report: Callable[[ScfStep], None] | None = None) -> str:
    """Runs ``command -in NAME.in`` in ``folder``, keeps what it prints in ``NAME.out``, and returns that.

    Args:
        command: of pw.x, with its launcher and options: "mpirun -n 4 pw.x -nk 2".
        folder: of input and output.
        name: of the files.
        atoms: number of atoms.
        report: is told each SCF iteration.

    Raises:
        EngineError: if it cannot be started or does not end as it should, with its own words.
        ConvergenceError: if the SCF cycle did not converge.
    """
    words = [*shlex.split(command), "-in", f"{name}.in"]
    history: list[ScfStep] = []
    iteration, energy = 0, 0.0
    try:
        process = subprocess.Popen(  # noqa: S603  # the user's own command
            words, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace",
        )  # fmt: skip
    except OSError as error:
        raise EngineError(
            f"{words[0]}: cannot be started ({error.strerror}); install Quantum ESPRESSO, or give the command"
        ) from error
    lines = []
    with process, (folder / f"{name}.out").open("w", encoding="utf-8") as copy:
        assert process.stdout is not None  # noqa: S101  # a pipe
        try:
            for line in process.stdout:
                lines.append(line)
                copy.write(line)
                if match := _ITERATION.match(line):
                    iteration = int(match[1])
                elif match := _ENERGY.match(line):
                    energy = float(match[1]) * units.RYDBERG
                elif (match := _ACCURACY.search(line)) and report is not None:
                    history.append(ScfStep(iteration, energy, float(match[1]) * units.RYDBERG / atoms, float("nan")))
                    report(history[-1])
        except BaseException:
            process.kill()
            raise
    text = "".join(lines)
    if "convergence NOT achieved" in text:
        raise ConvergenceError(
            f"pw.x: the SCF cycle did not converge in {iteration} iterations; change mixing_beta or electron_maxstep "
            "in input_data",
            [{"iteration": float(step.iteration), "residual": step.residual} for step in history],
        )
    if process.returncode != 0 or "JOB DONE" not in text:
        raise EngineError(f"{words[0]}: {_reason(text, process.returncode)}; its files are in {folder}")
    return text


def check_command(command: str) -> None:
    """Raises EngineError if the first word of a command is no program that can be started."""
    words = shlex.split(command)
    if not words or shutil.which(words[0]) is None:
        raise EngineError(
            f"{command or 'command'}: no such program; install Quantum ESPRESSO, or give the command that starts pw.x"
        )


def _reason(text: str, status: int) -> str:
    marks = [match.span() for match in _MARK.finditer(text)]
    if len(marks) >= 2:
        return " ".join(text[marks[0][1] : marks[1][0]].split())
    last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it printed nothing")
    ended = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
    return f"{ended}; its last line is {last!r}"
