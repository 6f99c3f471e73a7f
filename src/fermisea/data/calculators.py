"""ASE calculators that are installed, for structures that ASE's own effective-medium theory (EMT) does not cover."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

EMT_METALS = frozenset({"Al", "Cu", "Ag", "Au", "Ni", "Pd", "Pt"})
"""Elements of ASE's EMT with fitted parameters."""

EMT_EXAMPLES = frozenset({"H", "C", "N", "O"})
"""Elements of ASE's EMT with parameters that are examples, without physical meaning."""

_GENERAL = (
    ("mace", "mace.calculators:mace_mp"),
    ("chgnet", "chgnet.model.dynamics:CHGNetCalculator"),
    ("sevenn", "sevenn.calculator:SevenNetCalculator"),
    ("tblite", "tblite.ase:TBLite"),
    ("xtb", "xtb.ase.calculator:XTB"),
)
"""Packages with a calculator for most elements, which a callable without arguments returns."""


def suitable_calculators(symbols: Iterable[str]) -> list[str]:
    """Returns names for :func:`fermisea.data.sampling.find_calculator` that are installed and cover the elements."""
    found = ["emt"] if set(symbols) <= EMT_METALS else []
    return found + [name for package, name in _GENERAL if find_spec(package) is not None]


def advice(symbols: Iterable[str]) -> str:
    """Returns the choices of a user whose calculator does not cover some elements, for an error message."""
    installed = suitable_calculators(symbols)
    first = f"use {' or '.join(installed)}, which is installed, or " if installed else "use "
    return (
        f"{first}a fermisea model file with an anchor, or FILE.py:FUNCTION, where FUNCTION() returns an ASE calculator"
    )
