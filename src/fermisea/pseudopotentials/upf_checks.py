"""Consistency of the numbers in a UPF file, which has no checksum: mesh, Coulomb tail, counts and flags."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from fermisea.errors import FileFormatError
from fermisea.utilities.arrays import FloatArray

_INTACT = "use an intact copy"

LARGEST = 1e6
"""Largest absolute value of a potential, projector, coupling or core density in the units of the file; real files stay
below 1000."""

_MESH = 0.02
"""Largest relative difference between PP_RAB and the derivative of PP_R; real files have at most 0.002."""

_FEWEST = 10
"""Smallest number of points of a mesh."""

_TAIL = 0.01
"""Largest relative difference between the local potential and -2 Z/r in the tail; real files have at most 1e-5."""

_TAIL_FROM = 0.7
"""Start of the tail, as a fraction of the largest radius."""


def check_mesh(path: Path, radius: FloatArray, spacing: FloatArray, mesh_size: float | None) -> None:
    """Raises FileFormatError unless PP_R ascends and PP_RAB is its derivative.

    Args:
        path: the file, for messages.
        radius: PP_R, any unit of length.
        spacing: PP_RAB, the same unit.
        mesh_size: number of points in the header, None if the header has none.
    """
    if mesh_size is not None and mesh_size != len(radius):
        raise FileFormatError(f"{path}: PP_R holds {len(radius)} values, expected mesh_size = {mesh_size:g}; {_INTACT}")
    if len(radius) < _FEWEST or radius[0] < 0 or (np.diff(radius) <= 0).any():
        raise FileFormatError(
            f"{path}: the {len(radius)} values of PP_R are no mesh, expected at least {_FEWEST} ascending radii; "
            f"{_INTACT}"
        )
    slope = (radius[2:] - radius[:-2]) / 2
    error = np.abs(spacing[1:-1] / slope - 1)
    worst = int(np.argmax(error))
    if error[worst] > _MESH or spacing[0] < 0 or spacing[-1] < 0:
        raise FileFormatError(
            f"{path}: PP_RAB differs from the derivative of PP_R by {100 * error[worst]:.3g} % at point {worst + 2}, "
            f"expected at most {100 * _MESH:g} %; {_INTACT}"
        )


def check_tail(path: Path, radius: FloatArray, potential: FloatArray, charge: float, valence: float) -> None:
    """Raises FileFormatError unless the local potential is -Z e^2/r at large r.

    Args:
        path: the file, for messages.
        radius: radial mesh, any unit of length.
        potential: local potential, in the unit of energy of ``charge``.
        charge: Z e^2, times the unit of length.
        valence: Z, for messages.
    """
    if not valence > 0:
        raise FileFormatError(f"{path}: z_valence is {valence:g}, expected a number above 0; {_INTACT}")
    far = radius >= _TAIL_FROM * radius[-1]
    error = np.abs(radius[far] * potential[far] / charge + 1)
    if not error.max() <= _TAIL:
        found = -radius[far] * potential[far] * valence / charge
        raise FileFormatError(
            f"{path}: PP_LOCAL is the potential of a charge of {found[np.argmax(error)]:g} at large r, expected "
            f"z_valence = {valence:g}; {_INTACT}"
        )


def check_counts(path: Path, tags: Collection[str], projectors: float) -> None:
    """Raises FileFormatError unless there are as many projectors as in the header."""
    found = sum(tag.startswith("PP_BETA.") for tag in tags)
    if found != projectors:
        raise FileFormatError(
            f"{path}: holds {found} projectors PP_BETA, expected number_of_proj = {projectors:g}; {_INTACT}"
        )


def flag(path: Path, header: Mapping[str, str], name: str) -> bool:
    """Returns a flag of the header, false if it is missing.

    Raises:
        FileFormatError: for a word that is neither true nor false.
    """
    word = header.get(name, "f").lower().strip(".")
    if word not in {"t", "true", "1", "f", "false", "0", ""}:
        raise FileFormatError(f"{path}: {name} is {header[name]!r}, expected T or F; {_INTACT}")
    return word in {"t", "true", "1"}
