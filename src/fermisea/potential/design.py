"""Design matrix of a sum of atomic energies: descriptors summed over the atoms of each element, and derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from fermisea.descriptors import Descriptor
from fermisea.descriptors.sites import Sites
from fermisea.utilities.arrays import FloatArray


@dataclass(frozen=True)
class Design:
    """The columns of a linear model for one structure: features of the first element, of the second, and so on.

    Attributes:
        energy: sums of descriptors over the atoms of an element, (columns,).
        forces: minus the derivatives of the sums with respect to the positions, (atoms, 3, columns), 1/Angstrom.
        strain: derivatives of the sums with respect to strain, (3, 3, columns).
        counts: number of atoms of each element, (elements,).
        sites: descriptors of the atoms, (atoms, features).
    """

    energy: FloatArray
    forces: FloatArray
    strain: FloatArray
    counts: FloatArray
    sites: FloatArray


def design_of(descriptor: Descriptor, elements: Sequence[str], atoms: Atoms, *, derivatives: bool = True) -> Design:
    """Returns the columns of a structure.

    Args:
        descriptor: descriptor of the surroundings of an atom.
        elements: elements of the model.
        atoms: the structure.
        derivatives: whether forces and strain are computed, which takes most of the time; they are zero without.

    Raises:
        InputError: for an element outside the model, or as ``Descriptor.evaluator``.
    """
    sites = Sites(descriptor, atoms)
    values = sites.values()
    symbols = np.array(atoms.get_chemical_symbols())
    members = [symbols == element for element in elements]
    features = descriptor.features
    columns = len(elements) * features
    energy = np.concatenate([values[mask].sum(0) for mask in members])
    forces, strain = np.zeros((len(atoms), 3, columns)), np.zeros((3, 3, columns))
    for number, mask in enumerate(members):
        if not (derivatives and mask.any()):
            continue
        for feature in range(features):
            cotangents = np.zeros_like(values)
            cotangents[mask, feature] = 1.0
            positions, strained = sites.vjp(cotangents)
            column = number * features + feature
            forces[:, :, column], strain[:, :, column] = -positions, strained
    return Design(energy, forces, strain, np.array([mask.sum() for mask in members], dtype=np.float64), values)
