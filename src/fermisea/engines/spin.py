"""Initial magnetic moments, which the engines do not use."""

from __future__ import annotations

import warnings

from ase import Atoms


def warn_of_moments(atoms: Atoms) -> None:
    """Warns of initial magnetic moments: DFT is not spin-polarised, which changes F of magnetic materials."""
    if atoms.has("initial_magmoms") and atoms.arrays["initial_magmoms"].any():
        warnings.warn(
            f"{atoms.get_chemical_formula()}: the initial magnetic moments are ignored, because the DFT calculation is "
            "not spin-polarised; the energies of magnetic materials and of atoms with unpaired electrons are wrong",
            stacklevel=3,
        )
