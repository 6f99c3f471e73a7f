"""A descriptor of each atom: evaluated at the atom, without the atom itself."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from ase import Atoms

from fermisea.descriptors.base import Descriptor
from fermisea.descriptors.neighbors import weights_of
from fermisea.utilities.arrays import FloatArray


class Sites:
    """Descriptors at the atoms of a structure; an atom does not contribute to its own, but its periodic images do."""

    def __init__(self, descriptor: Descriptor, atoms: Atoms, threads: int | None = None) -> None:
        """Prepares one structure.

        Args:
            descriptor: descriptor of the surroundings.
            atoms: as for :meth:`Descriptor.evaluator`.
            threads: number of threads.

        Raises:
            InputError: as ``Descriptor.evaluator``.
        """
        weights = weights_of(atoms.get_chemical_symbols(), descriptor.weights)
        self._descriptor, self._positions = descriptor, np.array(atoms.positions, dtype=np.float64)
        self._lattice = np.array(atoms.cell.array, dtype=np.float64)
        self._parts = [
            (np.flatnonzero(weights == weight), descriptor.evaluator(atoms, threads=threads, own=float(weight)))
            for weight in np.unique(weights)
        ]

    def values(self) -> FloatArray:
        """Returns the descriptors, (atoms, features)."""
        found = np.empty((len(self._positions), self._descriptor.features))
        for members, evaluator in self._parts:
            found[members] = evaluator.points(self._positions[members])
        return found

    def vjp(self, cotangents: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Returns the derivatives of the sum of the products of descriptors and cotangents, (atoms, features).

        Returns:
            Derivatives with respect to the Cartesian positions of the atoms, (atoms, 3), 1/Angstrom, and to a strain of
            atoms and cell together, (3, 3), symmetric.

        Raises:
            InputError: for cotangents of another shape, or not finite.
        """
        given = np.asarray(cotangents, dtype=np.float64)
        positions, cell = np.zeros_like(self._positions), np.zeros((3, 3))
        for members, evaluator in self._parts:
            found = evaluator.points_vjp(self._positions[members], given[members])
            positions += found.positions
            positions[members] += found.points
            cell += found.cell
        strain = self._positions.T @ positions + self._lattice.T @ cell
        return positions, (strain + strain.T) / 2

    def jacobian(self) -> tuple[FloatArray, FloatArray]:
        """Returns the derivatives of every descriptor of every atom.

        Returns:
            Derivatives with respect to the Cartesian positions, (atoms, features, atoms, 3), 1/Angstrom, and to the
            strain, (atoms, features, 3, 3), symmetric; see :meth:`vjp`.
        """
        atoms, features = len(self._positions), self._descriptor.features
        positions, strains = np.zeros((atoms, features, atoms, 3)), np.empty((atoms, features, 3, 3))
        for members, evaluator in self._parts:
            for atom in members:
                place = self._positions[[atom]]
                for feature in range(features):
                    one = np.zeros((1, features))
                    one[0, feature] = 1.0
                    found = evaluator.points_vjp(place, one)
                    by_position = positions[atom, feature]
                    by_position[:] = found.positions
                    by_position[atom] += found.points[0]
                    strain = self._positions.T @ by_position + self._lattice.T @ found.cell
                    strains[atom, feature] = (strain + strain.T) / 2
        return positions, strains
