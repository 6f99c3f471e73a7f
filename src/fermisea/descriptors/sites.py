"""A descriptor of each atom: evaluated at the atom, without the atom itself."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from ase import Atoms

from fermisea.descriptors.base import Descriptor
from fermisea.descriptors.neighbors import weights_of
from fermisea.utilities.arrays import FloatArray, IntArray


class Sites:
    """Descriptors at the atoms of a structure; an atom does not contribute to its own, but its periodic images do.

    Attributes:
        members: numbers of the atoms with a descriptor, (members,).
    """

    def __init__(
        self, descriptor: Descriptor, atoms: Atoms, threads: int | None = None, *, members: IntArray | None = None
    ) -> None:
        """Prepares one structure.

        Args:
            descriptor: descriptor of the surroundings.
            atoms: as for :meth:`Descriptor.evaluator`.
            threads: number of threads.
            members: numbers of the atoms with a descriptor, (members,), by default all. Their surroundings contain all
                atoms.

        Raises:
            InputError: as ``Descriptor.evaluator``.
        """
        weights = weights_of(atoms.get_chemical_symbols(), descriptor.weights)
        self.members = np.arange(len(atoms)) if members is None else members
        own = weights[self.members]
        self._descriptor, self._positions = descriptor, np.array(atoms.positions, dtype=np.float64)
        self._lattice = np.array(atoms.cell.array, dtype=np.float64)
        self._parts = [
            (np.flatnonzero(own == weight), descriptor.evaluator(atoms, threads=threads, own=float(weight)))
            for weight in np.unique(own)
        ]

    def values(self) -> FloatArray:
        """Returns the descriptors, (members, features)."""
        found = np.empty((len(self.members), self._descriptor.features))
        for rows, evaluator in self._parts:
            found[rows] = evaluator.points(self._positions[self.members[rows]])
        return found

    def vjp(self, cotangents: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Returns the derivatives of the sum of the products of descriptors and cotangents, (members, features).

        Returns:
            Derivatives with respect to the Cartesian positions of the atoms, (atoms, 3), 1/Angstrom, and to a strain of
            atoms and cell together, (3, 3), symmetric.

        Raises:
            InputError: for cotangents of another shape, or not finite.
        """
        given = np.asarray(cotangents, dtype=np.float64)
        positions, cell = np.zeros_like(self._positions), np.zeros((3, 3))
        for rows, evaluator in self._parts:
            members = self.members[rows]
            found = evaluator.points_vjp(self._positions[members], given[rows])
            positions += found.positions
            positions[members] += found.points
            cell += found.cell
        strain = self._positions.T @ positions + self._lattice.T @ cell
        return positions, (strain + strain.T) / 2

    def jacobian(self) -> tuple[FloatArray, FloatArray]:
        """Returns the derivatives of every descriptor of every member.

        Returns:
            Derivatives with respect to the Cartesian positions, (members, features, atoms, 3), 1/Angstrom, and to the
            strain, (members, features, 3, 3), symmetric; see :meth:`vjp`.
        """
        count, atoms, features = len(self.members), len(self._positions), self._descriptor.features
        positions, strains = np.zeros((count, features, atoms, 3)), np.empty((count, features, 3, 3))
        for rows, evaluator in self._parts:
            for row in rows:
                atom = self.members[row]
                place = self._positions[[atom]]
                for feature in range(features):
                    one = np.zeros((1, features))
                    one[0, feature] = 1.0
                    found = evaluator.points_vjp(place, one)
                    by_position = positions[row, feature]
                    by_position[:] = found.positions
                    by_position[atom] += found.points[0]
                    strain = self._positions.T @ by_position + self._lattice.T @ found.cell
                    strains[row, feature] = (strain + strain.T) / 2
        return positions, strains
