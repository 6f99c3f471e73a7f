"""The kernel that an LDOS is convolved with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Broadening:
    """The kernel that an LDOS is convolved with.

    Attributes:
        kernel: name; any symmetric kernel integrates alike.
        standard_deviation: eV; 0 for a sharp LDOS.
    """

    kernel: str
    standard_deviation: float
