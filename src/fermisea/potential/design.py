"""Design matrix of a sum of atomic energies: descriptors summed over the atoms of each element, and derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from fermisea.descriptors import Descriptor, PowerSpectrum, Products
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
    if isinstance(descriptor, Products):
        return _with_products(descriptor, elements, atoms, derivatives=derivatives)
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


def with_products(spectrum: PowerSpectrum, order: int, structures: Sequence[Atoms]) -> Products:
    """Returns a descriptor with products, whose centre and scale are those of the atoms of some structures.

    Args:
        spectrum: descriptor without products.
        order: highest degree of the components that are multiplied.
        structures: the structures.

    Raises:
        InputError: as :func:`design_of`.
    """
    return Products.of(spectrum, order, np.concatenate([Sites(spectrum, atoms).values() for atoms in structures]))


def _with_products(products: Products, elements: Sequence[str], atoms: Atoms, *, derivatives: bool) -> Design:
    """Returns the columns of components and products, from the derivatives of each component of each atom."""
    sites = Sites(products.spectrum, atoms)
    spectrum = sites.values()
    values = np.asarray(products.expanded(spectrum), dtype=np.float64)
    symbols = np.array(atoms.get_chemical_symbols())
    members = [symbols == element for element in elements]
    columns, number = len(elements) * products.features, len(atoms)
    energy = np.concatenate([values[mask].sum(0) for mask in members])
    counts = np.array([mask.sum() for mask in members], dtype=np.float64)
    forces, strain = np.zeros((number, 3, columns)), np.zeros((3, 3, columns))
    if derivatives:
        jacobian = np.concatenate([part.reshape(*spectrum.shape, -1) for part in sites.jacobian()], axis=2)
        factors, (first, second) = products.factors, products.pairs
        z = (spectrum[:, factors] - np.array(products.centre)) / np.array(products.scale)
        slopes = jacobian[:, factors] / np.array(products.scale)[:, None]
        for index, mask in enumerate(members):
            mixed = np.tensordot(z[mask], slopes[mask], (0, 0))  # (factors, factors, derivatives)
            both = mixed[first, second] + mixed[second, first]
            rows = np.concatenate([jacobian[mask].sum(0), both]).T  # (derivatives, features)
            own = slice(index * products.features, (index + 1) * products.features)
            forces[:, :, own] = -rows[: 3 * number].reshape(number, 3, -1)
            strain[:, :, own] = rows[3 * number :].reshape(3, 3, -1)
    return Design(energy, forces, strain, counts, values)
