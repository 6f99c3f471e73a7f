"""Memory of the machine."""

from __future__ import annotations

import math
import os


def machine_memory() -> float:
    """Returns the memory of the machine, bytes; infinity where the operating system does not report it."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return math.inf
