"""Memory of the machine."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def machine_memory() -> float:
    """Returns the memory that processes on this machine may use, bytes; infinity where the system does not report it.

    On Linux a limit of the control group counts too, such as the one of a SLURM job.
    """
    try:
        whole = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return math.inf
    return min([whole, *_limits(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))])


def _limits(own: Path, root: Path) -> Iterator[float]:
    """Yields the limits of the control group in the file ``own`` and of the groups above it, in the folder ``root``."""
    with suppress(OSError):
        lines = own.read_text(encoding="utf-8").splitlines()
        group = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
        for folder in (root / group, *(root / group).parents):
            if folder != root and root not in folder.parents:
                return
            with suppress(OSError, ValueError):  # no limit there, or the word "max"
                yield float(int((folder / "memory.max").read_text(encoding="utf-8")))
