"""Limits on volumes and electronic temperatures, and sentences about values outside of them."""

from __future__ import annotations

from ase import Atoms

from fermisea.utilities.arrays import FloatArray

Range = tuple[float, float]

TEMPERATURE = "electron temperature"
"""Kind of the sentence about electronic temperatures."""

_VOLUME = 0.01
"""Fraction by which a volume per atom may exceed the training range: thermal expansion of metals over 150 K."""

_UNITS = {"nanometre": 10.0, "bohr": 0.529177210903, "picometre": 0.01}
"""Units of length that may be mistaken for Angstrom, in Angstrom."""


def temperatures_outside(limits: Range, temperatures: FloatArray) -> list[str]:
    """Describes electronic temperatures (K) below the lowest one of a model, or above its energy window."""
    low, high = limits
    cold, hot = temperatures[~(temperatures >= low)], temperatures[temperatures > high]
    found = []
    if cold.size:
        found.append(f"{TEMPERATURE}: got {_kelvin(cold)}, the model is valid from {low:g} K on")
    if hot.size:
        found.append(
            f"{TEMPERATURE}: got {_kelvin(hot)}, but without a tail the energy window is valid up to {high:.0f} K; "
            "states above the window are free electrons, and tail_error of the prediction is the estimated error"
        )
    return found


def volume_outside(limits: Range | None, volume: float) -> list[str]:
    """Describes a volume per atom (Angstrom^3) outside of the training range."""
    if limits is None or _within(volume, limits):
        return []
    known = f"outside the training range of {span(limits)} Å³ per atom; the model extrapolates"
    return [f"volume: got {volume:.2f} Å³ per atom, {known}{unit_question(limits, volume)}"]


def unit_question(limits: Range | None, volume: float) -> str:
    """Returns a question about the unit of length, if another unit explains the volume per atom (Angstrom^3)."""
    if limits is None:
        return ""
    low, high = 0.9 * limits[0], 1.1 * limits[1]
    units = [name for name, factor in _UNITS.items() if low < volume * factor**3 < high]
    return f"; the lengths seem to be in {units[0]}, expected Å" if units else ""


def volume_per_atom(atoms: Atoms) -> float:
    """Returns the volume of the cell divided by the number of atoms, Angstrom^3."""
    return float(atoms.get_volume()) / len(atoms)


def span(limits: Range) -> str:
    """Returns limits as text with two decimals, one number if they are the same."""
    low, high = (f"{value:.2f}" for value in limits)
    return low if low == high else f"{low} to {high}"


def _within(value: float, limits: Range) -> bool:
    return limits[0] * (1 - _VOLUME) <= value <= limits[1] * (1 + _VOLUME)


def _kelvin(temperatures: FloatArray) -> str:
    return ", ".join(f"{t:g}" for t in temperatures) + " K"
