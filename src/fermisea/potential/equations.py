"""Weighted equations for a sum of atomic energies that is linear in descriptors: scaled rows and normal equations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fermisea.potential.design import Design
from fermisea.utilities.arrays import FloatArray


@dataclass(frozen=True)
class Targets:
    """Values of one structure to be fitted.

    Attributes:
        energy: energy of the cell, eV.
        forces: (atoms, 3), eV/Angstrom; None if unknown.
        virial: stress times volume, (3, 3), eV; None if unknown.
        weight: factor of all equations of the structure; squared errors have its square.
    """

    energy: float
    forces: FloatArray | None = None
    virial: FloatArray | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class Weights:
    """Weights relative to a force component.

    Attributes:
        energy: weight of energies over sqrt(atoms), 1/Angstrom.
        virial: weight of stress times volume over sqrt(atoms), 1/Angstrom; 0 excludes the stress.
        pulay: whether the stress may contain a Pulay virial, which is no derivative of the energies.
    """

    energy: float
    virial: float
    pulay: bool = True


@dataclass(frozen=True)
class Scaling:
    """Mean and scale of each column: over the atoms of its element, the standard deviation.

    A row of the equations begins with the free columns: the number of atoms of each element and, if there is one, the
    Pulay virial per atom. The scaled columns follow.

    Attributes:
        centre: (columns,).
        scale: (columns,); 1 for columns that do not vary; times a factor of each feature.
        elements: number of elements.
        free: number of free columns.
    """

    centre: FloatArray
    scale: FloatArray
    elements: int
    free: int

    @classmethod
    def of(
        cls,
        designs: Sequence[Design],
        symbols: Sequence[Sequence[str]],
        elements: Sequence[str],
        factors: FloatArray | None,
        *,
        pulay: bool,
    ) -> Scaling:
        """Returns the scaling for structures with the given chemical symbols.

        Args:
            designs: columns of each structure.
            symbols: chemical symbols of each structure.
            elements: elements in the order of the columns.
            factors: additional factor of the scale of each feature, (features,); None without.
            pulay: whether there is a Pulay virial.
        """
        centres, scales = [], []
        for element in elements:
            rows = [d.sites[np.array(names) == element] for d, names in zip(designs, symbols, strict=True)]
            values = np.concatenate(rows)
            centres.append(values.mean(0))
            scales.append(values.std(0))
        scale = np.concatenate(scales)
        scale = np.where(scale > 1e-12 * max(scale.max(), 1e-300), scale, 1.0)
        if factors is not None:
            scale = scale * np.tile(factors, len(elements))
        return cls(np.concatenate(centres), scale, len(elements), len(elements) + int(pulay))

    def energy_row(self, design: Design) -> FloatArray:
        """Returns the row of an energy: free columns, then scaled columns."""
        by_column = np.repeat(design.counts, len(self.centre) // self.elements)
        free = np.zeros(self.free)
        free[: self.elements] = design.counts
        return np.concatenate([free, (design.energy - by_column * self.centre) / self.scale])

    def matrix(self) -> FloatArray:
        """Returns the matrix that turns the row of an energy without scaling into ``energy_row``."""
        elements, features = self.elements, len(self.centre) // self.elements
        found = np.zeros((self.free + len(self.scale), elements + len(self.scale)))
        found[:elements, :elements] = np.eye(elements)
        found[self.free :, elements:] = np.diag(1 / self.scale)
        for element in range(elements):
            own = slice(element * features, (element + 1) * features)
            found[self.free :][own, element] = -(self.centre / self.scale)[own]
        return found

    def rows(self, values: FloatArray) -> FloatArray:
        """Returns the rows of derivatives, (..., columns)."""
        flat = values.reshape(-1, values.shape[-1]) / self.scale
        return np.hstack([np.zeros((len(flat), self.free)), flat])

    def virial_rows(self, design: Design) -> FloatArray:
        """Returns the rows of stress times volume, (9, columns), with the Pulay virial per atom if there is one."""
        found = self.rows(design.strain)
        if self.free > self.elements:
            found[:, self.free - 1] = len(design.sites) * np.eye(3).ravel()
        return found

    def coefficients(self, solution: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Returns coefficients, (elements, features), and constants, (elements,), without the scaling."""
        shape = (self.elements, len(self.centre) // self.elements)
        coefficients = (solution[self.free :] / self.scale).reshape(shape)
        return coefficients, solution[: self.elements] - (coefficients * self.centre.reshape(shape)).sum(1)


@dataclass(frozen=True)
class Block:
    """Normal equations of one structure, with its weight; rows and values, without it; columns as in ``Scaling``."""

    normal: FloatArray
    right: FloatArray
    energy: FloatArray
    energy_value: float
    forces: FloatArray
    force_values: FloatArray
    atoms: int
    weight: float

    @classmethod
    def of(
        cls, design: Design, targets: Targets, scaling: Scaling, weights: Weights, known: FloatArray | None = None
    ) -> Block:
        """Returns the equations of a structure.

        Args:
            design: columns of the structure.
            targets: values to be fitted.
            scaling: scales of the columns.
            weights: weights of energies and stress.
            known: normal matrix, if it is known from other values of the same structure.
        """
        atoms = len(design.sites)
        energy = scaling.energy_row(design)
        forces, force_values = np.zeros((0, len(energy))), np.zeros(0)
        if targets.forces is not None:
            forces = scaling.rows(design.forces)
            force_values = np.asarray(targets.forces, dtype=np.float64).ravel()
        factor = weights.energy / math.sqrt(atoms)
        parts = [(energy[None] * factor, np.array([targets.energy]) * factor), (forces, force_values)]
        if targets.virial is not None and weights.virial > 0:
            factor = weights.virial / math.sqrt(atoms)
            parts.append((scaling.virial_rows(design) * factor, targets.virial.ravel() * factor))
        matrix, right = (targets.weight * np.concatenate(items) for items in zip(*parts, strict=True))
        normal = matrix.T @ matrix if known is None else known
        return cls(normal, matrix.T @ right, energy, targets.energy, forces, force_values, atoms, targets.weight)

    def errors(self, solution: FloatArray) -> tuple[float, float, int]:
        """Returns the error of the energy, eV/atom, the sum of squared force errors, and their number."""
        forces = self.forces @ solution - self.force_values
        return (float(self.energy @ solution) - self.energy_value) / self.atoms, float(forces @ forces), len(forces)
