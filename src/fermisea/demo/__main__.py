"""``python -m fermisea.demo``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fermisea.demo.run import run_demo
from fermisea.demo.settings import DemoSettings
from fermisea.errors import FermiseaError
from fermisea.terminal import PlainConsole, fail, spell_on_standard_streams, warnings_as_lines
from fermisea.utilities.signals import interruption, signal_of, stop_signals

_DESCRIPTION = (
    "Aluminium, from molecular dynamics to free energies at electronic temperatures outside the training data."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs ``python -m fermisea.demo`` and returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m fermisea.demo", description=_DESCRIPTION)
    parser.add_argument("--out", type=Path, default=Path("demo-output"), help="folder for the results")
    out: Path = parser.parse_args(arguments).out
    spell_on_standard_streams()
    try:
        with stop_signals("; the same command resumes") as signals, warnings_as_lines():
            signals.loaded = True
            run_demo(DemoSettings(), out, PlainConsole(width=None if sys.stdout.isatty() else 110))
    except FermiseaError as error:
        return fail(str(error), 2)
    except KeyboardInterrupt as error:
        number = signal_of(error)
        return fail(f"{interruption(number)}; the same command resumes", 128 + number)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
