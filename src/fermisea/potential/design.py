"""Design matrix of a sum of atomic energies: descriptors summed over the atoms of each element, and derivatives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ase import Atoms

from fermisea.descriptors import Bispectrum, Descriptor, PowerSpectrum, Products
from fermisea.descriptors.sites import Sites
from fermisea.utilities.arrays import FloatArray

Mask = npt.NDArray[np.bool_]
"""Array of truth values."""


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
    columns = len(elements) * descriptor.features
    energy = np.concatenate([values[mask].sum(0) for mask in members])
    forces, strain = np.zeros((len(atoms), 3, columns)), np.zeros((3, 3, columns))
    if derivatives:
        if isinstance(descriptor, Products):
            found = _of_products(descriptor, atoms, members)
        else:
            found = _of_features(sites, values, members)
        for number, (positions, strained) in enumerate(found):
            own = slice(number * descriptor.features, (number + 1) * descriptor.features)
            forces[:, :, own], strain[:, :, own] = -positions, strained
    return Design(energy, forces, strain, np.array([mask.sum() for mask in members], dtype=np.float64), values)


def _of_features(sites: Sites, values: FloatArray, members: Sequence[Mask]) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Yields derivatives of the sums over the atoms of each element, a pass over the structure for each feature.

    Args:
        sites: descriptors of the atoms.
        values: their values, (atoms, features).
        members: mask of the atoms of each element, (atoms,).

    Yields:
        Derivatives with respect to the positions, (atoms, 3, features), and to the strain, (3, 3, features).
    """
    for mask in members:
        positions, strain = np.zeros((len(mask), 3, values.shape[1])), np.zeros((3, 3, values.shape[1]))
        for feature in range(values.shape[1] if mask.any() else 0):
            cotangents = np.zeros_like(values)
            cotangents[mask, feature] = 1.0
            positions[:, :, feature], strain[:, :, feature] = sites.vjp(cotangents)
        yield positions, strain


def _of_products(products: Products, atoms: Atoms, members: Sequence[Mask]) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Yields the same from the derivatives of each component of the spectrum of each atom."""
    sites = Sites(products.spectrum, atoms)
    spectrum = sites.values()
    jacobian = np.concatenate([part.reshape(*spectrum.shape, -1) for part in sites.jacobian()], axis=2)
    factors, (first, second) = products.factors, products.pairs
    z = (spectrum[:, factors] - np.array(products.centre)) / np.array(products.scale)
    slopes = jacobian[:, factors] / np.array(products.scale)[:, None]
    count = 3 * len(atoms)
    for mask in members:
        mixed = np.tensordot(z[mask], slopes[mask], (0, 0))  # (factors, factors, derivatives)
        rows = np.concatenate([jacobian[mask].sum(0), mixed[first, second] + mixed[second, first]]).T
        yield rows[:count].reshape(len(atoms), 3, -1), rows[count:].reshape(3, 3, -1)


def with_products(spectrum: PowerSpectrum | Bispectrum, order: int, structures: Sequence[Atoms]) -> Products:
    """Returns the descriptor with products of components, centred and scaled over the atoms of some structures.

    Args:
        spectrum: descriptor without products.
        order: highest degree of the components that are multiplied.
        structures: the structures.

    Raises:
        InputError: as :func:`design_of`.
    """
    return Products.of(spectrum, order, np.concatenate([Sites(spectrum, atoms).values() for atoms in structures]))
