"""Atoms inside the pseudopotential cores of other atoms."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from ase import Atoms

from fermisea.data.distances import shortest_distances


def warn_of_overlap(atoms: Atoms, core_radii: Mapping[str, float]) -> None:
    """Warns of atoms that are closer to another atom than the core radius of its pseudopotential.

    Beyond the core radius, the local potential is the potential of a point charge within 1 %. Inside, the interaction
    of the two ions is not the interaction of two point charges, for which pseudopotentials are made. Hot dense plasmas
    come that close, so this is no error. A structure gives one warning, for the pair deepest inside a core.

    Args:
        atoms: the structure, Angstrom.
        core_radii: core radius of each element, Angstrom; elements without one are not checked.
    """
    reach = max((core_radii.get(symbol, 0.0) for symbol in set(atoms.symbols)), default=0.0)
    found = []
    for pair, length in shortest_distances(atoms, reach).items():
        radius, symbol = max((core_radii.get(symbol, 0.0), symbol) for symbol in pair.split("-"))
        if length < radius:
            found.append((length / radius, pair, length, symbol, radius))
    if found:
        _, pair, length, symbol, radius = min(found)
        warnings.warn(
            f"{atoms.get_chemical_formula()}: the shortest {pair} distance is {length:.2f} Å, less than the core "
            f"radius {radius:.2f} Å of the pseudopotential of {symbol}, beyond which its local potential is the "
            "potential of a point charge within 1 %; energies and forces may be wrong, use a harder pseudopotential "
            "with more valence electrons",
            stacklevel=3,
        )
