"""Start of the program: signals are handled before the modules of the commands are imported."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from fermisea.cli.remedies import remedy
from fermisea.utilities.signals import stop_signals


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit status.

    Args:
        arguments: words after ``fermisea``; by default the words of this process, which ends afterwards.
    """
    if arguments is not None:
        from fermisea.cli.app import main as run  # noqa: PLC0415  # as below

        return run(arguments)
    _open_closed_streams()
    words = sys.argv[1:]
    with stop_signals(remedy(words)) as signals:
        # In a separate process imported modules stay in memory, so frequent garbage collection is useless; the final
        # collection, which takes a second, is skipped.
        gc.set_threshold(100_000, 20, 20)
        from fermisea.cli.app import main as run  # noqa: PLC0415  # after the signals

        signals.loaded = True
        status = run(words)
        signals.status = status  # a signal during the end of the interpreter changes nothing
        gc.freeze()
    return status


def _open_closed_streams() -> None:
    """Replaces closed standard streams, whose numbers would otherwise go to the next files that are opened."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            with suppress(OSError):
                setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: PTH123, SIM115
