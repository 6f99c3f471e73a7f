"""Radii of atomic shells by Slater's rules (Phys. Rev. 36, 57, 1930), for the initial density."""

from __future__ import annotations

from ase.data import atomic_numbers

from fermisea import units

_FILLING = [(n, total - n) for total in range(1, 9) for n in range((total + 2) // 2, total + 1)]
_EFFECTIVE = {1: 1.0, 2: 2.0, 3: 3.0, 4: 3.7, 5: 4.0, 6: 4.2, 7: 4.4}
_CONTRACTION = 0.85
"""Contraction of atomic shells in condensed matter, fitted to the first SCF residual in aluminium."""


def valence_gaussians(symbol: str, valence: float) -> list[tuple[float, float]]:
    """Returns the outermost ``valence`` electrons of an atom as Gaussians: pairs of number and width (Angstrom).

    Each Gaussian has the mean square radius of the Slater orbital of its shell.
    """
    number = atomic_numbers[symbol]
    shells = _configuration(number)
    result = []
    missing = valence
    for n, el in sorted(shells, reverse=True):
        taken = min(missing, shells[n, el])
        if taken <= 0:
            break
        exponent = (number - _screening(shells, n, el)) / _EFFECTIVE[n]
        square = (2 * _EFFECTIVE[n] + 1) * (2 * _EFFECTIVE[n] + 2) / (4 * exponent**2)
        result.append((taken, _CONTRACTION * (square / 3) ** 0.5 * units.BOHR))
        missing -= taken
    return result


def _configuration(electrons: int) -> dict[tuple[int, int], float]:
    """Returns the electrons of each shell (n, l), filled in Madelung's order."""
    shells: dict[tuple[int, int], float] = {}
    for n, el in _FILLING:
        if electrons <= 0:
            break
        shells[n, el] = min(electrons, 4 * el + 2)
        electrons -= 4 * el + 2
    return shells


def _screening(shells: dict[tuple[int, int], float], n: int, el: int) -> float:
    total = 0.0
    for (other_n, other_l), electrons in shells.items():
        same = other_n == n and (other_l == el or max(other_l, el) <= 1)
        if same:
            total += (0.30 if n == 1 else 0.35) * (electrons - (other_l == el))
        elif el >= 2 and (other_n < n or (other_n == n and other_l < el)):
            total += electrons
        elif el <= 1 and other_n == n - 1:
            total += 0.85 * electrons
        elif el <= 1 and other_n < n - 1:
            total += electrons
    return total
