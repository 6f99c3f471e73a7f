"""Slater's rules against the effective charges of his paper and of textbooks."""

from __future__ import annotations

import pytest

from fermisea import units
from fermisea.engines.planewave.slater import _CONTRACTION, _configuration, _screening, valence_gaussians


@pytest.mark.parametrize(
    ("number", "shell", "charge"),
    [(1, (1, 0), 1.0), (2, (1, 0), 1.7), (6, (2, 1), 3.25), (13, (3, 1), 3.5), (26, (3, 2), 6.25), (26, (4, 0), 3.75)],
)
def test_effective_charges(number: int, shell: tuple[int, int], charge: float) -> None:
    """H, He, C and Fe (3d 6.25, 4s 3.75) stand in Slater's paper; Al 3.5 follows from the same rules."""
    assert number - _screening(_configuration(number), *shell) == pytest.approx(charge)


@pytest.mark.parametrize(
    ("symbol", "valence", "counts"),
    [
        ("Al", 3, [1, 2]),
        ("Ga", 3, [1, 2]),
        ("Ga", 13, [1, 2, 10]),
        ("Cu", 11, [2, 9]),
        ("Na", 9, [1, 6, 2]),
        ("H", 1, [1]),
    ],
)
def test_outermost_electrons(symbol: str, valence: float, counts: list[float]) -> None:
    shells = valence_gaussians(symbol, valence)
    assert [count for count, _ in shells] == counts


def test_width_of_hydrogen() -> None:
    """<r^2> = 3 bohr^2 in the hydrogen atom, one third of it along each axis."""
    ((_, width),) = valence_gaussians("H", 1.0)
    assert width == pytest.approx(_CONTRACTION * units.BOHR)
